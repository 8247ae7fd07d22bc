"""Attention of other forms: what each computes, in torch and as a file, and what it costs."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autocompress import operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.attention_form import FORMS
from autocompress.anatomy.attention_form.performer import directions
from autocompress.anatomy.attention_form.sparse import PRIME, factors
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.config import load_space, load_study
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.cost import activation_bytes, macs
from autocompress.core.encoders import encoder, encoder_layer, in_form
from autocompress.core.parts import ModelParts, Pass
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.signature import signature
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.training_spec import FinalistSpec, TrainingSpec
from autocompress.core.wording import describe
from autocompress.deploy.forms import GraphMaker, forms_of
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill import CHECKPOINT, kept_weights
from autocompress.errors import CandidateError
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.importance import Importance, no_preference
from autocompress.operators.replace_attention import forms_in
from autocompress.report import explain_policy
from autocompress.study.preflight import misfits
from autocompress.tasks import TextClassification
from tests.conftest import build_model
from tests.model.padded import logits, texts

PERFORMER = AttentionForm("performer", features=64, seed=7)
SPARSE = AttentionForm("sparse", 16, 2, blocks=2, seed=3)
POOLED = AttentionForm("pooled", 16)
LENGTHS = (1, 3, 16, 17, 50, 64)
"""Shorter than a window, a window, and more, most of them no multiple of it."""


def local(layer: int, window: int = 16, count: int = 1, **more: Setting) -> Step:
    settings = {"form": "local", "window": window, "globals": count, **more}
    return Step("replace_attention", f"layers.{layer}.attention", settings)


def student_of(whole: Anatomy, *steps: Step) -> Anatomy:
    policy, shape = operators.effective(CompressionPolicy(steps), whole.shape())
    student = whole.copy()
    operators.apply(policy, student, no_preference(whole.shape()))
    assert student.shape() == shape
    return student


# What it computes


@pytest.mark.parametrize("window", [16, 32])
@pytest.mark.parametrize("count", [0, 1, 4])
def test_local_attention_is_that_of_a_mask_whatever_the_length(window: int, count: int) -> None:
    form = AttentionForm("local", window, count)
    for length in (1, 3, 16, 33, 129, 200):
        generator = torch.Generator().manual_seed(length)
        query, key, value = (torch.randn(2, 3, length, 8, generator=generator) for _ in range(3))
        there = torch.arange(length) < torch.tensor([[length], [max(1, length - 20)]])
        one, other = torch.arange(length)[:, None], torch.arange(length)[None]
        near = ((one - other).abs() <= window) | (one < count) | (other < count)
        seen = near & there[:, None, None]
        scores = (query @ key.transpose(2, 3)).masked_fill(~seen, -1e30)
        expected = scores.softmax(-1) @ value
        found = FORMS["local"](query, key, value, there, form, 0.0)
        assert torch.allclose(found[0], expected[0], atol=1e-5)
        real = int(there[1].sum())
        assert torch.allclose(found[1, :, :real], expected[1, :, :real], atol=1e-5), "behind a text's end nobody looks"
        assert torch.isfinite(found).all()


def test_sparse_attention_is_that_of_a_mask_of_blocks_drawn_for_each_text_by_its_own_length() -> None:
    form, width = SPARSE, SPARSE.window
    drawn = factors(form.blocks, form.seed)
    for length in (1, 16, 33, 130, 200):
        generator = torch.Generator().manual_seed(length)
        query, key, value = (torch.randn(2, 3, length, 8, generator=generator) for _ in range(3))
        lengths = (length, max(1, length - 40))
        there = torch.arange(length) < torch.tensor(lengths)[:, None]
        found = FORMS["sparse"](query, key, value, there, form, 0.0)
        for text, real in enumerate(lengths):
            own = -(-real // width)
            seen = torch.zeros(real, real, dtype=torch.bool)
            for place in range(real):
                block = place // width
                near = {block - 1, block, block + 1}
                near |= {(int(a) * (block + 1) + int(b)) % PRIME % own for a, b in drawn.T}
                seen[place] = torch.tensor([other // width in near for other in range(real)])
            seen[: form.globals], seen[:, : form.globals] = True, True
            scores = (query[text, :, :real] @ key[text, :, :real].transpose(1, 2)).masked_fill(~seen, -1e30)
            assert torch.allclose(found[text, :, :real], scores.softmax(-1) @ value[text, :, :real], atol=1e-5)
        assert torch.isfinite(found).all()
        alone = FORMS["sparse"](*(one[1:, :, : lengths[1]] for one in (query, key, value)), None, form, 0.0)
        assert torch.allclose(found[1, :, : lengths[1]], alone[0], atol=1e-5), "whatever it is padded to"


def test_pooled_attention_is_that_of_keys_and_values_which_are_their_blocks_means() -> None:
    for length in (1, 16, 33, 130):
        generator = torch.Generator().manual_seed(length)
        query, key, value = (torch.randn(2, 3, length, 8, generator=generator) for _ in range(3))
        lengths = (length, max(1, length - 20))
        there = torch.arange(length) < torch.tensor(lengths)[:, None]
        found = FORMS["pooled"](query, key, value, there, POOLED, 0.0)
        for text, real in enumerate(lengths):
            keys, values = key[text, :, :real].clone(), value[text, :, :real].clone()
            for first in range(0, real, POOLED.window):
                block = slice(first, first + POOLED.window)
                keys[:, block], values[:, block] = (one[:, block].mean(1, keepdim=True) for one in (keys, values))
            expected = (query[text] @ keys.transpose(1, 2)).softmax(-1) @ values
            assert torch.allclose(found[text], expected, atol=1e-5)


def test_linear_attention_is_that_of_products_of_features() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 40, 8, generator=generator) for _ in range(3))
    there = torch.arange(40) < torch.tensor([[40], [25]])
    weights = (nn.functional.elu(query) + 1) @ (nn.functional.elu(key) + 1).transpose(2, 3) * there[:, None, None]
    expected = weights / weights.sum(-1, keepdim=True) @ value
    found = FORMS["linear"](query, key, value, there, AttentionForm("linear"), 0.0)
    assert torch.allclose(found, expected, atol=1e-5)


def test_a_performer_comes_near_the_softmax_with_as_many_features_as_it_takes() -> None:
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 40, 16, generator=generator) / 2 for _ in range(3))
    there = torch.arange(40) < torch.tensor([[40], [25]])
    scores = (query / 4 @ key.transpose(2, 3)).masked_fill(~there[:, None, None], -1e30)
    expected, apart = scores.softmax(-1) @ value, []
    for features in (32, 256, 4096):
        form = AttentionForm("performer", features=features)
        found = FORMS["performer"](query / 4, key, value, there, form, 0.0)
        apart.append(float((found - expected).square().mean() / expected.square().mean()))
    assert apart[0] > apart[1] > apart[2]
    assert apart[2] < 0.02


def test_what_a_performer_draws_follows_from_its_seed_and_is_orthogonal_in_groups() -> None:
    drawn = directions(40, 16, 3)
    assert np.array_equal(drawn, directions.__wrapped__(40, 16, 3))
    assert not np.array_equal(drawn, directions(40, 16, 4))
    for first, count in ((0, 16), (16, 16), (32, 8)):
        group = drawn[first : first + count]
        assert np.abs(group @ group.T - np.diag((group**2).sum(1))).max() < 1e-4


OTHERS: list[dict[str, Setting]] = [
    {"form": "local", "window": 16, "globals": 0},
    {"form": "local", "window": 16, "globals": 1},
    {"form": "local", "window": 32, "globals": 4},
    {"form": "sparse", "window": 16, "globals": 2, "blocks": 2, "seed": 3},
    {"form": "pooled", "window": 16},
    {"form": "linear"},
    {"form": "performer", "features": 32, "seed": 5},
]


@pytest.mark.parametrize("settings", OTHERS, ids=lambda settings: "-".join(map(str, settings.values())))
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_file_answers_like_the_model_at_every_length_padded_and_not(
    family: str, settings: dict[str, Setting]
) -> None:
    whole = anatomy_of(build_model(family))
    student = student_of(
        whole, *(Step("replace_attention", f"layers.{layer}.attention", settings) for layer in range(3))
    )
    session = Session(write_graph(student.weights()).SerializeToString())
    for length in LENGTHS:
        ids, mask = texts(length)
        expected = logits(student, ids, mask)
        assert np.abs(session.run(session.feed(ids.numpy(), mask.numpy())) - expected).max() < 1e-4
    assert np.abs(expected - logits(whole, ids, mask)).max() > 1e-3, "it sees less"


def test_products_are_rounded_as_those_of_full_attention_are() -> None:
    whole = anatomy_of(build_model("bert"))
    rounded = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(3)]
    student = student_of(whole, *(local(layer) for layer in range(3)), *rounded)
    session = Session(write_graph(student.weights()).SerializeToString())
    apart = []
    for length in LENGTHS:
        ids, mask = texts(length)[0][:1], torch.ones(1, length, dtype=torch.int64)
        apart.append(np.abs(session.predict([ids[0].numpy()]) - logits(student, ids, mask)).max())
    assert np.median(apart) < 1e-4, "but for a number that lay between two steps"
    assert max(apart) < 0.1


def test_heads_that_are_left_and_heads_in_two_factors_take_a_form_too() -> None:
    cut = [Step("prune_heads", "layers.0.attention", {"heads": 2}), Step("low_rank", "layers.1", {"rank": 0.3})]
    student = student_of(anatomy_of(build_model("bert")), *cut, local(0), local(1, 16, 0))
    session = Session(write_graph(student.weights()).SerializeToString())
    ids, mask = texts(50)
    assert np.abs(session.run(session.feed(ids.numpy(), mask.numpy())) - logits(student, ids, mask)).max() < 1e-4
    assert np.array_equal(logits(student.copy(), ids, mask), logits(student, ids, mask))


@pytest.mark.long
def test_a_trace_answers_like_the_model_too() -> None:
    whole = anatomy_of(build_model("bert"))
    student = student_of(whole, *(Step("remove_layer", f"layers.{layer}") for layer in (1, 2)), local(0, 16, 0))
    assert forms_of(student) == ("written",)
    session = Session(GraphMaker("traced").graph(student).SerializeToString())
    for length in LENGTHS:
        ids, mask = texts(length)
        found = session.run(session.feed(ids.numpy(), mask.numpy()))
        assert np.abs(found - logits(student, ids, mask)).max() < 1e-4


def test_finalists_learn_in_their_form_and_keep_it(small_task: TextClassification, tmp_path: Path) -> None:
    model = build_model("bert")
    setup = Setup.of(model, Importance({}, {}), small_task, precision="fp32")
    spec = FinalistSpec(training=TrainingSpec(epochs=1, batch_size=16, learning_rate=1e-3, precision="fp32"))
    policy, shape = operators.effective(CompressionPolicy((local(0), local(1, 16, 0))), anatomy_of(model).shape())
    Recovery(setup, Lessons.of(setup, spec.transfer, seed=0), spec, seed=0)(policy, folder=tmp_path)
    weights, _ = kept_weights(tmp_path / CHECKPOINT)
    deployed = deployed_student(setup, policy, weights)
    assert deployed.shape() == shape
    name = "bert.encoder.layer.0.attention.self.query.weight"
    assert not torch.equal(weights[name], model.state_dict()[name])


# What is said of it


def test_a_form_is_stored_and_told_and_full_attention_is_as_it_was() -> None:
    whole = anatomy_of(build_model("bert")).shape()
    assert "form" not in str(parts_to_json(whole)), "studies of before say nothing of forms"
    policy = CompressionPolicy((local(0, 32, 2), local(1, 16, 0)))
    _, shape = operators.effective(policy, whole)
    assert parts_from_json(parts_to_json(shape)) == shape
    told = "attention local, window 16 in 1 of 3 layers; local, window 32, 2 globals in 1 of 3 layers"
    assert told in describe(shape)
    assert told in explain_policy(policy, whole).summary
    assert describe(whole) == describe(parts_from_json(parts_to_json(whole)) or shape)


@pytest.mark.parametrize(
    "form", [FULL_ATTENTION, AttentionForm("local", 64, 1), SPARSE, POOLED, AttentionForm("linear"), PERFORMER]
)
def test_a_form_is_read_as_it_is_written(form: AttentionForm) -> None:
    assert AttentionForm.of(str(form)) == form


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("dense", "`form` 'dense' is not known"),
        ("local", "`window >= 1`, `globals >= 0` must hold of local attention, got window 0, globals 0"),
        ("full, window 16", "`window` belongs to local and sparse and pooled attention, not to full"),
        ("performer", "`features >= 1`, `seed >= 0` must hold of performer attention, got features 0, seed 0"),
        ("linear, 8 features of seed 1", "`features` belongs to performer attention, not to linear"),
        ("sparse, window 16 and 2 blocks of seed 1", "`globals >= 1`, `blocks >= 1`, `seed >= 0` must hold of sparse"),
        ("pooled, window 16, 2 globals", "`globals` belongs to local and sparse attention, not to pooled"),
    ],
)
def test_a_form_that_there_is_not_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        AttentionForm.of(text)


def test_settings_that_mean_nothing_make_no_other_policy() -> None:
    whole = anatomy_of(build_model("bert")).shape()
    given = [
        CompressionPolicy((Step("replace_attention", "layers.0.attention", {"form": "full", "window": window}),))
        for window in (16, 64)
    ]
    assert {operators.effective(one, whole)[0].digest for one in given} == {CompressionPolicy(()).digest}


def test_a_layer_has_one_form() -> None:
    with pytest.raises(CandidateError, match="its attention is local, window 16, 1 global already; let one"):
        operators.effective(CompressionPolicy((local(0), local(0, 32))), anatomy_of(build_model("bert")).shape())


# What it costs


def minilm(form: AttentionForm, depth: int = 2) -> ModelParts:
    layers = (encoder_layer(i, 384, heads=12, head_size=32, channels=1536) for i in range(depth))
    return encoder(384, [tuple(in_form(part, form) for part in layer) for layer in layers], words=1000, head=(384, 2))


def test_work_and_memory_grow_with_the_length_and_not_its_square() -> None:
    form, one = AttentionForm("local", 64, 1), Pass("layers", 2048, 2048, read=None)
    between = 12 * 32 * 2 * (2048 * (3 * 64 + 1) + 2048)
    assert macs(minilm(FULL_ATTENTION), [one]) - macs(minilm(form), [one]) == 2 * (12 * 32 * 2 * 2048**2 - between)
    longer = replace(one, sources=4096, targets=4096)
    assert activation_bytes(minilm(form), longer) < 2.01 * activation_bytes(minilm(form), one)
    assert activation_bytes(minilm(FULL_ATTENTION), longer) > 3.5 * activation_bytes(minilm(FULL_ATTENTION), one)
    first = replace(one, read=1)
    assert macs(minilm(form, 1), [first]) == macs(minilm(FULL_ATTENTION, 1), [first]), "the first position sees all"
    apart = AttentionForm("local", 64, 0)
    assert macs(minilm(apart, 1), [first]) < macs(minilm(form, 1), [first])


def test_sums_over_positions_cost_as_much_for_each() -> None:
    one = Pass("layers", 2048, 2048, read=None)
    rest = macs(minilm(FULL_ATTENTION), [one]) - 2 * 12 * 2 * 32 * 2048**2
    assert macs(minilm(AttentionForm("linear")), [one]) - rest == 2 * 12 * 2 * 2048 * 32 * 33
    assert macs(minilm(PERFORMER), [one]) - rest == 2 * 12 * 2 * 2048 * (32 * 64 + 64 * 33)
    assert activation_bytes(minilm(PERFORMER), one) < activation_bytes(minilm(FULL_ATTENTION), one) / 5


def test_means_and_drawn_blocks_cost_what_is_compared_with_them() -> None:
    one = Pass("layers", 2048, 2048, read=None)
    rest = macs(minilm(FULL_ATTENTION), [one]) - 2 * 12 * 2 * 32 * 2048**2
    assert macs(minilm(POOLED), [one]) - rest == 2 * 12 * 2 * 32 * (2048 + 2048 * 128)
    assert macs(minilm(SPARSE), [one]) - rest == 2 * 12 * 2 * 32 * (2048 * (5 * 16 + 2) + 2 * 2048)
    for form in (POOLED, SPARSE):
        assert activation_bytes(minilm(form), one) < activation_bytes(minilm(FULL_ATTENTION), one) / 3


def test_a_sparse_form_has_a_global_position() -> None:
    whole = anatomy_of(build_model("bert")).shape()
    step = Step("replace_attention", "layers.0.attention", {"form": "sparse", "window": 16, "globals": 0})
    _, shape = operators.effective(CompressionPolicy((step,)), whole)
    mixing = shape["layers.0.attention"].mixing
    assert mixing is not None
    assert str(mixing.form) == "sparse, window 16, 1 global and 2 blocks of seed 0"


def test_which_features_were_drawn_takes_no_time() -> None:
    part = minilm(PERFORMER)["layers.0.attention"]
    assert signature(part) == signature(minilm(PERFORMER.timed)["layers.0.attention"])


def test_rows_of_one_form_tell_nothing_of_another() -> None:
    form = AttentionForm("local", 64, 1)
    part = minilm(form)["layers.0.attention"]
    assert signature(part)[0].form == form
    assert signature(part, few=True)[0] == signature(minilm(FULL_ATTENTION)["layers.0.attention"], few=True)[0]


@pytest.mark.parametrize(
    ("family", "length", "problem"),
    [
        (
            "mpnet",
            512,
            "does not fit the model: replace_attention: the attention of a mpnet has no other form",
        ),
        ("deberta-v2", 512, "replace_attention: the attention of a deberta-v2 has no other form (allowed: bert, "),
        ("bert", 32, "replace_attention: a window of 32 sees all of at most 32 tokens, which is full attention, and"),
    ],
)
def test_a_space_of_forms_that_do_nothing_is_refused(family: str, length: int, problem: str, tmp_path: Path) -> None:
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    settings = {"model_type": family, "vocab_size": 30522, "max_position_embeddings": 512, **sizes}
    (tmp_path / "config.json").write_text(json.dumps(settings))
    known = load_study("quickstart", operators=operators.OPERATORS)
    space = load_space("bert-attention-forms", operators=operators.OPERATORS)
    task, load = replace(known.task, max_length=length), replace(known.workload, length=length)
    asked = replace(known, space=space, task=task, workload=load)
    assert any(problem in one for one in misfits(asked, tmp_path))
    assert not forms_in(known.space)
    assert [str(one) for one in forms_in(space)] == [f"local, window {size}, 1 global" for size in (128, 32, 64)]
