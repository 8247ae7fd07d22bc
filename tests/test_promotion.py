"""Who is trained, and who else where the search turns out to have ranked those badly. Students are real, but small."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, passes
from autocompress.core.data_spec import Asset, DataSpec, TaskSpec
from autocompress.core.device import Estimate
from autocompress.core.metrics import Direction
from autocompress.core.outcome import RUNG_SLICED, Evaluated, Measurement, Proposal
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.space import SearchSpace, StepSpace
from autocompress.core.spec import Budget, StudySpec
from autocompress.core.training_spec import DistillationSpec, FinalistSpec, TrainingSpec, TransferSpec
from autocompress.core.trust import TRUST_FACT
from autocompress.core.workload import Workload
from autocompress.distill import CHECKPOINT, kept_scores
from autocompress.finalists.promotion import Promotion
from autocompress.finalists.recovery import Endings, Recovery
from autocompress.importance import no_preference
from autocompress.pricing import Pricing
from autocompress.store import Store
from autocompress.study.study import SilentObserver
from autocompress.tasks import TextClassification

OBJECTIVES: dict[str, Direction] = {"quality": "maximize", "latency_ms": "minimize"}
NUMBERS = range(1, 9)
FIRST = (1, 3, 4, 6, 8)
FINALISTS = FinalistSpec(
    len(FIRST),
    training=TrainingSpec(epochs=1, batch_size=8, learning_rate=2e-3, precision="fp32"),
    distillation=DistillationSpec(hard_weight=1.0),  # the teacher itself was never trained
)

Search = Callable[[float], float]
"""The score that a candidate had in the search, of the one that it will have when it is trained."""


def rightly(score: float) -> float:
    return score - 0.1


def wrongly(score: float) -> float:
    return 0.9 - score


def policy(number: int) -> CompressionPolicy:
    settings = {"channels": 10 * number, "importance": "magnitude"}
    return CompressionPolicy((Step("prune_channels", "layers.0.feed_forward", settings),))


class Listener(SilentObserver):
    """Hears notes; the first ends the run when it is `impatient`."""

    def __init__(self, *, impatient: bool = False) -> None:
        self.notes: list[str] = []
        self._impatient = impatient

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self._impatient:
            raise KeyboardInterrupt


class Given:
    """A study whose search is over and whose first finalists are nominated, and trained once already: how they end up
    is known, so that the search can have foreseen it or not."""

    def __init__(self, folder: Path, bert: Anatomy, task: TextClassification) -> None:
        self.store = Store.open(str(folder / "study.db"))
        self.setup = Setup.of(bert.model, no_preference(bert.shape()), task, precision="fp32")
        self.lessons = Lessons.of(self.setup, TransferSpec(), seed=0)
        self.pricing = Pricing(bert.shape(), Workload(), self._latency, {})
        recovery = Recovery(self.setup, self.lessons, FINALISTS, 0)
        self.store.create_study("mine", given={}, resolved={}, fingerprint={}, objectives=OBJECTIVES)
        training = self.store.folder("mine") / "training"
        self.scores = {n: recovery(policy(n), folder=training / policy(n).digest).score for n in FIRST}
        self.checkpoints = {n: training / policy(n).digest / CHECKPOINT for n in NUMBERS}

    def search(self, scored: Search, *, nominated: Sequence[int] = FIRST, uncut: Sequence[int] = ()) -> None:
        """With candidates that keep all, in so many bits, if any: the fewer, the faster."""
        policies = {n: policy(n) for n in NUMBERS} | {
            n: CompressionPolicy((Step("quantize", "layers.*", {"bits": bits}),))
            for n, bits in enumerate(uncut, start=len(NUMBERS) + 1)
        }
        with self.store.lease("mine") as lease:
            self.store.insert_baseline(lease)
            for n, proposed in policies.items():
                self.store.propose(lease, Proposal(n, {}), proposed)
                found = (
                    Measurement("quality", scored(self.scores.get(n, 0.5)), "accuracy", "measured"),
                    Measurement("latency_ms", float(n), "ms", "predicted"),
                )
                self.store.finish(
                    lease, n, attempt=1, outcome=Evaluated(found), rung=RUNG_SLICED, seconds=0.1, provenance={}
                )
            if nominated:
                self.store.nominate(lease, nominated)

    def promote(self, listener: Listener, *, more: int = 2, trusted: float = 0.5, **changes: Any) -> Endings:
        data = DataSpec(Asset(path="texts.csv"), "csv")
        spec = StudySpec(
            "mine",
            1,
            Asset(path="model"),
            TaskSpec(data),
            SearchSpace("searched", 1, (StepSpace("remove_layer", "layers.*"),)),
            "host",
            OBJECTIVES,
            Budget(9),
            finalists=replace(FINALISTS, more=more, trusted=trusted, **changes),
        )
        with self.store.lease("mine") as lease:
            promotion = Promotion(
                spec,
                self.store,
                lease,
                self.setup,
                made_of="",
                pricing=self.pricing,
                lessons=lambda: self.lessons,
                ray=None,
                observer=listener,
            )
            return promotion.train()

    @property
    def finalists(self) -> list[int]:
        return [finalist.candidate.number for finalist in self.store.finalists("mine")]

    @property
    def fact(self) -> dict[str, object]:
        return dict(self.store.study("mine").facts[TRUST_FACT])

    @staticmethod
    def _latency(shape: ModelParts) -> Estimate:
        cost = macs(shape, passes(shape, Workload(1, 8), whole=True)) / 1e6
        return Estimate(cost, cost, cost)


@pytest.fixture
def given(tmp_path: Path, bert: Anatomy, small_task: TextClassification) -> Iterator[Given]:
    given = Given(tmp_path, bert, small_task)
    assert len(set(given.scores.values())) > 1, "some order there must be"
    yield given
    given.store.close()


def test_an_order_that_the_search_foresaw_needs_nobody_else(given: Given) -> None:
    given.search(rightly)
    listener = Listener()
    endings = given.promote(listener)
    assert endings == {policy(n).digest: given.checkpoints[n] for n in FIRST}
    assert given.finalists == list(FIRST)
    assert listener.notes == []
    assert (given.fact["n"], given.fact["tau"], given.fact["regret"], given.fact["promoted"]) == (5, 1.0, 0.0, [])
    assert given.fact["gain"] == pytest.approx(0.1)


def test_where_the_search_ranked_badly_further_candidates_are_trained(given: Given) -> None:
    given.search(wrongly)
    listener = Listener()
    endings = given.promote(listener)
    assert listener.notes == ["search scores rank 5 finalists badly (Kendall's tau -1.00): 2 more are trained"]
    assert (given.fact["tau"], given.fact["n"]) == (-1.0, 5)
    further = given.finalists[len(FIRST) :]
    assert given.fact["promoted"] == further
    assert len(further) == 2
    assert set(further) < {2, 5, 7}
    assert set(endings) == {policy(n).digest for n in (*FIRST, *further)}
    assert all(len(kept_scores(given.checkpoints[n]).scores) == 1 for n in (*FIRST, *further))


def test_a_run_that_was_stopped_after_it_decided_trains_whom_it_decided_for(given: Given) -> None:
    given.search(wrongly)
    with pytest.raises(KeyboardInterrupt):
        given.promote(Listener(impatient=True))
    decided = given.fact
    assert given.finalists == list(FIRST), "it was stopped before it could nominate"
    trained = {n: given.checkpoints[n].stat().st_mtime_ns for n in FIRST}
    listener = Listener()
    endings = given.promote(listener)
    assert listener.notes == [], "it is not asked again"
    assert given.fact == decided
    assert given.finalists == [*FIRST, *decided["promoted"]]
    assert len(endings) == 7
    assert trained == {n: given.checkpoints[n].stat().st_mtime_ns for n in FIRST}, "nobody is trained twice"
    assert given.promote(Listener()) == endings
    assert given.fact == decided, "though seven are trained now"


def test_fewer_than_four_say_nothing_of_an_order(given: Given) -> None:
    given.search(wrongly, nominated=FIRST[:3])
    assert len(given.promote(Listener())) == 3
    assert given.fact["promoted"] == []


def test_without_being_asked_to_nobody_is_trained_on_top(given: Given) -> None:
    given.search(wrongly)
    assert len(given.promote(Listener(), more=0)) == 5
    assert (given.fact["tau"], given.fact["promoted"]) == (-1.0, [])


def test_where_nobody_is_left_it_is_said_of_nobody(given: Given) -> None:
    given.search(wrongly)
    with given.store.lease("mine") as lease:
        given.store.nominate(lease, NUMBERS)
    listener = Listener()
    assert len(given.promote(listener, trusted=1.0)) == 8
    assert (listener.notes, given.fact["promoted"]) == ([], [])


def test_the_model_from_which_nothing_is_cut_is_one_more_finalist_and_is_not_trained(given: Given) -> None:
    given.search(rightly, nominated=(), uncut=(16, 8))
    endings = given.promote(Listener(), count=2)
    trained = [n for n in given.finalists if n in NUMBERS]
    assert len(trained) == 2
    whole = [n for n in given.finalists if n not in NUMBERS]
    assert whole == [9], "of two that score alike, the faster"
    assert len(endings) == 3


def test_nobody_is_added_where_the_study_does_not_want_it(given: Given) -> None:
    given.search(rightly, nominated=(), uncut=(16, 8))
    given.promote(Listener(), count=2, uncut=False)
    assert len(given.finalists) == 2
