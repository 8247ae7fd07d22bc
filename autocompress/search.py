"""The search loop: ask, look up, price, run, record, tell, stop.

It knows neither torch nor Ray nor Optuna: it is handed a sampler, a runner and a price. An outcome is recorded before
the sampler hears of it; whatever is killed in between is healed when the sampler is rebuilt from the records.
"""

from __future__ import annotations

import collections
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autocompress.core.outcome import (
    RUNG_SLICED,
    Candidate,
    Evaluated,
    Failed,
    Infeasible,
    Outcome,
    Priced,
    Record,
)
from autocompress.core.policy import CompressionPolicy, Setting
from autocompress.core.ports import Done, Job, Lost, Runner, Sampler, Tally
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Budget
from autocompress.errors import ExhaustedError, HostError
from autocompress.store import Lease, Store

logger = logging.getLogger(__name__)

MAX_ATTEMPTS: Final = 2
"""A candidate whose worker died or was stopped is tried once more, by a worker that nothing was done in before; then it
counts as failed. A worker that died before it began, or a driver that was stopped, says nothing of the candidate and is
no attempt."""

_LEAST_STARTS: Final = 5
"""So many workers in a row may die before they begin, and one for every slot: then it is no accident."""

_FEW: Final = 5
_TICK: Final = 0.5
_LEAVE_SECONDS: Final = 5.0
"""How long a stopped search waits for what is in flight; what is not over by then runs again when it is resumed."""
_FRONT_SECONDS: Final = 2.0
_PATIENCE: Final = 200
"""So many proposals in a row may come to nothing at least: repeated, or infeasible."""


Price = Callable[[CompressionPolicy], Priced]


@dataclass(frozen=True, slots=True)
class Watch:
    """How a search is observed and stopped from outside."""

    on_change: Callable[[Tally], None] = lambda _: None
    stopped: Callable[[], bool] = lambda: False
    clock: Callable[[], float] = time.monotonic
    on_judged: Callable[[Record], None] = lambda _: None
    """Called with each candidate once its outcome is stored."""


