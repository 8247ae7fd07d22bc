"""The elastic model: what it trains, that gradients find their way, that it resumes."""

import itertools
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from autocompress import operators
from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.candidates.elastic import (
    Curriculum,
    ElasticTraining,
    Sampling,
    Weights,
    curriculum,
    elastic_identity,
    extreme_policies,
    prepare_elastic,
    sample_policies,
    transfer_identity,
)
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import macs, passes
from autocompress.core.data_spec import Asset, DataSpec, TaskSpec, TextSpec
from autocompress.core.device import Estimate
from autocompress.core.outcome import Evaluated
from autocompress.core.parts import ModelParts
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.core.space import Choice, Knob, SearchSpace, StepSpace
from autocompress.core.spec import Bound, Budget, StudySpec
from autocompress.core.training_spec import DistillationSpec, ElasticSpec, FinalistSpec, TrainingSpec, TransferSpec
from autocompress.core.wording import table_bits
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill import CHECKPOINT, answers, kept_weights, predict
from autocompress.distill import train as train_model
from autocompress.errors import CandidateError
from autocompress.finalists.recovery import Recovery, trainable_student
from autocompress.importance import Importance, measure_importance
from autocompress.pricing import Pricing, cheapest_whole
from autocompress.tasks import TextClassification, batches, judging
from autocompress.teacher.teacher import Teacher
from tests.conftest import build_model

CRITERION = {"importance": "fisher"}
SHALLOW = CompressionPolicy((Step("remove_layer", "layers.1"),))
NARROW = CompressionPolicy(
    (
        Step("prune_heads", "layers.0.attention", {"heads": 2, **CRITERION}),
        Step("prune_channels", "layers.2.feed_forward", {"channels": 40, **CRITERION}),
    )
)
BOTH = CompressionPolicy((*SHALLOW.steps, *NARROW.steps))
SPEC = ElasticSpec(steps=60, subnetworks=2, batch_size=16, learning_rate=1e-3)
SOFT = DistillationSpec(hard_weight=0.0)
ALL_ALIKE = (Sampling((SHALLOW, NARROW, BOTH)),)


@pytest.fixture(scope="module")
def setup(small_task: TextClassification) -> Setup:
    model, examples = build_model("bert"), small_task.examples("train")
    spec = TrainingSpec(epochs=16, batch_size=8, learning_rate=2e-3, precision="fp32")
    goal = answers(lambda logits, batch: functional.cross_entropy(logits, batch.targets))
    epochs = itertools.count()
    train_model(model, examples, goal, spec=spec, score=lambda _: float(next(epochs)), seed=0)  # the last one is kept
    importance = measure_importance(Anatomy(model, FAMILIES), batches(small_task.examples("train"), 16), ["fisher"])
    return Setup.of(model, importance, small_task, precision="fp32")


@pytest.fixture(scope="module")
def lessons(setup: Setup) -> Lessons:
    return Lessons.of(setup, TransferSpec(), seed=0)


def test_no_more_lessons_are_answered_than_can_be_looked_at(setup: Setup, lessons: Lessons) -> None:
    some = Lessons.of(setup, TransferSpec(), seed=0, most=20)
    assert (len(some.examples), len(some.logits)) == (20, 20) < (len(lessons.examples), 20)
    known = dict(zip(lessons.examples.texts, lessons.logits, strict=True))
    for text, logits in zip(some.examples.texts, some.logits, strict=True):
        assert np.allclose(logits, known[text], atol=1e-5), text


@pytest.fixture
def train(setup: Setup, lessons: Lessons, tmp_path: Path) -> Callable[..., Weights]:
    def run(
        spec: ElasticSpec = SPEC,
        *,
        taught: Curriculum = ALL_ALIKE,
        distillation: DistillationSpec = SOFT,
        workers: int = 2,
        checkpoint: str = "one",
        **options: Any,
    ) -> Weights:
        training = ElasticTraining(setup, lessons, taught, spec, distillation, seed=0, workers=workers)
        return training.run(tmp_path / checkpoint, **options)

    return run


def agreement(setup: Setup, policy: CompressionPolicy) -> float:
    """How many training texts a policy's slice answers as the teacher does."""
    data = batches(setup.task.examples("train"), 16)
    student = setup.origin(policy).copy()
    operators.apply(policy, student, setup.importance)
    found = [predict(model, data, precision="fp32").argmax(1) for model in (student.model, setup.teacher().model)]
    return float((found[0] == found[1]).mean())


