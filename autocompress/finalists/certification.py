"""Certification: rows of the training split tell, by cross-fitting, whether finalists keep a bound on the drop.

Held-out rows are few, and a member is offered within a bound only if it is sure to keep it. For those of which that
cannot be told, the fastest first, teacher and student are trained anew without a fold and judged on it (`finalists.
folds`), fold after fold, until it can be told or the time is up. What a step found is stored when it is done, and done
once; how it counts is said in `certainty.folds`.
"""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from autocompress.assets import write_atomically
from autocompress.certainty import CONFIDENCE, RowScores, to_bytes
from autocompress.core.certified import CERTIFIED_FACT, Certified, FoldStep, certified_of
from autocompress.core.policy import content_digest
from autocompress.core.ports import Observer
from autocompress.core.training_spec import CertifySpec
from autocompress.errors import CandidateError, SpecError
from autocompress.finalists.folds import Clock, Fold, Recipe, TimeUpError
from autocompress.finalists.keeping import retell_expected
from autocompress.report.front import FrontReport, Member, front_report
from autocompress.report.promise import certified_in_words
from autocompress.report.wording import listed
from autocompress.store import Lease, Store
from autocompress.tasks.folding import folds

_RECIPE: Final = 1
"""Raised whenever a fold's students come about in another way."""
_MOST: Final = 3
"""Members that are trained on a fold: the fastest of those of which nothing can be told."""
_SPLIT: Final = "folds"


class Certification:
    """Of the finalists of one study, under a lease."""

    def __init__(
        self, recipe: Recipe, asked: CertifySpec, store: Store, lease: Lease, *, made_of: str, observer: Observer
    ) -> None:
        """`made_of` is the digest of what finalists are trained from: what was made of anything else does not count."""
        self._recipe, self._asked, self._store, self._lease, self._observer = recipe, asked, store, lease, observer
        self._name = recipe.spec.name
        digest = content_digest({"finalists": made_of, "of": asked.folds, "recipe": _RECIPE})
        known = certified_of(store.study(self._name).facts)
        self._known = known if known and known.made_of == digest else Certified(digest, asked.folds)
        self._began, self._before = time.monotonic(), self._known.seconds
        self._clock = Clock(self._began + 60 * asked.minutes - self._before, self._progress)
        self._failed: set[str] = set()

    def run(self) -> None:
        """Goes on where an earlier run was stopped. What is undecided and cannot be decided in time is told."""
        report = front_report(self._store, self._name)
        if not report.expectations.found:
            self._observer.note(f"certification: nothing to certify ({report.expectations.why})")
            return
        waiting, bound = self._undecided(), f"a drop of {self._asked.bound:g}"
        if not waiting:
            self._observer.note(f"certification: what is known decides who keeps {bound}")
        else:
            names = listed([member.digest[:8] for member in waiting])
            self._observer.note(f"certification: whether {names} keep{'s' * (len(waiting) == 1)} {bound} is undecided")
        try:
            self._judge_folds()
        except TimeUpError:
            self._remember(self._known)
            minutes = f"{self._asked.minutes:g} minute{'s' * (self._asked.minutes != 1)}"
            self._observer.note(f"certification: no more fits into its {minutes}")
        if self._known.steps:
            retell_expected(self._store, self._lease, self._recipe.teacher.anatomy.shape())
        self._tell()

    def _judge_folds(self) -> None:
        parts = folds(self._recipe.teacher.task, self._asked.folds, seed=self._recipe.spec.seed)
        for number, places in enumerate(parts, start=1):
            waiting = self._undecided()
            if not waiting:
                return
            self._plan(number)
            fold = Fold(self._recipe, number, places, self._clock)
            try:
                for member in waiting:
                    self._judge(fold, member)
            except SpecError as error:
                self._observer.note(f"certification: fold {number} is left out ({error})")

    def _plan(self, number: int) -> None:
        """Raises TimeUpError where a fold that is not begun would end, by the time that others took, before its teacher
        and the first student were judged."""
        took: dict[int, list[float]] = {}
        for step in self._known.steps:
            took.setdefault(step.fold, []).append(step.seconds)
        if number in took or not took:
            return
        least = statistics.fmean(sum(steps[:2]) for steps in took.values())
        if self._clock.now() + least > self._clock.ends:
            raise TimeUpError

    def _judge(self, fold: Fold, member: Member) -> None:
        """One member on one fold, and the fold's teacher before it, unless that was done."""
        baseline = self._store.record(self._name, 0).candidate.digest
        if self._known.step(fold.number, baseline) is None:
            self._keep(fold, baseline, fold.teachers_rows)
        if self._known.step(fold.number, member.digest) is not None:
            return
        training = self._store.folder(self._name) / "training" / self._known.made_of[:16]
        folder = training / f"fold-{fold.number}" / member.digest
        try:
            self._keep(fold, member.digest, lambda: fold.students_rows(member.policy, folder))
        except CandidateError as error:
            self._failed.add(member.digest)
            self._observer.note(f"certification: {member.digest[:8]} cannot be trained on fold {fold.number} ({error})")

    def _undecided(self) -> list[Member]:
        """Those of which it can be told neither that they keep the bound nor that they break it, the fastest first;
        none that is slower than one that is sure to keep it."""
        found = []
        for member in _by_cost(front_report(self._store, self._name)):
            kept = member.expected.kept(self._asked.bound) if member.expected else 0.0
            if kept >= CONFIDENCE:
                break
            if kept > 1 - CONFIDENCE and member.digest not in self._failed:
                found.append(member)
        return found[:_MOST]

    def _keep(self, fold: Fold, digest: str, answered: Callable[[], RowScores | None]) -> None:
        """Stores what was answered: the file stands before the study knows of it."""
        self._clock.check()
        began = time.monotonic()
        rows = answered()
        assert rows is not None, "a task whose held-out rows were kept has scores of all rows"
        content = to_bytes({_SPLIT: rows})
        folder = self._store.folder(self._name) / "row-scores" / f"folds-{self._known.made_of[:8]}"
        path = folder / f"{fold.number}-{digest}.npz"
        write_atomically(path, content)
        where, sha256 = path.relative_to(self._store.artifacts).as_posix(), hashlib.sha256(content).hexdigest()
        step = FoldStep(fold.number, digest, where, sha256, round(time.monotonic() - began, 2))
        self._remember(self._known.after(step))

    def _remember(self, known: Certified) -> None:
        self._known = replace(known, seconds=round(self._before + time.monotonic() - self._began, 2))
        self._store.set_fact(self._lease, CERTIFIED_FACT, self._known.to_json())

    def _progress(self, share: float, text: str) -> None:
        self._observer.progress(share, 1.0, text)

    def _tell(self) -> None:
        members = front_report(self._store, self._name).verified
        for member in members:
            if member.expected is not None and member.expected.folds[0]:
                self._observer.note(certified_in_words(member, self._asked.bound))
        for member in self._undecided():
            if member.expected is not None and not member.expected.folds[0]:
                self._observer.note(f"{member.digest[:8]} may keep the bound and was certified on none of the folds")


def _by_cost(report: FrontReport) -> Sequence[Member]:
    """The verified members, the cheapest first, by the first cost that the study minimises."""
    cost = report.cost
    if cost is None:
        return report.verified
    return sorted(report.verified, key=lambda one: one.metrics[cost].value if cost in one.metrics else math.inf)
