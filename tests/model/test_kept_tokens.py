"""Tokens that go on behind a layer: which they are, in torch and as a file, and what they cost."""

from __future__ import annotations

import copy
import pickle
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from autocompress import operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.kept_tokens import most_attended, received
from autocompress.core.attention_form import AttentionForm
from autocompress.core.cost import activation_bytes, macs, placed
from autocompress.core.device import CostModel
from autocompress.core.encoders import encoder, encoder_layer, in_form, keeping
from autocompress.core.kept_tokens import KeptTokens, why_all_positions
from autocompress.core.lowering import PLAIN, Lowering
from autocompress.core.parts import ModelParts, Pass
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.prediction import RooflinePredictor
from autocompress.core.signature import signature
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.wording import describe
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.errors import SpecError
from autocompress.importance import no_preference
from tests.conftest import build_model

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


def texts(length: int) -> tuple[Tensor, Tensor]:
    """Three, of which two are padded."""
    ids = torch.randint(5, 90, (3, length), generator=torch.Generator().manual_seed(length))
    mask = torch.ones_like(ids)
    mask[1, (length + 1) // 2 :] = 0
    mask[2, 1:] = 0
    return ids, mask


def logits(anatomy: Anatomy, ids: Tensor, mask: Tensor) -> NDArray[np.float32]:
    with torch.inference_mode():
        found: NDArray[np.float32] = anatomy.model(input_ids=ids, attention_mask=mask).logits.numpy()
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


def test_a_time_that_was_not_measured_is_not_told() -> None:
    with pytest.raises(ValueError, match=re.escape("an attention that keeps 50 % of tokens was not measured")):
        signature(minilm(HALF, None)["layers.0.attention"])
    device = CostModel(gmacs_fp32=50.0, gbytes_per_second=10.0, spread=0.2, threads=1)
    predict = RooflinePredictor(device, Workload(1, 128, 1))
    assert predict(minilm(None, None)).value > 0
    with pytest.raises(ValueError, match=re.escape("layers.0.attention: an attention that keeps 50 % of tokens was")):
        predict(minilm(HALF, None))