def test_gradients_of_a_linked_slice_are_those_of_its_own_tensors_in_their_places(anatomy: Anatomy) -> None:
    importance = Importance(
        {"fisher": {0: np.array([0.0, 3.0, 1.0, 2.0])}}, {"fisher": {2: np.arange(96, dtype=np.float64)}}, {}
    )
    ids = torch.randint(5, 100, (4, 9), generator=torch.Generator().manual_seed(3))

    def gradient_of(student: Anatomy, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
        operators.apply(BOTH, student, importance)
        logits = student.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        wanted = tensors or [
            student.layer(0).of_attention.query.linear.weight,
            student.layer(2).of_feed_forward.down.linear.weight,
        ]
        return list(torch.autograd.grad(logits.square().sum(), wanted))

    whole = [anatomy.layer(0).of_attention.query.linear.weight, anatomy.layer(2).of_feed_forward.down.linear.weight]
    query, down = gradient_of(anatomy.copy(linked=True), list(whole))
    own_query, own_down = gradient_of(anatomy.copy(), [])
    kept = torch.cat([torch.arange(16, 32), torch.arange(48, 64)])
    assert torch.allclose(query[kept], own_query, atol=1e-6)
    assert torch.allclose(down[:, 56:], own_down, atol=1e-6)
    assert query[:16].abs().max() == 0
    assert down[:, :56].abs().max() == 0
    assert own_query.abs().max() > 0


def test_slices_of_it_answer_like_the_teacher_and_the_teacher_is_left_alone(
    setup: Setup, train: Callable[..., Weights]
) -> None:
    before = {name: array.copy() for name, array in setup.tensors.items()}
    trained = replace(setup, elastic=train())
    for policy in (SHALLOW, NARROW, BOTH):
        assert agreement(trained, policy) > agreement(setup, policy) + 0.05
    assert all(np.array_equal(before[name], array) for name, array in setup.tensors.items())
    words = "bert.embeddings.word_embeddings.weight"
    assert np.array_equal(trained.elastic[words], before[words]), "word embeddings are not trained"  # type: ignore[index]


def test_what_is_not_cut_keeps_the_teachers_weights(setup: Setup) -> None:
    int8 = CompressionPolicy((Step("quantize", "layers.0", {"bits": 8}),))
    spoilt = replace(setup, elastic={name: array[::-1].copy() for name, array in setup.tensors.items()})
    for policy in (BASELINE, int8):
        assert SliceEvaluator(spoilt)(policy) == SliceEvaluator(setup)(policy)
    assert SliceEvaluator(spoilt)(SHALLOW) != SliceEvaluator(setup)(SHALLOW)


def test_a_search_judges_all_candidates_on_the_same_few_rows_where_there_are_more(setup: Setup) -> None:
    rows = setup.task.examples("validation")
    assert judging(rows, None) is rows is judging(rows, len(rows))
    some = judging(rows, 7)
    places = [next(place for place, own in enumerate(rows.tokens) if own is one) for one in some.tokens]
    assert len(places) == 7
    assert places == sorted(places) != list(range(7)), "drawn, in their order"
    outcome = SliceEvaluator(replace(setup, most_rows=7))(SHALLOW)
    student = SliceEvaluator(setup).build(SHALLOW)
    answered = predict(student.model, batches(some, 8), precision="fp32")
    assert isinstance(outcome, Evaluated)
    assert outcome.measurements[0].value == setup.task.score(answered, some).value


def test_interrupted_it_goes_on_to_the_same_weights_whatever_the_number_of_workers(
    train: Callable[..., Weights], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.candidates.elastic._CHECKPOINT_STEPS", 4)
    spec = replace(SPEC, steps=10)
    whole = train(spec, workers=1)

    class Interruption(Exception):
        pass

    def interrupt(share: float, text: str) -> None:
        if share >= 0.6:
            raise Interruption

    with pytest.raises(Interruption):
        train(spec, checkpoint="two", progress=interrupt)
    resumed = train(spec, checkpoint="two")
    assert all(np.array_equal(whole[name], resumed[name]) for name in whole)
    assert torch.backends.cuda.flash_sdp_enabled(), "threads leave the process's choice of attention as it was"


def test_time_that_is_too_short_for_the_steps_ends_it_and_is_told(
    train: Callable[..., Weights], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="autocompress"):
        train(replace(SPEC, steps=1000, minutes=1e-6))
    assert "its time was up after 1 of 1000 steps" in caplog.text


def test_a_loss_that_is_no_number_ends_it_with_the_cause(train: Callable[..., Weights]) -> None:
    with pytest.raises(CandidateError, match=r"loss became nan; lower `elastic.learning_rate`"):
        train(replace(SPEC, learning_rate=1e30))


def test_it_learns_from_the_inside_of_the_teacher_where_finalists_do(train: Callable[..., Weights]) -> None:
    inside = replace(SOFT, relations=1.0, hidden=1.0, layer_map="learned", adaptive=True)
    spec = replace(SPEC, steps=6)
    plain, found, again = (
        train(spec, distillation=distillation, workers=workers, checkpoint=f"{place}")
        for place, (distillation, workers) in enumerate([(SOFT, 2), (inside, 2), (inside, 1)])
    )
    assert all(np.array_equal(found[name], again[name]) for name in found), "threads do not see each other's features"
    assert any(not np.array_equal(found[name], plain[name]) for name in found)


def test_what_a_quantized_slice_answers_is_what_its_exported_file_answers(
    setup: Setup, train: Callable[..., Weights]
) -> None:
    trained = replace(setup, elastic=train(replace(SPEC, steps=4)))
    int8 = [Step("quantize", f"layers.{i}", {"bits": 8}) for i in (0, 2)] + [
        Step("quantize", "embeddings", {"bits": 8})
    ]
    quantized = CompressionPolicy((*BOTH.steps, *int8))
    student = SliceEvaluator(trained).build(quantized)
    session, examples = Session(write_graph(student.weights()).SerializeToString()), trained.task.examples("validation")
    deployed = np.concatenate([session.run(session.feed(i[None], np.ones_like(i[None]))) for i in examples.tokens])
    scored = predict(student.model, batches(examples, 8), precision="fp32")
    exact = predict(SliceEvaluator(trained).build(BOTH).model, batches(examples, 8), precision="fp32")
    assert np.abs(deployed - scored).max() < 0.02 * np.abs(scored).max()
    assert np.abs(deployed - exact).max() > 2 * np.abs(deployed - scored).max(), "int8 is seen in what is scored"


def small_space(bert: Anatomy) -> SearchSpace:
    """Three layers, each in or out, each with 24 to 96 channels."""
    channels = {"channels": Choice((24, 48, 96))}
    return SearchSpace(
        "small",
        1,
        (
            StepSpace("remove_layer", "layers.*", optional=True),
            StepSpace("prune_channels", "layers.*.feed_forward", channels, settings=CRITERION),
        ),
    ).bind(bert.shape().names(), lambda *_: 96)


def size(policy: CompressionPolicy, shape: ModelParts) -> float:
    return work(operators.effective(policy, shape)[1])


def work(shape: ModelParts, *, whole: bool = False) -> int:
    return macs(shape, passes(shape, Workload(1, 8), whole=whole))


def priced_by_macs(shape: ModelParts, *, most: float) -> Pricing:
    """`most` is a share of what the whole model costs."""

    def cost(some: ModelParts) -> Estimate:
        found = work(some) / 1e6
        return Estimate(found, found, found)

    return Pricing(shape, Workload(1, 8), cost, {"latency_ms": Bound(max=most * cost(shape).value)})


def points_of(space: SearchSpace) -> list[dict[str, Any]]:
    knobs: dict[str, Knob] = space.knobs()
    values = [knob.choices for knob in knobs.values() if isinstance(knob, Choice)]
    return [dict(zip(knobs, point, strict=True)) for point in itertools.product(*values)]


@pytest.mark.parametrize("most", [1.1, 0.7])
def test_a_sandwich_holds_the_largest_and_the_smallest_that_may_be_chosen_in_every_step(
    most: float, bert: Anatomy
) -> None:
    space, shape = small_space(bert), bert.shape()
    pricing = priced_by_macs(shape, most=most)
    everything = [pricing(space.policy(lambda name, _, point=point: point[name])) for point in points_of(space)]
    sizes = [size(priced.policy, shape) for priced in everything if priced.measurements and not priced.broken]
    largest, smallest = extreme_policies(space, pricing, seed=0)
    assert size(smallest, shape) == min(sizes)
    assert size(largest, shape) == pytest.approx(max(sizes), rel=0.05)
    assert size(largest, shape) <= max(sizes)
    (sampling,) = curriculum(ElasticSpec(steps=20, subnetworks=4, sampling="sandwich"), space, pricing, seed=0)
    drawn = []
    for step in range(20):
        chosen = sampling.chosen(step, 4)
        assert chosen[:2] == [largest, smallest]
        drawn += chosen[2:]
    assert drawn == sample_policies(space, pricing, 40, seed=0)


@pytest.mark.parametrize(("most", "expected"), [(1.0, True), (0.7, False)])
def test_the_cheapest_whole_point_takes_nothing_off_and_saves_what_it_can(
    most: float, expected: bool, bert: Anatomy
) -> None:
    shape = bert.shape()
    plain = small_space(bert)
    bits = StepSpace("quantize", "embeddings", {"bits": Choice((32, 8, 4))}, per="step", targets=("embeddings",))
    space = SearchSpace("rounded", 1, (*plain.steps, bits))
    pricing = priced_by_macs(shape, most=most)
    point = cheapest_whole(space, pricing, ["latency_ms", "size_mb"], seed=0)
    if not expected:
        assert point is None, "it would break the bound"
        return
    assert point is not None
    policy = space.policy(lambda name, _: point[name])
    assert operators.only_rounded(pricing(policy).policy)
    assert table_bits(operators.effective(policy, shape)[1]) == 4
    assert cheapest_whole(plain, pricing, ["latency_ms"], seed=0) is None, "that is the uncompressed model"


@pytest.fixture
def trained(setup: Setup) -> Setup:
    """With an elastic model that is another than the teacher."""
    return replace(setup, elastic={name: array * np.float32(1.1) for name, array in setup.tensors.items()})


def test_large_finalists_are_cut_from_the_teacher_and_small_ones_from_the_elastic_model(
    trained: Setup, tmp_path: Path
) -> None:
    """Trained at a rate of next to nothing, they are what they started as."""
    training = TrainingSpec(epochs=1, batch_size=64, learning_rate=1e-12, precision="fp32", dropout=0.0)
    share = size(BOTH, trained.teacher().shape()) / size(BASELINE, trained.teacher().shape())
    kept = {}
    for name, least in (("teacher", share - 0.05), ("elastic", share + 0.05)):
        spec = FinalistSpec(training=training, from_teacher=least)
        recovery = Recovery(trained, Lessons.of(trained, spec.transfer, seed=0), spec, seed=0)
        recovery(BOTH, folder=tmp_path / name)
        kept[name], _ = kept_weights(tmp_path / name / CHECKPOINT)
    for name, setup in (("teacher", replace(trained, elastic=None)), ("elastic", trained)):
        expected = trainable_student(setup, BOTH).model.state_dict()
        assert all(torch.allclose(tensor, expected[key], atol=1e-6) for key, tensor in kept[name].items())
    weight = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.allclose(kept["teacher"][weight], kept["elastic"][weight], atol=1e-4)


def test_what_is_only_rounded_keeps_the_teachers_weights(trained: Setup, tmp_path: Path) -> None:
    spec = FinalistSpec(training=TrainingSpec(epochs=3, learning_rate=1e-2, precision="fp32"))
    recovery = Recovery(trained, Lessons.of(trained, spec.transfer, seed=0), spec, seed=0)
    policy = CompressionPolicy(tuple(Step("quantize", f"layers.{i}", {"bits": 8}) for i in range(3)))
    told: list[float] = []
    found = recovery(policy, folder=tmp_path, on_epoch=lambda _, score, __: told.append(score))
    weights, history = kept_weights(tmp_path / CHECKPOINT)
    assert history == found
    assert told == list(found.scores)
    whole = trained.teacher().model.state_dict()
    assert all(torch.equal(tensor, whole[name]) for name, tensor in weights.items())


def test_a_progressive_training_begins_with_the_widths(bert: Anatomy) -> None:
    space, shape = small_space(bert), bert.shape()
    pricing = priced_by_macs(shape, most=0.7)
    for sampling, always in (("random", 0), ("sandwich", 2)):
        spec = ElasticSpec(steps=20, subnetworks=4, sampling=sampling, progressive=True)  # type: ignore[arg-type]
        widths, everything = curriculum(spec, space, pricing, seed=0)
        for part in (widths, everything):
            assert (len(part.always), len(part.drawn)) == (always, 20 * (4 - always))
        kept = [
            [operators.effective(policy, shape)[1].depth for policy in (*part.always, *part.drawn)]
            for part in (widths, everything)
        ]
        assert set(kept[0]) == {3}
        assert set(kept[1]) >= {1, 2}
        assert len({policy.digest for policy in widths.drawn}) > 1
    (only,) = curriculum(ElasticSpec(steps=20), space, pricing, seed=0)
    assert only == Sampling(sample_policies(space, pricing, 40, seed=0)), "neither is what is done unless asked for"


def test_each_part_of_a_curriculum_gets_its_share_of_the_training(setup: Setup, train: Callable[..., Weights]) -> None:
    """Where layer 1 is removed it is not trained."""
    spec, name = replace(SPEC, steps=6), "bert.encoder.layer.1.output.dense.weight"
    shallow, narrow = Sampling([SHALLOW]), Sampling([NARROW])
    found = [
        train(spec, taught=taught, checkpoint=f"{place}")[name]
        for place, taught in enumerate([[shallow, shallow], [shallow, narrow], [narrow, shallow], [narrow, narrow]])
    ]
    assert np.array_equal(found[0], setup.tensors[name])
    assert all(not np.array_equal(one, other) for one, other in itertools.combinations(found, 2))


def test_it_is_trained_once_however_short_and_found_again(
    setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a cache that holds nothing yet."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    bert = setup.teacher()
    space, pricing = small_space(bert), priced_by_macs(bert.shape(), most=0.7)
    study = StudySpec(
        "short",
        1,
        Asset(path="model"),
        TaskSpec(DataSpec(Asset(path="texts.csv"), "csv")),
        space,
        "host",
        {"quality": "maximize"},
        Budget(4),
        elastic=ElasticSpec(steps=500, minutes=1e-6, batch_size=16),
    )
    asked: list[int] = []

    def lessons() -> Lessons:
        asked.append(1)
        return Lessons.of(setup, TransferSpec(), seed=0)

    def prepared(spec: ElasticSpec, space: SearchSpace = space) -> Weights | None:
        return prepare_elastic(
            replace(study, elastic=spec),
            Teacher(bert, tmp_path, setup.task, "digest", 1.0),
            setup,
            space,
            pricing,
            lessons,
            workers=1,
            progress=lambda *_: None,
        )

    first, again = prepared(study.elastic), prepared(study.elastic)
    assert asked == [1]
    assert first is not None
    assert again is not None
    assert all(np.array_equal(first[name], again[name]) for name in first)
    assert any(not np.array_equal(first[name], setup.tensors[name]) for name in first), "one step was taken"
    assert prepared(replace(study.elastic, steps=0)) is None
    rounding = StepSpace("quantize", "layers.*", {"bits": Choice((32, 8))})
    assert prepared(study.elastic, SearchSpace("rounding", 1, (rounding,))) is None, "nothing would be cut from it"
    prepared(replace(study.elastic, progressive=True))
    assert asked == [1, 1], "an option that is on makes another"


def test_options_that_are_off_leave_the_name_of_an_elastic_model_as_it_was() -> None:
    before = {"steps": 500, "minutes": 4.0, "subnetworks": 2, "batch_size": 32, "learning_rate": 3e-4}
    assert elastic_identity(ElasticSpec()) == before
    on = ElasticSpec(subnetworks=3, sampling="sandwich", progressive=True)
    assert elastic_identity(on) == {**before, "subnetworks": 3, "sampling": "sandwich", "progressive": True}


def test_only_feasible_policies_are_drawn_where_there_are_some(bert: Anatomy) -> None:
    space = SearchSpace(
        "small",
        1,
        (StepSpace("prune_channels", "layers.*.feed_forward", {"channels": Choice((24, 96))}, settings=CRITERION),),
    ).bind(bert.shape().names(), lambda *_: 96)
    shape = bert.shape()

    def price(most: float) -> Pricing:
        return Pricing(shape, Workload(), by_macs, {"latency_ms": Bound(max=most)})

    def by_macs(some: ModelParts) -> Estimate:
        cost = work(some, whole=True) / 1e6
        return Estimate(cost, cost, cost)

    full = by_macs(shape).value
    found = sample_policies(space, price(0.9 * full), 20, seed=0)
    assert len(found) == 20
    assert found == sample_policies(space, price(0.9 * full), 20, seed=0)
    assert all(by_macs(operators.effective(policy, shape)[1]).value <= 0.9 * full for policy in found)
    assert len(sample_policies(space, price(1e-9), 5, seed=0)) == 5, "where nothing is feasible, anything"


def test_lessons_of_other_texts_make_another_elastic_model() -> None:
    def named(path: str, **settings: Any) -> TransferSpec:
        return TransferSpec(texts=TextSpec(Asset(path=path), "lines", **settings))

    before = {"copies": 1, "replace": 0.25, "neighbours": 8}
    assert transfer_identity(TransferSpec(copies=1), "") == before, "as it was when there were only copies"
    assert transfer_identity(TransferSpec(copies=1, recombined=2), "") == {**before, "recombined": 2}
    known = transfer_identity(named("a"), "one")
    assert known == transfer_identity(named("elsewhere"), "one"), "the content counts"
    assert known != transfer_identity(named("a"), "two")
    assert known != transfer_identity(named("a", most=10), "one")
    assert known != transfer_identity(TransferSpec(), "")
