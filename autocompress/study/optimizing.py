"""A search over an evaluation of the user's own, as a Python program starts it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autocompress import config
from autocompress.assets import private_files
from autocompress.core.functions import Function
from autocompress.core.metrics import Direction
from autocompress.core.ports import Logger, Observer
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Bound
from autocompress.loggers import Journal
from autocompress.store import Store
from autocompress.study.own import Functions, own_spec, search_own
from autocompress.study.plans import watcher
from autocompress.study.study import Callback, Study, called


@private_files()
def optimize(
    space: SearchSpace | Mapping[str, Any] | str | Path,
    evaluate: Function | str,
    *,
    objectives: Mapping[str, Direction],
    name: str = "search",
    model: Any = None,
    operators: Sequence[Any] = (),
    constraints: Mapping[str, Bound | Mapping[str, float]] | None = None,
    trials: int = 100,
    minutes: float | None = None,
    timeout_seconds: float = 120.0,
    memory_gb: float | None = None,
    sampler: str = "nsga2",
    seed: int = 0,
    description: str = "",
    storage: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    observer: Observer | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
) -> Study:
    """A search over an evaluation of your own, of any model: `evaluate(policy) -> {metric: number}` judges a policy out
    of `space`, a file, its name or a mapping. The `objectives` among the metrics make the front, `constraints` bound
    others, further ones are kept. The uncompressed model, the policy without steps, is judged first. A worker that
    takes longer than `timeout_seconds` for a candidate, or holds more than `memory_gb`, is stopped.

    With a `model`, a torch.nn.Module or a function that makes one, targets are patterns of its modules' names, and
    `evaluate(policy, model)` is given a copy that the `operators` were applied to, classes below `ModuleOperator`;
    without, steps and their settings mean what `evaluate` makes of them.

    The study is stored, shown and resumed as any other. What is imported by a name is found by it; what is not, as in a
    notebook, is given again to `resume`. Raises SpecError with all that is wrong, and when the name is taken.
    """
    watching, given = watcher(observer, name), Functions(evaluate, model, operators)
    spec = own_spec(
        space,
        given,
        name=name,
        objectives=objectives,
        constraints=constraints or {},
        budget={
            "trials": trials,
            "search_minutes": minutes,
            "timeout_seconds": timeout_seconds,
            "memory_gb": memory_gb,
        },
        sampler=sampler,
        seed=seed,
        description=description,
    )
    store = Store.open(storage)
    try:
        with Journal(loggers, watching, store, name, config.own_spec_to_json(spec)) as journal:
            search_own(
                spec,
                given,
                store,
                workers=workers,
                ray_address=ray_address,
                observer=journal,
                on_judged=lambda record: called(Study(store, name), [journal.judged, *callbacks])(record),
            )
        return Study(store, name)
    except BaseException:
        store.close()
        raise
