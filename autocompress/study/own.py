"""A search over an evaluation of the user's own: our spaces, samplers, store, workers and front, and nothing of our
models. What a policy does, and how good that is, the user says."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autocompress import config
from autocompress.core.functions import GIVEN, Function, imported, kept_as, restored
from autocompress.core.interruption import Switch, shielded
from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Priced, Record
from autocompress.core.own_spec import OwnSpec
from autocompress.core.ports import Observer
from autocompress.core.space import SearchSpace
from autocompress.core.spec import POPULATION_FACT, Bound
from autocompress.core.versions import versions
from autocompress.errors import SpecError
from autocompress.operators.own import ModuleOperator
from autocompress.search import Search, Watch
from autocompress.store import Lease, Store
from autocompress.study.life import carry_out, check_workers, make_room, never_begun, refuse_taken

if TYPE_CHECKING:
    from autocompress.candidates.own import OwnSetup

_WORST: Final = 1e15
"""What a sampler is told of a metric that a rejected candidate was not measured by."""
_SPACE: Final = {"name": "own", "version": 1}


@dataclass(frozen=True, slots=True)
class Functions:
    """What judges and what is judged, as it is given: functions, objects or `module:name` of them."""

    evaluate: Function | str | None = None
    model: Any = None
    operators: Sequence[Any] = ()


def own_spec(
    space: SearchSpace | Mapping[str, Any] | str | Path,
    given: Functions,
    *,
    name: str,
    objectives: Mapping[str, Direction],
    constraints: Mapping[str, Bound | Mapping[str, float]],
    budget: Mapping[str, Any],
    sampler: str,
    seed: int,
    description: str,
) -> OwnSpec:
    """What is asked for, checked. Raises SpecError with everything that is wrong, NotFoundError."""
    if given.evaluate is None:
        raise SpecError("evaluate: must be a function, `(policy) -> {metric: number}`, or `module:name` of one")
    sockets = _instances(given.operators)
    read = config.own_space(space, operators=sockets, defaults=_SPACE)
    model = _made(given.model)
    if sockets and model is None:
        raise SpecError("operators: work on a model; give `model=`, a torch.nn.Module or a function that makes one")
    tree = {
        "name": name,
        "space": config.space_to_json(bound(read, model, sockets)),
        "objectives": dict(objectives),
        "budget": dict(budget),
        "evaluate": kept_as(given.evaluate, "evaluate"),
        "model": "" if given.model is None else _kept_model(given.model),
        "operators": {one.name: _kept_class(one) for one in sockets.values()},
        "constraints": {metric: _ends(one) for metric, one in constraints.items()},
        "sampler": sampler,
        "seed": seed,
        "description": description,
    }
    return config.own_spec_of(tree)


def bound(space: SearchSpace, model: Any, operators: Mapping[str, ModuleOperator]) -> SearchSpace:
    """With the targets that its patterns stand for: names of the model's modules, and as they are written where there
    is no model. Raises SpecError where one fits nothing."""
    modules = {} if model is None else {name: module for name, module in model.named_modules() if name}
    names = tuple(modules) if modules else tuple(dict.fromkeys(step.target for step in space.steps))

    def suits(operator: str, target: str) -> bool:
        return operator not in operators or target not in modules or operators[operator].fits(modules[target])

    def size_of(operator: str, target: str, setting: str) -> int | None:
        one = operators.get(operator)
        return None if one is None or target not in modules else one.size_of(modules[target], setting)

    def multiple_of(operator: str, setting: str) -> int:
        rule = operators[operator].rules.get(setting) if operator in operators else None
        return rule.multiple if rule else 1

    try:
        return space.bind(names, size_of, suits=suits, multiple_of=multiple_of)
    except ValueError as error:
        raise SpecError(f"space: {error}") from error


def setup_of(spec: OwnSpec, given: Functions) -> OwnSetup:
    """What workers judge with: what is given now, else what the study found by its name before. Raises SpecError for
    what has no name and is not given, NotFoundError where a name leads nowhere any more."""
    from autocompress.candidates.own import OwnSetup

    evaluate = restored(spec.evaluate, given.evaluate, where="evaluate", study=spec.name)
    model = _made(restored(spec.model, given.model, where="model", study=spec.name)) if spec.model else None
    found = _instances(given.operators)
    for name, path in spec.operators.items():
        if name not in found:
            found |= _instances([restored(path, None, where="operators", study=spec.name)])
    return OwnSetup(evaluate, model, found, spec.needed, spec.constraints)


def search_own(
    spec: OwnSpec,
    given: Functions,
    store: Store,
    *,
    workers: int | None,
    ray_address: str | None,
    observer: Observer,
    on_judged: Callable[[Record], None],
) -> None:
    """Runs a new search. Raises as `study.run` does."""
    resolved = config.own_spec_to_json(spec)
    refuse_taken(store, spec.name, resolved)
    setup = setup_of(spec, given)
    check_workers(observer, spec.budget, workers=workers, ray_address=ray_address)
    make_room(store, spec.name, observer)
    try:
        with store.new_study(
            spec.name, given=resolved, resolved=resolved, fingerprint={}, objectives=spec.objectives
        ) as lease:
            _carry_out(spec, setup, store, lease, observer, workers, ray_address, on_judged)
    except KeyboardInterrupt:  # between the study's making and its run
        never_begun(store, spec.name)
        raise


def resume_own(
    store: Store,
    name: str,
    given: Functions,
    *,
    workers: int | None,
    ray_address: str | None,
    observer: Observer,
    on_judged: Callable[[Record], None],
    trials: int | None = None,
    search_minutes: float | None = None,
    takeover: bool = False,
) -> None:
    """Goes on where it stopped, with more to do where that is asked for. Raises as `Study.resume` does."""
    row = store.study(name)
    spec = config.own_spec_of(row.resolved)
    counts = store.counts(name)
    if trials is not None and trials < counts.evaluated + counts.failed:
        judged = counts.evaluated + counts.failed
        raise SpecError(f"--trials {trials}: {judged} were judged already; give all that there shall be")
    budget = spec.budget
    minutes = budget.search_minutes if search_minutes is None else search_minutes
    longer = replace(spec, budget=replace(budget, trials=trials or budget.trials, search_minutes=minutes))
    if row.state == "complete" and longer == spec:
        observer.note(f"study {name!r} is complete")
        return
    setup = setup_of(spec, given)
    check_workers(observer, spec.budget, workers=workers, ray_address=ray_address)
    with store.lease(name, takeover=takeover) as lease:
        if longer != spec:
            begun = row.facts.get(POPULATION_FACT, spec.budget.trials)
            store.respecify(lease, config.own_spec_to_json(longer), facts={POPULATION_FACT: begun})
        _carry_out(longer, setup, store, lease, observer, workers, ray_address, on_judged)


def _carry_out(
    spec: OwnSpec,
    setup: OwnSetup,
    store: Store,
    lease: Lease,
    observer: Observer,
    workers: int | None,
    ray_address: str | None,
    on_judged: Callable[[Record], None],
) -> None:
    def work(watching: Observer, switch: Switch) -> None:
        with shielded():
            from autocompress.core.cores import usable_cores
            from autocompress.runners.cluster import address_of, cluster

        count = usable_cores() if workers is None else workers
        with ExitStack() as resources:
            ray = None
            if count:
                watching.stage("workers", f"starting {count}")
                ray = resources.enter_context(cluster(workers=count, address=address_of(ray_address)))
            watching.stage("search")
            with switch.patient():
                _search(spec, setup, store, lease, watching, switch, ray, count, on_judged)
        switch.check()
        store.set_state(lease, "complete")
        watching.stage("done")

    carry_out(work, store, lease, observer)


def _search(
    spec: OwnSpec,
    setup: OwnSetup,
    store: Store,
    lease: Lease,
    observer: Observer,
    switch: Switch,
    ray: Any,
    workers: int,
    on_judged: Callable[[Record], None],
) -> None:
    from autocompress.candidates.own import OwnEvaluator
    from autocompress.runners import InProcessRunner, RayPool
    from autocompress.study.proposing import rebuilt_sampler

    worst = {metric: _worst(metric, way) for metric, way in spec.objectives.items()}
    sampler = rebuilt_sampler(store, spec, spec.space, worst=worst)
    timeout, memory = spec.budget.timeout_seconds, spec.budget.memory_gb
    runner = (
        InProcessRunner(OwnEvaluator(setup))
        if ray is None
        else RayPool(ray, OwnEvaluator, setup, workers=workers, timeout_seconds=timeout, memory_gb=memory)
    )
    store.set_state(lease, "searching")
    try:
        search = Search(
            store=store,
            lease=lease,
            sampler=sampler,
            space=spec.space,
            price=Priced,
            runner=runner,
            budget=spec.budget,
            provenance={"versions": dict(versions())},
            watch=Watch(observer.tally, lambda: switch.thrown is not None, on_judged=on_judged),
        )
        tally = search.run()
    finally:
        runner.close()
    store.set_fact(lease, "driver_seconds", tally.driver)
    if search.exhausted:
        observer.note("the space has no more new candidates; the search ended before its budget")


def _worst(metric: str, way: Direction) -> float:
    return METRICS[metric].worst if metric in METRICS else _WORST if way == "minimize" else -_WORST


# What is given


def _instances(operators: Sequence[Any]) -> dict[str, ModuleOperator]:
    """By name. Raises SpecError for what is no operator, and for two of one name."""
    found: dict[str, ModuleOperator] = {}
    for one in operators:
        made = imported(one, "operators") if isinstance(one, str) else one
        made = made() if isinstance(made, type) else made
        lacks = [name for name in ("name", "rules", "apply") if not hasattr(made, name)]
        if not isinstance(made, ModuleOperator):
            why = f"lacks {', '.join(lacks)}" if lacks else "is none"
            raise SpecError(
                f"operators: {type(made).__name__} {why}; an operator is a class below `autocompress.ModuleOperator`"
            )
        if not isinstance(getattr(made, "name", None), str) or made.name in found:
            raise SpecError(f"operators: {type(made).__name__} needs a `name` of its own")
        found[made.name] = made
    return found


def _kept_class(operator: ModuleOperator) -> str:
    return kept_as(type(operator), "operators")


def _kept_model(model: Any) -> str:
    """A module is kept by nobody: it is made again by its function, or given again."""
    return kept_as(model, "model") if isinstance(model, str) or not hasattr(model, "named_modules") else GIVEN


def _made(model: Any) -> Any:
    """A module from what is given: itself, or what makes it. Raises SpecError."""
    if model is None:
        return None
    made = imported(model, "model") if isinstance(model, str) else model
    made = made if hasattr(made, "named_modules") else made() if callable(made) else made
    if not hasattr(made, "named_modules"):
        raise SpecError(
            f"model: must be a torch.nn.Module, or a function without arguments that makes one, got "
            f"{type(made).__name__}"
        )
    return made


def _ends(given: Bound | Mapping[str, float]) -> dict[str, float | None]:
    return {"min": given.min, "max": given.max} if isinstance(given, Bound) else dict(given)
