"""Tokens that go on behind a layer: which they are, in torch and as a file, and what they cost."""

from __future__ import annotations

import copy
import json
import pickle
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from autocompress import config, operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.calibration import Product, run
from autocompress.anatomy.kept_tokens import most_attended, received
from autocompress.config import load_space, load_study
from autocompress.core.attention_form import AttentionForm
from autocompress.core.cost import activation_bytes, macs, placed
from autocompress.core.device import CostModel, DeviceProfile, KernelRow, KernelTable, Runtime
from autocompress.core.encoders import encoder, encoder_layer, in_form, keeping
from autocompress.core.kept_tokens import KeptTokens, why_all_positions
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.parts import ModelParts, Pass
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.prediction import LatencyPredictor, RooflinePredictor, predictor_of
from autocompress.core.space import Choice, Integer, SearchSpace, StepSpace
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.training_spec import DistillationSpec
from autocompress.core.wording import describe
from autocompress.core.workload import Workload
from autocompress.deploy.forms import forms_of
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiling import Effort, bert_shape, loads_to_measure, profile_host
from autocompress.distill.objective import Objective
from autocompress.distill.training import compute_again
from autocompress.errors import CandidateError, SpecError
from autocompress.exported.forms import form_problems
from autocompress.importance import no_preference
from autocompress.operators.keep_tokens import fewest_in, keeps_in
from autocompress.study.preflight import misfits
from tests.conftest import build_model
from tests.model.padded import logits, texts

HALF, FOUR, ALL = KeptTokens(percent=50), KeptTokens(count=4), KeptTokens(count=64)
LENGTHS = (1, 2, 3, 17, 64)


def keeps(*kept: KeptTokens | None, family: str = "bert", steps: tuple[Step, ...] = ()) -> Anatomy:
    """A model of three layers, of which the first ones keep so many tokens."""
    found = anatomy_of(build_model(family))
    operators.apply(CompressionPolicy(steps), found, no_preference(found.shape()))
    for index, one in enumerate(kept):
        if one is not None:
            found.keep_tokens(index, one)
    return found


def session_of(anatomy: Anatomy, lowering: Lowering = PLAIN) -> Session:
    return Session(write_graph(anatomy.weights(), lowering=lowering).SerializeToString())


# Which they are


def test_those_that_receive_most_attention_go_on_in_their_order_and_the_first_always_does() -> None:
    attention = torch.tensor([[0.0, 0.5, 0.1, 0.9, 0.7], [0.1, 0.2, 0.3, 0.0, 0.0]])
    there = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    places, real = most_attended(attention, there, KeptTokens(percent=60))
    assert real is not None
    assert places[0].tolist() == [0, 3, 4]
    assert real.tolist() == [[True] * 3, [True, True, False]]
    assert places[1, :2].tolist() == [0, 2], "two of three, by the text's own length"
    places, real = most_attended(attention, None, KeptTokens(count=9))
    assert (places.tolist(), real) == ([[0, 1, 2, 3, 4]] * 2, None)


def test_of_tokens_that_are_attended_alike_the_earlier_go_on_in_the_file_too() -> None:
    apart = torch.tensor([[1.0, 0.5, 0.5 + 1e-6, 0.5 - 1e-6, 0.5]])
    assert most_attended(apart, None, KeptTokens(count=3))[0].tolist() == [[0, 1, 2]]
    student = keeps(HALF)
    with torch.no_grad():
        for name, weight in student.model.named_parameters():
            if ".layer.0.attention.self.query." in name:
                weight.zero_()  # everything is attended to alike
    ids, mask = texts(33)
    session = session_of(student)
    assert np.abs(session.run(session.feed(ids.numpy(), mask.numpy())) - logits(student, ids, mask)).max() < 1e-4


