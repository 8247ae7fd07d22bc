"""How a study's run begins and ends: replaced where it judged nothing, extended where it was finished, stopped at any
moment."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NoReturn, final

from autocompress import config
from autocompress.core.interruption import Switch, interruptible, shielded
from autocompress.core.outcome import Record
from autocompress.core.ports import Observer, Tally
from autocompress.core.refusals import host_error
from autocompress.core.spec import POPULATION_FACT, RENOMINATE_FACT, Budget, StudySpec
from autocompress.errors import AutocompressError, HostError, Interrupted, SpecError, StoreError
from autocompress.planning.stages import PLAN_FACT, reopened
from autocompress.store import Lease, Store, StudyRow, StudyState, StudySummary

if TYPE_CHECKING:
    from autocompress.study.gathering import Inputs

logger = logging.getLogger(__name__)


@final
class StoppingObserver:
    """Hands on what it hears, and stops the study there once the switch was thrown: the interrupt itself may have been
    swallowed on its way, as it is in a finalizer or in a library's own handler."""

    def __init__(self, observer: Observer, switch: Switch) -> None:
        self._observer, self._switch = observer, switch

    def stage(self, name: str, detail: str = "") -> None:
        self._switch.check()
        self._observer.stage(name, detail)

    def progress(self, done: float, total: float | None, text: str = "") -> None:
        self._switch.check()
        self._observer.progress(done, total, text)

    def tally(self, tally: Tally) -> None:
        self._observer.tally(tally)  # the search ends by itself

    def note(self, text: str) -> None:
        self._observer.note(text)


def conduct(
    spec: StudySpec,
    inputs: Inputs,
    store: Store,
    lease: Lease,
    observer: Observer,
    *,
    workers: int | None,
    ray_address: str | None,
    here: bool = False,
    on_judged: Callable[[Record], None] = lambda _: None,
) -> None:
    """Runs the stages, and calls `on_judged` with each candidate of the search once it is stored; a stop or an error
    leaves a state that says so and everything that was finished.

    Raises Interrupted after a signal, whatever came of it on its way out of the libraries; HostError where a disk is
    full, whoever was writing.
    """
    from autocompress.study.stages import Conductor

    def work(watching: Observer, switch: Switch) -> None:
        Conductor(
            spec,
            inputs,
            store,
            lease,
            observer=watching,
            workers=workers,
            ray_address=ray_address,
            switch=switch,
            here=here,
            on_judged=on_judged,
        ).run()

    carry_out(work, store, lease, observer)


def carry_out(work: Callable[[Observer, Switch], None], store: Store, lease: Lease, observer: Observer) -> None:
    """Does the `work` of a study, and leaves a state that says how it ended. Raises as `conduct` does."""
    with interruptible() as switch:
        try:
            work(StoppingObserver(observer, switch), switch)
        except KeyboardInterrupt:
            _stopped(store, lease, switch)
        except Exception as error:
            if switch.thrown is not None:
                logger.debug("interrupted, this came of it", exc_info=True)
                _stopped(store, lease, switch)
            told = error if isinstance(error, AutocompressError) else host_error(error)
            if not isinstance(told or error, _OF_THE_MACHINE):
                _leave(store, lease, "failed")
                raise
            _leave(store, lease, "interrupted")
            observer.note(
                f"everything finished is stored; go on with `autocompress resume {lease.study}` when this is mended"
            )
            if told is None or told is error:
                raise
            raise told from error
        if switch.thrown is not None:
            _stopped(store, lease, switch)


def _stopped(store: Store, lease: Lease, switch: Switch) -> NoReturn:
    with shielded(), suppress(StoreError):
        if store.study(lease.study).state != "complete":
            store.set_state(lease, "interrupted")
    stop = Interrupted(f"stopped; go on with `autocompress resume {lease.study}`")
    stop.exit_code = switch.exit_code
    raise stop from None


_OF_THE_MACHINE: Final = (HostError, StoreError, OSError, MemoryError)
"""What ends a run and says nothing against the study: it waits to be gone on with."""


def _leave(store: Store, lease: Lease, state: StudyState) -> None:
    """The error that ended the study matters more than one of the database that cannot be told of it."""
    with shielded():
        try:
            store.set_state(lease, state)
        except AutocompressError as error:
            logger.warning("study %s: its state could not be stored: %s", lease.study, error)


def check_workers(observer: Observer, budget: Budget, *, workers: int | None, ray_address: str | None) -> None:
    """Says which Ray a study is going to use, and what it is not held to without. Raises HostError when that cannot be
    joined."""
    from autocompress.runners.cluster import ADDRESS, address_of, check_cluster

    address = address_of(ray_address)
    found = check_cluster(workers=workers, address=ray_address)
    if found:
        told = ", ".join(f"{node.name}{' (here)' if node.here else ''} with {node.cpus:g} CPUs" for node in found)
        named = "" if ray_address else f" ({ADDRESS})"
        observer.note(f"Ray cluster at {address}{named}: {told}")
    elif address is not None:
        observer.note(f"without Ray: the cluster at {address} is not used")
    if workers == 0 and budget.memory_gb is not None:
        observer.note(
            f"budget.memory_gb: {budget.memory_gb:g} is no limit with `--workers 0`: candidates are judged in this "
            "process, which is not stopped; `--workers 1` keeps to it"
        )