class Search:
    """One study's search phase over an open lease."""

    def __init__(
        self,
        *,
        store: Store,
        lease: Lease,
        sampler: Sampler,
        space: SearchSpace,
        price: Price,
        runner: Runner,
        budget: Budget,
        provenance: Mapping[str, Any],
        watch: Watch | None = None,
        first: Sequence[Mapping[str, Setting]] = (),
    ) -> None:
        """`first` are points that are proposed, in their order, before the sampler is asked for any."""
        self._first = collections.deque(first)
        self._store, self._lease = store, lease
        self._sampler, self._space, self._price, self._runner = sampler, space, price, runner
        self._budget, self._provenance, self._watch = budget, dict(provenance), watch or Watch()
        counts = store.counts(lease.study)
        self._tally = Tally(budget.trials, counts.evaluated, counts.failed, counts.infeasible, counts.repeated)
        self._tally.seconds = float(store.study(lease.study).facts.get("search_seconds", 0.0))
        self._tally.limit = None if budget.search_minutes is None else 60 * budget.search_minutes
        self._flying: dict[int, Priced] = {}
        self._backlog: collections.deque[tuple[Job, Priced]] = collections.deque()
        self._waiting: dict[str, list[int]] = collections.defaultdict(list)
        self._lost: collections.Counter[int] = collections.Counter()
        self._stillborn = 0
        self._stopped_at = math.inf
        self._idle = 0
        self._began = 0.0
        self._patience = max(_PATIENCE, 10 * min(budget.trials, space.size()))
        self._front_read = -math.inf

    def run(self) -> Tally:
        """Searches until the budget is spent, the space is exhausted or somebody stops it; then in-flight candidates
        are finished, if they take no longer than seconds. Raises ExhaustedError when too many candidates fail,
        HostError when workers die before they begin."""
        self._began = self._watch.clock() - self._tally.seconds
        try:
            self._readmit()
            while True:
                begun = time.thread_time()
                self._fill()
                self._report()
                self._tally.driver += time.thread_time() - begun
                if not self._flying or self._is_left():
                    break
                events = self._runner.wait(_TICK)
                begun = time.thread_time()
                for event in events:
                    self._absorb(event)
                    self._fill()  # before the next is told: what is asked must not depend on how fast outcomes come
                self._tally.driver += time.thread_time() - begun
                self._check_failures()
        finally:
            self._tally.seconds = self._seconds()
            self._store.set_fact(self._lease, "search_seconds", self._tally.seconds)
        return self._tally

    def _is_left(self) -> bool:
        """Whether the search was stopped a while ago, and what is in flight need not be waited for any more."""
        if self._watch.stopped():
            self._stopped_at = min(self._stopped_at, self._watch.clock())
        return self._watch.clock() - self._stopped_at > _LEAVE_SECONDS

    def _report(self) -> None:
        """The front is read from the store now and then only: a search judges several candidates a second."""
        self._tally.seconds = self._seconds()
        if self._watch.clock() - self._front_read > _FRONT_SECONDS:
            self._front_read = self._watch.clock()
            self._tally.front = len(self._store.front(self._lease.study, rung=RUNG_SLICED))
        self._watch.on_change(self._tally)

    def _seconds(self) -> float:
        """Spent so far, by drivers of before too."""
        return self._watch.clock() - self._began

    @property
    def exhausted(self) -> bool:
        """Whether the space seems to have no new candidates left."""
        return self._idle >= self._patience

    def _fill(self) -> None:
        while self._backlog and len(self._flying) < self._runner.slots:
            self._launch(*self._backlog.popleft())
        while self._may_ask():
            self._propose()

    def _may_ask(self) -> bool:
        late = self._budget.search_minutes is not None and self._seconds() >= 60 * self._budget.search_minutes
        return (
            len(self._flying) < self._runner.slots
            and self._tally.judged + len(self._flying) < self._budget.trials
            and not late
            and not self.exhausted
            and not self._watch.stopped()
        )

    def _readmit(self) -> None:
        """Candidates that were running when the last driver ended run again; the baseline goes first."""
        self._store.insert_baseline(self._lease)
        digests: dict[str, list[int]] = collections.defaultdict(list)
        for proposal, digest in self._store.proposals(self._lease.study):
            digests[digest].append(proposal.number)
            if "adopted" not in proposal.attributes and self._first:
                self._first.popleft()  # it was proposed by the driver before
        for record in self._store.records(self._lease.study):
            if record.outcome is not None:
                continue
            candidate = record.candidate
            self._waiting[candidate.digest] = digests[candidate.digest]
            attempt = self._store.restart(self._lease, candidate.number)
            self._backlog.append((Job(candidate.number, candidate.policy, attempt), self._price(candidate.policy)))

    def _propose(self) -> None:
        proposal = self._sampler.ask(self._first.popleft()) if self._first else self._sampler.ask()
        priced = self._price(self._space.policy(lambda name, _: proposal.parameters[name]))
        rejected = _rejected(priced)
        proposed = self._store.propose(
            self._lease, proposal, priced.policy, rejected=rejected, provenance=self._provenance
        )
        if proposed.is_new and rejected is not None:
            self._idle += 1
            self._tally.infeasible += 1
            self._sampler.tell(proposal.number, rejected)
            return
        if not proposed.is_new:
            self._tally.repeated += 1
            self._idle += 1
            if proposed.outcome is None:
                self._waiting[proposed.candidate.digest].append(proposal.number)
            else:
                self._sampler.tell(proposal.number, proposed.outcome)
            return
        self._waiting[proposed.candidate.digest].append(proposal.number)
        self._launch(Job(proposed.candidate.number, priced.policy, attempt=1), priced)

    def _launch(self, job: Job, priced: Priced) -> None:
        self._idle = 0
        self._flying[job.number] = priced
        self._tally.running = len(self._flying)
        self._runner.submit(job)

    def _absorb(self, event: Done | Lost) -> None:
        job = event.job
        priced = self._flying.pop(job.number)
        self._tally.running = len(self._flying)
        if isinstance(event, Lost):
            self._retry(event, priced)
            return
        self._stillborn = 0
        outcome = event.outcome
        if isinstance(outcome, Evaluated):
            outcome = Evaluated((*priced.measurements, *outcome.measurements))
        self._record(job, outcome, event.seconds)

    def _retry(self, event: Lost, priced: Priced) -> None:
        """Another worker for a candidate that lost its own, or the end of it. Raises HostError when no worker lives."""
        job = event.job
        self._lost[job.number] += event.began
        self._stillborn = 0 if event.began else self._stillborn + 1
        if self._stillborn >= max(_LEAST_STARTS, self._runner.slots):
            raise HostError(
                f"{self._stillborn} workers in a row died before they began: {event.reason}; look at the memory that "
                f"is free, and go on with `autocompress resume {self._lease.study}`, or with `--workers 0` without them"
            )
        if self._lost[job.number] >= MAX_ATTEMPTS:
            self._record(job, Failed("worker", event.error, event.reason), 0.0)
            return
        logger.warning("candidate %d: %s; trying once more", job.number, event.reason)
        attempt = self._store.restart(self._lease, job.number)
        self._launch(Job(job.number, job.policy, attempt), priced)

    def _record(self, job: Job, outcome: Outcome, seconds: float) -> None:
        self._store.finish(
            self._lease,
            job.number,
            attempt=job.attempt,
            outcome=outcome,
            rung=RUNG_SLICED,
            seconds=seconds,
            provenance=self._provenance,
        )
        self._count(job, outcome)
        candidate = Candidate(job.number, job.policy)
        self._watch.on_judged(Record(candidate, outcome, job.attempt, seconds, self._provenance))
        for number in self._waiting.pop(job.policy.digest, []):
            self._sampler.tell(number, outcome)

    def _count(self, job: Job, outcome: Outcome) -> None:
        match outcome:
            case Evaluated():
                self._tally.evaluated += 1
            case Infeasible():
                self._tally.infeasible += 1  # an evaluator may find out late
            case Failed(stage, error, message):
                self._tally.failed += 1
                self._tally.causes[f"{stage}: {error}: {message}"] += 1
                logger.warning("candidate %d failed (%s): %s: %s", job.number, stage, error, message)

    def _check_failures(self) -> None:
        tally = self._tally
        if tally.judged >= _FEW and tally.failed > self._budget.failure_share * tally.judged:
            ((cause, times),) = tally.causes.most_common(1) or [("failures of an earlier run", tally.failed)]
            raise ExhaustedError(
                f"{tally.failed} of {tally.judged} candidates failed, more than the failure budget of "
                f"{self._budget.failure_share:.0%} allows; most often ({times}x): {cause}. "
                f"See `autocompress trials {self._lease.study} --state failed`."
            )


def _rejected(priced: Priced) -> Infeasible | None:
    """The outcome of a candidate that breaks a bound; the baseline is scored even so, to be compared with."""
    if priced.broken is None or priced.policy.is_baseline:
        return None
    return Infeasible(priced.broken, priced.measurements)
