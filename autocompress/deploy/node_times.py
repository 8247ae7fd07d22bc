"""What every node of a deployed model takes, as ONNX Runtime's own profiler sees it.

The runtime fuses nodes, and names what it made of them in ways of its own. The result of a fused node keeps the name
that its last part had in the file, so a node is known again by its result, in the graph as executed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray

from autocompress.deploy.graph import Place, written_places
from autocompress.deploy.session import EXECUTED, Session
from autocompress.errors import HostError

_KERNEL: Final = "_kernel_time"
"""The ending of an event that tells how long a node computed; its beginning is the node's name."""
_INFERENCE: Final = "model_run"
"""The event at the end of an inference."""


@dataclass(frozen=True, slots=True)
class ExecutedNode:
    """A node as the runtime executes it. `place` is that of its result in the file; None for a result that is not
    there, of a node that the runtime put in."""

    name: str
    operator: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class NodeTimes:
    """`milliseconds` are [inferences, nodes], whole microseconds each: the profiler cuts off the rest. They hold what
    the profiler itself does at a node, some microseconds."""

    nodes: tuple[ExecutedNode, ...]
    milliseconds: NDArray[np.float64]

    def of(self, inferences: Sequence[int]) -> NodeTimes:
        """Of some inferences alone, counted from 0."""
        return replace(self, milliseconds=self.milliseconds[list(inferences)])


class WatchedModel:
    """A model that runs under the profiler, with the switches of any other session."""

    def __init__(self, model: Path, *, threads: int, folder: Path, switches: Mapping[str, str] | None = None) -> None:
        """`folder` takes the profiler's files; `nodes` are those that will run.

        Raises IntegrityError when `model` is no valid model."""
        self.session = Session(model, threads=threads, switches=switches, watch=folder)
        places = written_places(onnx.load(str(model)))
        self.nodes = tuple(
            ExecutedNode(node.name, node.op_type, next((places[name] for name in node.output if name in places), None))
            for node in onnx.load(str(folder / EXECUTED)).graph.node
        )

    def node_times(self) -> NodeTimes:
        """Of all inferences so far; the profiler stops. Raises HostError when it saw none."""
        inferences = _inferences(self.session.end_watch())
        if not inferences or not inferences[0]:
            raise HostError("onnxruntime: its profiler saw no node, so the time of parts cannot be told")
        names = list(inferences[0])
        microseconds = np.array([[found.get(name, 0.0) for name in names] for found in inferences])
        known = {node.name: node for node in self.nodes}
        return NodeTimes(tuple(known.get(name, ExecutedNode(name, "", None)) for name in names), microseconds / 1e3)


def _inferences(profile: Path) -> list[dict[str, float]]:
    """Microseconds of every node by name, an inference each; a file of the profiler is a list of events in the order in
    which they ended."""
    events: list[dict[str, Any]] = json.loads(profile.read_text(encoding="utf-8"))
    found: list[dict[str, float]] = []
    running: defaultdict[str, float] = defaultdict(float)
    for event in events:
        name = str(event.get("name", ""))
        if event.get("cat") == "Node" and name.endswith(_KERNEL):
            running[name.removesuffix(_KERNEL)] += float(event["dur"])
        elif name == _INFERENCE:
            found.append(dict(running))
            running.clear()
    return found
