"""How fast this machine is now, beside the day it was profiled: a reference model of the profile, timed again."""

from __future__ import annotations

from dataclasses import dataclass, replace

from autocompress.anatomy.weights import random_weights
from autocompress.core.device import DeviceProfile
from autocompress.core.encoders import as_measured, with_vocabulary
from autocompress.core.parts import ModelParts
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import VOCABULARY
from autocompress.devices.timing import Run, Timed, workload_run
from autocompress.devices.validation import reference_shape


@dataclass(frozen=True, slots=True)
class Reference:
    """One inference of the reference model, and how many milliseconds it took when the machine was profiled."""

    run: Run
    then_ms: float

    def pace(self, now: Timed) -> float:
        """How many times as long as then it takes now."""
        return now.median / self.then_ms


def reference_of(profile: DeviceProfile, shape: ModelParts, workload: Workload) -> Reference | None:
    """The model that was timed beside those that the profile was corrected by, of the table nearest to a workload; None
    where no table for models like `shape` was corrected."""
    sizes = shape.width, shape.head_size, DEFAULT_RUNTIME
    threads = workload.batch, workload.threads
    fitting = [
        (table, table.correction.reference_ms)
        for table in profile.tables
        if (table.hidden, table.head_size, table.runtime) == sizes
        and (table.workload.batch, table.workload.threads) == threads
        and table.correction
        and table.correction.reference_ms > 0
    ]
    if not fitting:
        return None
    table, then_ms = min(fitting, key=lambda one: abs(one[0].workload.length - workload.length))
    small = reference_shape(with_vocabulary(replace(as_measured(shape), runtime=DEFAULT_RUNTIME), VOCABULARY))
    weights = random_weights(small, positions=max(8, table.workload.length), seed=0)
    graph = write_graph(weights, lowering=table.lowering).SerializeToString()
    session = Session(graph, threads=workload.threads, switches=table.lowering.session)
    return Reference(workload_run(session, table.workload, rows=small.vocabulary), then_ms)
