"""From what was searched to trained finalists: promoted by the search's word, and more where its word turns out bad."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from autocompress import operators
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.interruption import Switch
from autocompress.core.nomination import HEALED, choose
from autocompress.core.outcome import Evaluated, values
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Observer
from autocompress.core.scores import above_chance
from autocompress.core.spec import RENOMINATE_FACT, StudySpec
from autocompress.core.trust import TRUST_FACT, tau_in_words
from autocompress.errors import CandidateError, ExhaustedError
from autocompress.finalists.recovery import Endings, Recovery, ranked
from autocompress.operators.distill import distilled, overridden
from autocompress.pricing import Pricing
from autocompress.runners.tune import CHECKPOINT, tune_finalists
from autocompress.store import Lease, Store


def places_taken(spec: StudySpec, store: Store) -> int:
    """How many finalists there are of `finalists.count`, to which the uncut one is added."""
    policies = [one.candidate.policy for one in store.finalists(spec.name) if one.candidate.number]
    return len(policies) - (spec.finalists.uncut and any(map(operators.only_rounded, policies)))


class Promotion:
    """Chooses and trains the finalists of one study, under a lease.

    What was chosen and what was decided is stored before it is acted on, and trainings leave checkpoints: a run that
    goes on after a crash chooses and decides as the first one did.
    """

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        lease: Lease,
        setup: Setup,
        *,
        made_of: str,
        pricing: Pricing,
        lessons: Callable[[], Lessons],
        ray: Any,
        observer: Observer,
        switch: Switch | None = None,
    ) -> None:
        """`made_of` is the digest of what finalists are trained from, policies apart: checkpoints of anything else are
        not taken up. `lessons` are asked for where something is left to train; `ray` is the module, connected, or None
        when the study runs without it. Trials of Ray look at the `switch` by themselves."""
        self._switch = switch or Switch()
        self._spec, self._store, self._lease, self._setup = spec, store, lease, setup
        self._pricing, self._lessons, self._ray, self._observer = pricing, lessons, ray, observer
        self._folder = store.folder(spec.name) / "training" / made_of[:16]

    def nominate(self) -> Sequence[CompressionPolicy]:
        """Chooses the finalists, unless that was done, and says who is not concluded yet.

        Raises ExhaustedError when the search found nothing to train.
        """
        name, again = self._spec.name, RENOMINATE_FACT
        if not [finalist for finalist in self._store.finalists(name) if finalist.candidate.number]:
            self._nominate()
        elif wanted := self._store.study(name).facts.get(again):
            self._nominate_again(wanted)
        if self._store.study(name).facts.get(again):
            self._store.set_fact(self._lease, again, "")
        return self._waiting()

    def train(self) -> Endings:
        """Trains the finalists that are not concluded yet; then further candidates, if the search ranked those badly.

        Raises ExhaustedError when the search found nothing to train.
        """
        waiting = self.nominate()
        if not waiting:
            return {}
        self._observer.progress(0, None, "asking the teacher for the answers that finalists learn from")
        recovery = Recovery(self._setup, self._lessons(), self._spec.finalists, self._spec.seed)
        endings = self._recover(recovery, waiting)
        self._promote_more(endings)
        further = [policy for policy in self._waiting() if policy.digest not in endings]
        return {**endings, **self._recover(recovery, further)} if further else endings

    def _nominate(self) -> None:
        uncut = self._uncut()
        chosen = self._choose(self._spec.finalists.count, already=uncut)
        if not chosen and not uncut:
            name = self._spec.name
            if self._store.counts(name).evaluated + self._store.counts(name).failed <= 1:
                raise ExhaustedError(
                    "the search ended before it judged anything but the uncompressed model; give a new study more "
                    "`budget.search_minutes`, or `budget.trials`"
                )
            raise ExhaustedError(f"the search found no feasible candidate to train; see `autocompress trials {name}`")
        self._store.nominate(self._lease, [*uncut, *chosen])

    def _nominate_again(self, wanted: str) -> None:
        """For an extended study: whom a longer search would have chosen, or those that are missing of the same one."""
        number, uncut = self._spec.finalists.count, self._uncut()
        if wanted == "all":
            chosen = [*uncut, *self._choose(number, already=uncut)]
        else:
            missing = number - places_taken(self._spec, self._store)
            chosen = self._choose(missing) if missing > 0 else []
        self._store.nominate(self._lease, chosen)

    def _uncut(self) -> list[int]:
        """The number of the best candidate from which nothing was cut off, if the study wants it and search found one
        that keeps its constraints."""
        if not self._spec.finalists.uncut:
            return []
        records = self._store.records(self._spec.name)
        uncut = [record for record in records if operators.only_rounded(record.candidate.policy)]
        return [one.candidate.number for one in choose(uncut, self._spec.objectives, 1)]

    def _promote_more(self, endings: Endings) -> None:
        """Nominates further candidates where the search ranked the trained ones badly. Asked once for the study."""
        name, store, spec = self._spec.name, self._store, self._spec.finalists
        known = store.study(name).facts.get(TRUST_FACT)
        if known is not None:
            store.nominate(self._lease, known["promoted"])
            return
        checkpoints = {digest: ending for digest, ending in endings.items() if isinstance(ending, Path)}
        found = ranked(store.records(name), checkpoints)
        if found is None:
            return
        promoted = self._choose(spec.more) if spec.more and found.is_bad(spec.trusted) else []
        store.set_fact(self._lease, TRUST_FACT, {**found.to_json(), "promoted": promoted})
        if promoted:
            more = "1 more is trained" if len(promoted) == 1 else f"{len(promoted)} more are trained"
            order = tau_in_words(found.tau)
            self._observer.note(f"search scores rank {found.n} finalists badly ({order}): {more}")
            store.nominate(self._lease, promoted)

    def _choose(self, count: int, *, already: Collection[int] | None = None) -> list[int]:
        """Numbers of candidates that are not `already` chosen: by default, that are no finalists yet."""
        name, store = self._spec.name, self._store
        if already is None:
            already = [finalist.candidate.number for finalist in store.finalists(name)]
        chosen = choose(
            store.records(name),
            self._spec.objectives,
            count,
            healed=math.inf if self._setup.elastic is None else HEALED * self._teachers(),
            already=already,
        )
        return [record.candidate.number for record in chosen]

    def _teachers(self) -> float:
        """What the teacher has above chance, or the best candidate where it was not judged."""
        task, records = self._setup.task, self._store.records(self._spec.name)
        judged = {one.candidate.number: one.outcome for one in records if isinstance(one.outcome, Evaluated)}
        scores = {number: values(outcome.measurements).get("quality") for number, outcome in judged.items()}
        known = [score for score in scores.values() if score is not None]
        best = scores.get(0) or max(known, default=0.0)
        return above_chance(best, task.chance(task.examples("validation")))

    def _waiting(self) -> list[CompressionPolicy]:
        """The finalists that are not concluded."""
        found = self._store.finalists(self._spec.name)
        waiting = [one.candidate.policy for one in found if one.state == "nominated" and one.candidate.number]
        # the longest training first: begun last, it would end alone while the other workers have nothing left to do
        return sorted(waiting, key=lambda policy: values(self._pricing(policy).measurements)["macs"], reverse=True)

    def _recover(self, recovery: Recovery, policies: Sequence[CompressionPolicy]) -> Endings:
        spec = self._spec.finalists
        self._folder.mkdir(parents=True, exist_ok=True)
        draws = [] if self._ray is None else spec.tuning.draws(self._spec.seed)
        further = {policy.digest: [] if operators.only_rounded(policy) else draws for policy in policies}
        epochs = [
            1 if operators.only_rounded(policy) else overridden(distilled(policy, spec), settings).training.epochs
            for policy in policies
            for settings in ({}, *further[policy.digest])
        ]
        done, total = 0, sum(epochs)

        def on_result(trial: str, epoch: int, score: float) -> None:
            nonlocal done
            done += 1
            self._observer.progress(done, total, f"{trial[:8]} scores {score:.4f} after epoch {epoch + 1}")

        finalists = "1 finalist" if len(policies) == 1 else f"{len(policies)} finalists"
        self._observer.progress(0, total, f"training {finalists}, {total} epochs in all")
        if self._ray is None:
            return {policy.digest: _train_here(recovery, policy, self._folder, on_result) for policy in policies}
        several = len(self._ray.nodes()) > 1

        def on_place(trial: str, node: str) -> None:
            if several:
                self._observer.note(f"finalist {trial[:8]} is trained on {node}")

        with self._switch.patient():
            ended = tune_finalists(
                self._ray,
                recovery,
                policies,
                folder=self._folder,
                on_result=on_result,
                on_place=on_place,
                stopped=lambda: self._switch.thrown is not None,
                tries=further,
                epochs=max(epochs) + (spec.quantization_aware != "never"),  # that one is told of once, when it is over
            )
        for end in ended:
            if end.settings:
                shown = ", ".join(f"{name} {value:.2g}" for name, value in end.settings.items())
                self._observer.note(f"{end.policy.digest[:8]}: the best try of {1 + len(draws)} had {shown}")
        return {end.policy.digest: end.checkpoint or end.reason for end in ended}


def _train_here(
    recovery: Recovery, policy: CompressionPolicy, folder: Path, on_result: Callable[[str, int, float], None]
) -> Path | str:
    place = folder / policy.digest
    try:
        recovery(policy, folder=place, on_epoch=lambda epoch, score, _: on_result(policy.digest, epoch, score))
    except CandidateError as error:
        return str(error)
    return place / CHECKPOINT
