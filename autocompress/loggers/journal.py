"""What loggers are told of a study. All of it is read from the store, so each run that they keep is whole: one that
goes on with a study begins with what was judged before."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Self, final

from autocompress.core.outcome import Evaluated, Failed, Infeasible, Record, values
from autocompress.core.pareto import Point, dominates, hypervolume, oriented
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Logger, Observer, Tally
from autocompress.core.stored_parts import parts_from_json
from autocompress.errors import AutocompressError, HostError
from autocompress.report import FrontReport, as_markdown, explain_policy, front_report, pick
from autocompress.store import Store

logger = logging.getLogger(__name__)

_LARGE: Final = 100
"""Of fronts much larger than this the hypervolume is not computed with every new member: with three objectives it takes
milliseconds for this many, and seconds for a thousand."""


@final
class Journal:
    """Watches a study, hands on to its observer what it hears, and tells the loggers:

    - `candidate/METRIC`, `knob/...`, `candidate` in words, for each that was judged; steps count these;
    - `front/hypervolume` inside of the study's reference point and `front/candidates`, of the search, at these steps;
    - `seconds/STAGE`;
    - at the end `finalist/METRIC` for each verified one, by its number; `front` in words, `pick/METRIC` and `pick` in
      words: what `pick` takes by itself.

    A logger that raises is told nothing more, and the study goes on.
    """

    def __init__(
        self, loggers: Sequence[Logger], observer: Observer, store: Store, name: str, settings: Mapping[str, Any]
    ) -> None:
        self._loggers, self._observer, self._store, self._name = list(loggers), observer, store, name
        self._settings = settings
        self._seen: set[int] = set()
        self._front: list[Point] = []
        self._volume: float | None = None
        self._entered = 0
        self._shape: ModelParts | None = None
        self._timings: dict[str, float] = {}

    def __enter__(self) -> Self:
        """Begins all of them. Raises HostError where one cannot."""
        for number, one in enumerate(self._loggers):
            try:
                one.begin(self._name, self._settings)
            except Exception as error:
                for begun in self._loggers[:number]:
                    begun.end("failed")
                if isinstance(error, AutocompressError):
                    raise
                raise HostError(f"{type(one).__name__} cannot begin a run: {type(error).__name__}: {error}") from error
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if not self._loggers:
            return
        state = "failed"
        try:
            state = self._store.study(self._name).state
            self._catch_up()
            self._conclude(front_report(self._store, self._name))
        except AutocompressError as trouble:  # the study was never made, or its database is gone
            logger.debug("loggers: %s", trouble)
        self._tell(lambda one: one.end(state))

    # What an observer hears

    def stage(self, name: str, detail: str = "") -> None:
        self._observer.stage(name, detail)
        if self._loggers:
            self._tell_timings()

    def progress(self, done: float, total: float | None, text: str = "") -> None:
        self._observer.progress(done, total, text)

    def tally(self, tally: Tally) -> None:
        self._observer.tally(tally)

    def note(self, text: str) -> None:
        self._observer.note(text)

    def judged(self, _study: object, record: Record) -> None:
        """A callback of the study."""
        if self._loggers:
            self._catch_up()
            self._tell_candidate(record)

    # What loggers hear

    def _catch_up(self) -> None:
        """What was judged before this run began, once."""
        if not self._seen:
            for record in self._store.records(self._name):
                self._tell_candidate(record)

    def _tell_candidate(self, record: Record) -> None:
        candidate, outcome = record.candidate, record.outcome
        if outcome is None or candidate.number in self._seen:
            return
        step = len(self._seen)
        self._seen.add(candidate.number)
        numbers = {"candidate/number": float(candidate.number), "candidate/seconds": record.seconds}
        if not isinstance(outcome, Failed):
            numbers |= {f"candidate/{metric}": value for metric, value in values(outcome.measurements).items()}
        numbers |= {f"knob/{knob}": value for knob, value in _knobs(candidate.policy).items()}
        if isinstance(outcome, Evaluated):
            self._enter(values(outcome.measurements))
        numbers["front/candidates"] = float(len(self._front))
        if self._volume is not None:
            numbers["front/hypervolume"] = self._volume
        self._numbers(numbers, step)
        self._words("candidate", self._in_words(record), step)

    def _enter(self, known: Mapping[str, float]) -> None:
        """Into the front of the search, and what it dominates then."""
        row = self._store.study(self._name)
        if not row.objectives.keys() <= known.keys():
            return
        point = oriented(known, row.objectives)
        if any(dominates(other, point) for other in self._front):
            return
        self._front = [other for other in self._front if not dominates(point, other)] + [point]
        reference: Mapping[str, float] = row.facts.get("reference_point") or {}
        self._entered += 1
        if row.objectives.keys() <= reference.keys() and self._entered % (1 + (len(self._front) // _LARGE) ** 2) == 0:
            self._volume = hypervolume(self._front, oriented(reference, row.objectives))

    def _in_words(self, record: Record) -> str:
        policy, outcome = record.candidate.policy, record.outcome
        if self._shape is None:
            self._shape = parts_from_json(self._store.fact(self._name, "shape"))
        told = f"**{record.candidate.number}** `{policy.digest[:8]}` {explain_policy(policy, self._shape).summary}"
        if isinstance(outcome, Failed):
            told += f"\n\nfailed ({outcome.stage}): {outcome.error}: {outcome.message}"
        if isinstance(outcome, Infeasible):
            told += f"\n\ninfeasible: {outcome.constraint}"
        steps = [f"- {one.operator} {one.target} {dict(one.settings) or ''}".rstrip() for one in policy.steps]
        return "\n".join([told, "", *steps]).rstrip()

    def _tell_timings(self) -> None:
        try:
            timings: Mapping[str, float] = self._store.study(self._name).facts.get("timings") or {}
        except AutocompressError as trouble:
            logger.debug("loggers: %s", trouble)
            return
        changed = {stage: seconds for stage, seconds in timings.items() if self._timings.get(stage) != seconds}
        self._timings |= changed
        if changed:
            self._numbers({f"seconds/{stage}": seconds for stage, seconds in changed.items()}, len(self._seen))

    def _conclude(self, report: FrontReport) -> None:
        self._tell_timings()
        verified = () if report.own else report.verified
        for member in verified:
            self._numbers({f"finalist/{metric}": one.value for metric, one in member.metrics.items()}, member.number)
        volumes = {"searched": report.hypervolume.searched, "verified": report.hypervolume.verified}
        known = {f"front/hypervolume_{what}": volume for what, volume in volumes.items() if volume is not None}
        chosen = next((member for member in report.verified if member.knee), None)
        if chosen is not None:
            known |= {f"pick/{metric}": one.value for metric, one in chosen.metrics.items()}
        if known:
            self._numbers(known, len(self._seen))
        self._words("front", as_markdown(report))
        if chosen is not None:
            card = f"`{chosen.digest[:8]}` {chosen.summary}"
            if verified and report.baseline is not None:
                card += f"\n\n{pick(self._store, self._name).why}"
            self._words("pick", card)

    def _numbers(self, values: Mapping[str, float], step: int) -> None:
        self._tell(lambda one: one.numbers(values, step))

    def _words(self, name: str, text: str, step: int | None = None) -> None:
        self._tell(lambda one: one.words(name, text, step))

    def _tell(self, call: Callable[[Logger], None]) -> None:
        for one in tuple(self._loggers):
            try:
                call(one)
            except Exception as error:
                logger.debug("a logger failed", exc_info=True)
                self._loggers.remove(one)
                self._observer.note(
                    f"{type(one).__name__} is told nothing more, the study goes on: {type(error).__name__}: {error}"
                )


def _knobs(policy: CompressionPolicy) -> dict[str, float]:
    """What is a number among the settings of its steps."""
    return {
        f"{step.operator}/{step.target}/{setting}": float(value)
        for step in policy.steps
        for setting, value in step.settings.items()
        if isinstance(value, int | float)
    }