def refuse_taken(store: Store, name: str, resolved: Mapping[str, Any]) -> None:
    """Raises SpecError when the name is that of a study which judged something, with the differences if its stored spec
    is another."""
    stored = _named(store, name)
    if stored is None or _is_blank(stored):
        return
    changes = config.changes_since(store.study(name).resolved, resolved)
    differs = ["its stored spec differs from this one:", *(f"  {line}" for line in changes)] if changes else []
    more = f"; with `--fork {name}` that one takes over what still holds" if changes else ""
    raise SpecError(
        f"a study named {name!r} exists already ({stored.state}); go on with `autocompress resume {name}`, "
        f"or start another one with `--name`{more}",
        *differs,
    )


def stored_alike(store: Store, spec: StudySpec) -> StudyState | None:
    """The state of the stored study of that name, where it judged something by the same settings; None where there is
    none to go on with."""
    stored = _named(store, spec.name)
    if stored is None or _is_blank(stored):
        return None
    changes = config.changes_since(store.study(spec.name).resolved, config.spec_to_json(spec))
    return None if changes else stored.state


def make_room(store: Store, name: str, observer: Observer) -> None:
    """Forgets the study of this name that never judged anything: nothing is lost with it. Raises StudyLockedError while
    it is being run."""
    stored = _named(store, name)
    if stored is not None and _is_blank(stored):
        store.delete_study(name)
        observer.note(f"study {name!r} had judged nothing yet ({stored.state}): it is begun anew")


def never_begun(store: Store, name: str) -> None:
    """A study that was stopped as soon as it was made waits to be resumed, like any other."""
    with shielded():
        stored = _named(store, name)
        if stored is not None and stored.state == "created":
            with store.lease(name) as lease:
                store.set_state(lease, "interrupted")


def _named(store: Store, name: str) -> StudySummary | None:
    return next((study for study in store.studies() if study.name == name), None)


def _is_blank(study: StudySummary) -> bool:
    """Whether no candidate of it, nor the uncompressed model, has an outcome."""
    counts = study.counts
    return study.state != "complete" and counts.evaluated + counts.infeasible + counts.failed == 0


def extended(
    spec: StudySpec,
    store: Store,
    *,
    trials: int | None,
    minutes: float | None,
    search_minutes: float | None,
    finalists: int | None,
) -> StudySpec:
    """The spec with a larger budget or more finalists. Raises SpecError where that asks for nothing more than what was
    done already, and for the `minutes` of a whole study that was not bounded by any."""
    counts, row = store.counts(spec.name), store.study(spec.name)
    judged, spent = counts.evaluated + counts.failed, float(row.facts.get("search_seconds", 0.0)) / 60
    more = {"--trials": trials, "--search-minutes": search_minutes, "--finalists": finalists}
    problems = _of_minutes(spec, row, minutes, [option for option, given in more.items() if given is not None])
    if trials is not None and trials < judged:
        problems.append(f"--trials {trials}: {judged} were judged already; give all that there shall be")
    limit = spec.budget.search_minutes if search_minutes is None else search_minutes
    if trials is not None and trials > judged and limit is not None and limit <= spent:
        told = f"all {limit:g} minutes of the search are spent; give `--search-minutes` too"
        problems.append(f"--trials {trials}: {told}")
    elif search_minutes is not None and search_minutes <= spent and row.state == "complete":
        told = f"{spent:.3g} were spent already; give all that there shall be"
        problems.append(f"--search-minutes {search_minutes:g}: {told}")
    trained = _places_taken(spec, store)
    if finalists is not None and finalists < trained:
        problems.append(f"--finalists {finalists}: there are {trained} already; give all that there shall be")
    if problems:
        raise SpecError(*problems)
    budget, last = spec.budget, spec.finalists
    try:
        return replace(
            spec,
            budget=replace(
                budget,
                trials=trials or budget.trials,
                minutes=budget.minutes if minutes is None else minutes,
                search_minutes=limit,
            ),
            finalists=replace(last, count=last.count if finalists is None else finalists),
        )
    except ValueError as error:
        raise SpecError(f"resume: {error}") from error


def _places_taken(spec: StudySpec, store: Store) -> int:
    from autocompress.finalists.promotion import places_taken  # needs torch, and reading a study does not

    return places_taken(spec, store)


def _of_minutes(spec: StudySpec, row: StudyRow, minutes: float | None, more: Sequence[str]) -> list[str]:
    """What is wrong with giving the whole study so many, or with the options that give it `more` to do without."""
    bound = spec.budget.minutes
    if bound is None:
        told = f"bounds a whole study, and {spec.name!r} was asked for without `budget.minutes`"
        return [] if minutes is None else [f"--minutes {minutes:g}: {told}; its search alone is `--search-minutes`"]
    spent = sum(row.facts.get("timings", {}).values()) / 60
    if minutes is None and more and bound <= spent:
        return [f"{', '.join(more)}: all {bound:g} minutes of the study are spent; give `--minutes` too"]
    if minutes is not None and minutes <= spent and row.state == "complete":
        return [f"--minutes {minutes:g}: {spent:.3g} were spent already; give all that the study shall take"]
    return []


def extend(spec: StudySpec, longer: StudySpec, store: Store, lease: Lease) -> None:
    """Stores a larger budget, in one step: what is killed after it goes on with it. The sampler keeps the size of its
    generations, which follows from the budget that the search began with."""
    facts = store.study(spec.name).facts
    renominate = "more" if longer.budget == spec.budget else "all"
    begun = facts.get(POPULATION_FACT, spec.budget.trials)
    known = {POPULATION_FACT: begun, RENOMINATE_FACT: renominate}
    if facts.get(PLAN_FACT):
        known[PLAN_FACT] = reopened(facts[PLAN_FACT])
    store.respecify(lease, config.spec_to_json(longer), facts=known)