def test_padding_gives_no_attention_and_gets_none() -> None:
    probabilities = torch.rand(2, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    there = torch.tensor([[True] * 5, [True] * 3 + [False] * 2])
    found = received(probabilities, there)
    assert torch.allclose(found[0], probabilities[0].sum((0, 1)))
    assert torch.allclose(found[1], probabilities[1, :, :3].sum((0, 1)))


@pytest.mark.parametrize(("length", "half", "four"), [(1, 1, 1), (2, 1, 2), (3, 2, 3), (9, 5, 4)])
def test_how_many_go_on_is_rounded_up_and_one_at_least(length: int, half: int, four: int) -> None:
    assert (HALF.of(length), FOUR.of(length)) == (half, four)


# What it computes


@pytest.mark.parametrize("family", ["bert", "distilbert"])
@pytest.mark.parametrize("kept", [(HALF,), (FOUR,), (None, HALF), (HALF, KeptTokens(percent=30)), (ALL, FOUR)], ids=str)
def test_a_file_answers_like_the_model_at_every_length_padded_and_not(
    family: str, kept: tuple[KeptTokens | None, ...]
) -> None:
    student = keeps(*kept, family=family)
    session = session_of(student)
    for length in LENGTHS:
        ids, mask = texts(length)
        expected = logits(student, ids, mask)
        assert np.abs(session.run(session.feed(ids.numpy(), mask.numpy())) - expected).max() < 1e-4
    assert np.abs(expected - logits(keeps(family=family), ids, mask)).max() > 1e-3, "it reads less"


def test_a_text_has_the_same_answer_in_every_batch() -> None:
    student = keeps(HALF, KeptTokens(percent=30))
    ids, mask = texts(40)
    together = logits(student, ids, mask)
    for row, real in enumerate(mask.sum(1).tolist()):
        alone = logits(student, ids[row : row + 1, :real], mask[row : row + 1, :real])
        assert np.abs(alone - together[row]).max() < 1e-5


def test_keeping_more_tokens_than_there_are_changes_no_bit() -> None:
    whole, student = keeps(), keeps(ALL, ALL)
    ids, mask = texts(50)
    assert np.array_equal(logits(student, ids, mask), logits(whole, ids, mask))
    full = torch.ones_like(mask)
    files = (session_of(whole), session_of(student))
    first, second = (one.run(one.feed(ids.numpy(), full.numpy())) for one in files)
    assert np.array_equal(first, second)


def test_where_attention_is_one_node_layers_behind_have_masks_of_what_is_left() -> None:
    student = keeps(HALF)
    session = session_of(student, Lowering(fp32=("attention_node",)))
    ids, mask = texts(33)
    found = session.run(session.feed(ids.numpy(), mask.numpy()))
    assert np.abs(found - logits(student, ids, mask)).max() < 1e-4


def test_products_behind_are_rounded_by_what_is_left() -> None:
    rounded = tuple(Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(3))
    student = keeps(HALF, None, steps=rounded)
    ids, mask = texts(40)
    together, session = logits(student, ids, mask), session_of(student)
    for row, real in enumerate(mask.sum(1).tolist()):
        alone = logits(student, ids[row : row + 1, :real], mask[row : row + 1, :real])
        assert np.abs(alone - together[row]).max() < 1e-3
        assert np.abs(session.predict([ids[row, :real].numpy()]) - alone).max() < 0.1


def test_copies_and_cut_models_keep_tokens_too() -> None:
    ids, mask = texts(33)
    student = keeps(HALF, FOUR)
    expected = logits(student, ids, mask)
    assert np.array_equal(logits(student.copy(), ids, mask), expected)
    assert student.copy().shape() == student.shape()
    with torch.inference_mode():
        sent = pickle.loads(pickle.dumps(student.model))
        assert np.array_equal(sent(input_ids=ids, attention_mask=mask).logits.numpy(), expected)
        copied = copy.deepcopy(student.model)
        assert np.array_equal(copied(input_ids=ids, attention_mask=mask).logits.numpy(), expected)
    student.keep_heads(0, [2])
    student.remove_block(1, "attention")
    session = session_of(student)
    assert np.abs(session.run(session.feed(ids.numpy(), mask.numpy())) - logits(student, ids, mask)).max() < 1e-4
    assert [part.mixing.keeps for part in student.shape().blocks() if part.mixing] == [HALF, None]


def test_gradients_reach_what_chose_and_what_is_left() -> None:
    model: Any = keeps(HALF).model
    ids, mask = texts(20)
    model.train()(input_ids=ids, attention_mask=mask).logits.sum().backward()
    layers = model.bert.encoder.layer
    for one in (layers[0].attention.self.query, layers[2].output.dense):
        assert one.weight.grad is not None
        assert one.weight.grad.abs().sum() > 0


# What is refused


def test_a_model_that_reads_every_token_loses_none() -> None:
    shape = keeps().shape()
    assert why_all_positions(shape) == ""
    assert "its head reads every token" in why_all_positions(replace(shape, read=None))
    assert "a modernbert loses no tokens on its way (allowed: bert," in why_all_positions(
        replace(shape, family="modernbert")
    )


def test_an_attention_without_a_map_ranks_no_tokens() -> None:
    student = keeps()
    student.take_form(0, AttentionForm("linear"))
    with pytest.raises(SpecError, match="the attention of layer 0 is linear, which has no map to rank tokens by"):
        student.keep_tokens(0, HALF)
    with pytest.raises(ValueError, match="tokens are kept by the map of full attention, and linear attention has none"):
        in_form(keeping(encoder_layer(0, 64, heads=4, head_size=16, channels=96)[0], HALF), AttentionForm("linear"))


@pytest.mark.parametrize(
    ("percent", "count", "problem"),
    [
        (0, 0, "said by one of `percent` and `count`, got percent 0, count 0"),
        (50, 8, "said by one of `percent` and `count`, got percent 50, count 8"),
        (100, 0, "`1 <= percent <= 99` or `count >= 1` must hold of tokens kept, got percent 100, count 0"),
        (0, -1, "`1 <= percent <= 99` or `count >= 1` must hold of tokens kept, got percent 0, count -1"),
    ],
)
def test_shares_and_counts_that_mean_nothing_are_refused(percent: int, count: int, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        KeptTokens(percent, count)


# What is said of it, and what it costs


def minilm(*kept: KeptTokens | None) -> ModelParts:
    layers = [encoder_layer(i, 384, heads=12, head_size=32, channels=1536) for i in range(len(kept))]
    cut = [tuple(keeping(part, one) for part in layer) for layer, one in zip(layers, kept, strict=True)]
    return encoder(384, cut, words=1000, head=(384, 2))


def test_they_are_stored_and_told_and_full_models_are_as_they_were() -> None:
    whole, student = keeps().shape(), keeps(HALF, KeptTokens(count=1)).shape()
    assert "keeps" not in str(parts_to_json(whole)), "studies of before say nothing of tokens"
    assert parts_from_json(parts_to_json(student)) == student
    assert "50 % of tokens kept behind layers.0, 1 token kept behind layers.1" in describe(student)


def test_layers_behind_compute_the_rows_that_are_left() -> None:
    one = Pass("layers", 128, 128, read=1)
    rows = [(part.name, at.targets, at.sources) for part, at in placed(minilm(HALF, FOUR, None), one)]
    assert rows == [
        ("embeddings", 128, 128),
        ("layers.0.attention", 128, 128),
        ("layers.0.feed_forward", 64, 64),
        ("layers.1.attention", 64, 64),
        ("layers.1.feed_forward", 4, 4),
        ("layers.2.attention", 1, 4),
        ("layers.2.feed_forward", 1, 4),
        ("head", 1, 4),
    ]
    saved = macs(minilm(None, None, None), [one]) - macs(minilm(HALF, None, None), [one])
    wide, mixed, projected = 2 * 384 * 1536, 2 * 384, 384 * 384
    of_second = 64 * (wide + 4 * projected) + (128**2 - 64**2) * mixed
    of_last = 64 * 2 * projected + 64 * mixed
    assert saved == 64 * wide + of_second + of_last
    assert activation_bytes(minilm(None, None), one) == activation_bytes(minilm(HALF, None), one)
    assert macs(minilm(None, HALF), [one]) == macs(minilm(None, None), [one]), "a last layer computes what is read"


def test_a_cost_model_counts_the_products_that_are_left() -> None:
    predict = RooflinePredictor(CostModel(1e-3, 1e9, spread=0.2, threads=1), Workload(1, 128, 1))
    one = Pass("layers", 128, 128, read=1)
    for kept in ((None, None, None), (HALF, FOUR, None), (None, FOUR, HALF), (ALL, None, None)):
        shape = minilm(*kept)
        inner = [(part.mixing, at) for part, at in placed(shape, one) if part.mixing and part.layer != 2]
        head = 384 * 384 + 384 * 2
        looked = sum(12 * at.sources**2 for mixing, at in inner if mixing.keeps is not None)
        assert predict(shape).value == pytest.approx((macs(shape, [one]) + looked - head) / 1e3)


def table(length: int, *, finds: float | None = None) -> KernelTable:
    """A block costs a hundredth of a millisecond a token, and finding those that are kept `finds` of one a token."""
    kinds = (("attention", 12), ("feed_forward", 1536), ("last_attention", 12), ("last_feed_forward", 1536))
    rows = [KernelRow("base", 32, 0, 1.0, 1.0, 1.0)]
    for block, most in kinds:
        ms = length / (1e4 if block.startswith("last") else 100)
        rows += [KernelRow(block, 32, size, ms, 0.0, 1e4) for size in (1, most)]  # type: ignore[arg-type]
    if finds is not None:
        ms = length / 100 + finds * length
        rows += [KernelRow("attention", 32, size, ms, 0.0, 1e4, keeps=True) for size in (1, 12)]
    return KernelTable(384, 32, Workload(1, length, 1), tuple(rows))


def test_layers_behind_are_predicted_from_the_tables_of_what_is_left(tmp_path: Path) -> None:
    tables = [table(length, finds=0.001) for length in (8, 64, 128)]
    predict = LatencyPredictor(tables[-1], tables)
    whole, cut = minilm(None, None, None), minilm(HALF, KeptTokens(percent=25), None)
    assert predict(whole).value == pytest.approx(1 + 4 * 1.28 + 2 * 0.0128)
    inner, finding = 1.28 + 0.64 + 0.64 + 0.16, 0.128 + 0.064
    assert predict(cut).value == pytest.approx(1 + inner + finding + 2 * 0.0016)
    assert predict(cut).spread > predict(whole).spread
    assert predict(minilm(None, None, HALF)).value == predict(whole).value, "a last layer computes what is read"
    device = DeviceProfile("near", 1, "measured", "", {}, Runtime("onnxruntime", "1"), "2026-01-01", tuple(tables))
    known = predictor_of(device, hidden=384, head_size=32, workload=Workload(1, 128, 1))
    assert known(cut).value == pytest.approx(predict(cut).value)
    (path := tmp_path / "near.yaml").write_text(config.dump_device(device))
    assert config.load_device(path).tables == device.tables


def test_a_time_that_was_not_measured_is_not_told() -> None:
    finding = "layers.0.attention: finding the most attended tokens of 12 heads was not measured (measured: nothing)"
    with pytest.raises(ValueError, match=re.escape(finding)):
        LatencyPredictor(table(128), [table(64)])(minilm(HALF, None))
    found = table(128, finds=0.001)
    behind = "layers.0.feed_forward on 4 tokens that are left of 128 was not measured (measured lengths: 64, 128); prof"
    with pytest.raises(ValueError, match=re.escape(behind)):
        LatencyPredictor(found, [table(64, finds=0.001)])(minilm(FOUR, None))


@pytest.mark.long
def test_finding_them_is_measured_where_it_is_asked_for() -> None:
    toy = bert_shape(hidden=32, heads=4, head_size=8, width=64, layers=2)
    load, effort = Workload(1, 8, 1), Effort((0.0, 0.5, 1.0), 2, 0.1, None, 1)
    (made,) = profile_host(toy, [load], effort=effort, keeps=True).tables
    found = [(row.block, row.bits, row.size) for row in made.rows if row.keeps]
    assert found == [("attention", 32, size) for size in (1, 2, 4)]
    assert [size for size, _ in made.curve("attention", 32)] == [1, 2, 4]
    cut = toy.with_part("layers.0.attention", lambda part: keeping(part, KeptTokens(count=8)))
    assert LatencyPredictor(made)(cut).value >= LatencyPredictor(made)(toy).value


# The operator


def space(*settings: dict[str, Any], **knobs: Any) -> SearchSpace:
    """Of a step for each of the settings, about every layer, or of one with these knobs."""
    told = [StepSpace("keep_tokens", "layers.*.attention", {}, one, name=str(at)) for at, one in enumerate(settings)]
    return SearchSpace("some", 1, tuple(told or [StepSpace("keep_tokens", "layers.*.attention", knobs)]))


def test_lengths_that_shares_lead_to_are_measured() -> None:
    padded = Workload(1, 128, 1)

    def lengths(asked: SearchSpace, *, layers: int = 6, load: Workload = padded) -> list[int]:
        found = loads_to_measure(load, fewest=lambda length: fewest_in(asked, layers, length))
        return [one.length for one in found]

    assert lengths(space(share=Choice((50, 100))), layers=3) == [32, 64, 128]
    assert lengths(space(share=Choice((75, 100))), layers=3) == [72, 128]
    assert lengths(space({"count": 20})) == [20, 32, 64, 128]
    assert lengths(space(share=Integer(25, 100, 25))) == [1, 4, 12, 39, 128], "five lengths at most"
    assert lengths(SearchSpace("none", 1, (StepSpace("remove_layer", "layers.*"),))) == [128]
    real = Workload(8, 128, 1, "real", (20, 30, 60))
    assert lengths(space({"share": 50}), layers=2, load=real) == [10, 20, 30, 60]
    assert keeps_in(space({"share": 50}))


def test_a_space_that_cannot_keep_tokens_is_refused_as_it_is_read() -> None:
    shape = keeps().shape()
    asked = space({"share": 50})
    assert operators.bound(asked, shape).steps[0].targets
    for model, problem in (
        (replace(shape, read=None), "keep_tokens: its head reads every token, so none may be lost on the way"),
        (replace(shape, family="modernbert"), "keep_tokens: a modernbert loses no tokens on its way"),
    ):
        with pytest.raises(ValueError, match=problem):
            operators.bound(asked, model)
    for settings, got in (({}, "none"), ({"share": 50, "count": 8}, "share and count")):
        with pytest.raises(ValueError, match=f"keep_tokens: how many tokens go on is said by one of .*, got {got}"):
            operators.bound(space(settings), shape)


def test_steps_that_fight_each_other_are_refused_with_the_reason() -> None:
    shape = keeps().shape()
    keep, other = (Step("keep_tokens", "layers.0.attention", {"share": one}) for one in (50, 25))
    form = Step("replace_attention", "layers.0.attention", {"form": "linear"})
    for steps, problem in (
        ((keep, other), "on layers.0.attention: it keeps 50 % of tokens already; let one step say how many"),
        ((form, keep), "keep_tokens on layers.0.attention: its attention is linear, which has no map to rank tokens"),
        ((keep, form), "replace_attention on layers.0.attention: it keeps 50 % of tokens by the map of full attention"),
    ):
        with pytest.raises(CandidateError, match=re.escape(problem)):
            operators.effective(CompressionPolicy(steps), shape)
    with pytest.raises(SpecError, match="its stream is narrowed by what every token says, and some go no further"):
        keeps(HALF).keep_hidden(range(32))


def test_the_shipped_space_is_refused_where_it_does_not_fit(tmp_path: Path) -> None:
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    settings = {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512, **sizes}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    known = load_study("quickstart", operators=operators.OPERATORS)
    asked = replace(known, space=load_space("bert-tokens", operators=operators.OPERATORS), device="host")
    assert misfits(asked, tmp_path) == []
    vectors = load_study("sentence-embeddings", operators=operators.OPERATORS)
    means = replace(vectors, space=asked.space, device="host")
    assert any("keep_tokens: its head reads every token" in one for one in misfits(means, tmp_path))
    inside = replace(asked.finalists, distillation=replace(asked.finalists.distillation, hidden=1.0))
    told = misfits(replace(asked, finalists=inside), tmp_path)
    assert any("keep_tokens, beside finalists.distillation.hidden: `attention`, `relations` and" in one for one in told)
    traced = replace(asked, export=replace(asked.export, form="traced"))
    assert any("a model that keeps some of its tokens is not traced" in one for one in form_problems(traced, settings))
    assert forms_of(keeps(HALF)) == ("written",)


# What looks inside of it


def test_calibration_sees_what_is_left_and_no_padding() -> None:
    student = keeps(HALF, KeptTokens(percent=30))
    ids, mask = texts(40)
    products = {
        f"{index}.{name}": Product(slot.module, first_token=False)
        for index in (1, 2)
        for name, slot in (
            ("output", student.layer(index).of_attention.output),
            ("up", student.layer(index).of_feed_forward.up),
        )
    }

    def seen(*batches: dict[str, Tensor]) -> dict[str, Tensor]:
        found: dict[str, list[Tensor]] = {}
        run(student.model, products, batches, {}, lambda name, values: found.setdefault(name, []).append(values))
        return {name: torch.cat(values) for name, values in found.items()}

    together = seen({"input_ids": ids, "attention_mask": mask})
    real = mask.sum(1).tolist()
    rows = [(slice(place, place + 1), slice(count)) for place, count in enumerate(real)]
    alone = seen(*({"input_ids": ids[row], "attention_mask": mask[row]} for row in rows))
    for name, values in together.items():
        assert torch.allclose(values, alone[name], atol=1e-5), name


def test_layers_computed_again_in_the_backward_pass_mask_as_they_did() -> None:
    ids, mask = texts(40)
    found = []
    for again in (False, True):
        model: Any = keeps(HALF, KeptTokens(percent=30)).model
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        if again:
            compute_again(model, longest=40, asked=True)
        model(input_ids=ids, attention_mask=mask).logits.square().sum().backward()
        found.append(model.bert.encoder.layer[1].attention.self.key.weight.grad)
    assert torch.allclose(found[0], found[1], atol=1e-6)


def test_layers_are_not_compared_with_a_teacher_that_reads_all() -> None:
    task: Any = None
    spec = DistillationSpec(relations=1.0)
    with pytest.raises(CandidateError, match="distillation: `attention`, `relations` and `hidden` compare what layers"):
        Objective.of(keeps(HALF), keeps(), torch.zeros(1, 3), spec, task=task)
