import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import rankdata
from torch import Tensor
from transformers.models.bert.modeling_bert import BertSelfAttention

from autocompress.anatomy import Anatomy
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.errors import SpecError
from autocompress.importance import (
    CHANNEL_CRITERIA,
    CRITERIA,
    EVERYTHING,
    LAYER_CRITERIA,
    Importance,
    attention_maps,
    importance_from_json,
    measure_importance,
    no_preference,
)
from autocompress.operators import OPERATORS, apply
from autocompress.tasks import Batch, Examples, batches


def test_a_head_that_is_never_listened_to_matters_least(bert: Anatomy, make_examples: Callable[..., Examples]) -> None:
    with torch.no_grad():
        bert.layer(1).of_attention.output.linear.weight[:, 32:48] = 0.0  # head 2 of layer 1
        bert.layer(1).of_feed_forward.down.linear.weight[:, 7] = 0.0
    scores = measure_importance(bert, batches(make_examples(), 8), ["fisher", "taylor"])
    for criterion in ("fisher", "taylor"):
        assert scores.heads[criterion][1].argmin() == 2
        assert scores.heads[criterion][1][2] == 0.0
        assert scores.channels[criterion][1].argmin() == 7
        assert 2 not in scores.best_heads(criterion, 1, 3)


def test_attention_maps_are_really_read(anatomy: Anatomy, make_examples: Callable[..., Examples]) -> None:
    (batch,) = batches(make_examples(6), 6)
    maps = attention_maps(anatomy, batch)
    assert len(maps) == 3
    for layer in maps:
        assert layer.shape == (6, 4, batch.inputs["input_ids"].shape[1], batch.inputs["input_ids"].shape[1])
        assert torch.allclose(layer.sum(-1), torch.ones(()), atol=1e-5), "rows are probabilities"
        assert layer.std() > 0, "and not all the same"
        assert (layer[:, 0] - layer[:, 1]).abs().max() > 1e-3, "nor the same for every head"


class Fused(BertSelfAttention):
    """One that hands no maps out, whatever it is asked for."""

    def forward(self, *inputs: Any, **options: Any) -> Any:
        attended, _ = super().forward(*inputs, **options)
        return attended, None


def test_an_attention_that_yields_no_maps_is_refused_with_what_can_be_had_without(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    for layer in bert.layers:
        layer.of_attention.query.owner.__class__ = Fused
    data = batches(make_examples(6), 6)
    with pytest.raises(SpecError, match="this bert returns no maps.* choose `importance: fisher`, `taylor` or `magn"):
        attention_maps(bert, data[0])
    with pytest.raises(SpecError, match="confidence, distance, entropy, redundancy cannot be known"):
        measure_importance(bert, data, ["entropy"])
    assert set(measure_importance(bert, data, ["fisher", "taylor", "magnitude"]).heads) == {
        "fisher", "taylor", "magnitude",
    }  # fmt: skip


@pytest.mark.parametrize("criterion", CRITERIA)
def test_smaller_choices_are_part_of_larger_ones(criterion: str, importance: Importance) -> None:
    """So every sub-network is a prefix of the same order, and all share the weights that count most."""
    heads = [set(importance.best_heads(criterion, 1, count)) for count in range(1, 5)]
    assert all(small < large for small, large in itertools.pairwise(heads))
    if criterion in CHANNEL_CRITERIA:
        channels = [set(importance.best_channels(criterion, 1, count)) for count in range(8, 97, 8)]
        assert all(small < large for small, large in itertools.pairwise(channels))


def by_hand(anatomy: Anatomy, batch: Batch) -> list[Tensor]:
    """softmax(q k / sqrt(size)) from the outputs of every layer's query and key, whatever module computes them."""
    seen: dict[tuple[int, str], Tensor] = {}

    def keep(key: tuple[int, str]) -> Callable[..., None]:
        def hook(_: object, __: object, output: Tensor) -> None:
            seen[key] = output.detach()

        return hook

    handles = [
        slot.module.register_forward_hook(keep((layer.index, name)))
        for layer in anatomy.layers
        for name, slot in (("q", layer.of_attention.query), ("k", layer.of_attention.key))
    ]
    with torch.inference_mode():
        anatomy.model(**batch.inputs)
    for handle in handles:
        handle.remove()
    maps = []
    for layer in anatomy.layers:
        q, k = (seen[layer.index, n].unflatten(-1, (layer.of_attention.heads, -1)).transpose(1, 2) for n in ("q", "k"))
        scores = q @ k.transpose(-1, -2) / layer.of_attention.head_size**0.5
        maps.append(scores.masked_fill(batch.mask[:, None, None] == 0, -torch.inf).softmax(-1))
    return maps


def test_a_pruned_and_quantized_students_maps_are_what_it_really_computes(
    anatomy: Anatomy, importance: Importance, make_examples: Callable[..., Examples]
) -> None:
    (batch,) = batches(make_examples(6), 6)
    whole = attention_maps(anatomy, batch)
    policy = CompressionPolicy(
        (
            Step("remove_layer", "layers.1"),
            Step("prune_heads", "layers.2.attention", {"heads": 2, "importance": "combined"}),
            Step("quantize", "layers.0", {"bits": 8}),
            Step("quantize", "layers.2", {"bits": 8}),
        )
    )
    apply(policy, anatomy, importance)
    found = attention_maps(anatomy, batch)
    assert [maps.shape[1] for maps in found] == [4, 2]
    real = batch.mask.bool()
    for maps, expected in zip(found, by_hand(anatomy, batch), strict=True):
        assert torch.allclose(maps.sum(-1), torch.ones(()), atol=1e-5)
        assert (maps - expected).transpose(1, 2)[real].abs().max() < 1e-5
        assert (maps[:, 0] - maps[:, 1]).abs().max() > 1e-3, "heads differ"
    assert (found[0] - whole[0]).abs().max() > 1e-5, "int8 is seen in them"


@pytest.fixture
def measured(bert: Anatomy, make_examples: Callable[..., Examples]) -> tuple[Importance, list[Tensor], Tensor]:
    """Scores of padded texts under every criterion, their attention maps, and which tokens are real."""
    (batch,) = batches(make_examples(6), 6)
    assert not batch.mask.all(), "some are padded"
    return measure_importance(bert, [batch]), attention_maps(bert, batch), batch.mask.bool()


def test_distance_is_how_far_away_a_head_looks_and_near_is_more(
    measured: tuple[Importance, list[Tensor], Tensor],
) -> None:
    scores, maps, real = measured
    for layer, weights in enumerate(maps):
        for head in range(4):
            reached = [
                sum(float(weights[text, head, i, j]) * abs(i - j) for j in range(real.shape[1]))
                for text in range(len(real))
                for i in range(int(real[text].sum()))
            ]
            assert scores.heads["distance"][layer][head] == pytest.approx(-np.mean(reached), rel=1e-5)


def test_redundancy_is_the_divergence_from_the_most_similar_head(
    measured: tuple[Importance, list[Tensor], Tensor],
) -> None:
    scores, maps, real = measured
    for layer, weights in enumerate(maps):
        rows = weights.transpose(1, 2)[real].double().numpy()  # [tokens, heads, length]
        for head in range(4):
            apart = [
                np.mean([jensenshannon(row[head], row[other], base=2) ** 2 for row in rows])
                for other in range(4)
                if other != head
            ]
            assert scores.heads["redundancy"][layer][head] == pytest.approx(min(apart), rel=1e-3, abs=1e-6)


def test_a_head_and_its_twin_are_the_most_redundant(bert: Anatomy, make_examples: Callable[..., Examples]) -> None:
    with torch.no_grad():
        for slot in (bert.layer(1).of_attention.query, bert.layer(1).of_attention.key):
            slot.linear.weight[16:32] = slot.linear.weight[:16]
            slot.linear.bias[16:32] = slot.linear.bias[:16]
    scores = measure_importance(bert, batches(make_examples(), 8), ["redundancy"]).heads["redundancy"][1]
    assert scores[:2] == pytest.approx([0, 0], abs=1e-6)
    assert scores[2:].min() > 1e-3


def test_a_head_alone_in_its_layer_repeats_no_other(bert: Anatomy, make_examples: Callable[..., Examples]) -> None:
    bert.keep_heads(0, [3])
    scores = measure_importance(bert, batches(make_examples(), 8))
    assert scores.heads["redundancy"][0] == pytest.approx([1.0])
    assert scores.heads["combined"][0] == pytest.approx([0.0])


def test_residual_is_how_far_a_layer_turns_the_hidden_states_of_real_tokens(
    anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    (batch,) = batches(make_examples(6), 6)
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_: object, inputs: tuple[Tensor, ...], output: Any) -> None:
        seen.append((inputs[0].detach(), output[0].detach() if isinstance(output, tuple) else output.detach()))

    for layer in anatomy.layers:
        layer.module.register_forward_hook(keep)
    found = measure_importance(anatomy, [batch], ["residual"]).layers["residual"]
    assert len(seen) == 3
    for layer, (before, after) in enumerate(seen):
        turned = []
        for text, token in batch.mask.nonzero().tolist():
            a, b = before[text, token].double().numpy(), after[text, token].double().numpy()
            turned.append(1 - a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))
        assert found[layer] == pytest.approx(np.mean(turned), rel=1e-5)


def test_the_gradients_of_a_layer_are_those_of_its_parts(measured: tuple[Importance, list[Tensor], Tensor]) -> None:
    scores, _, _ = measured
    for name in ("fisher", "taylor"):
        for layer in range(3):
            parts = scores.heads[name][layer].sum() + scores.channels[name][layer].sum()
            assert scores.layers[name][layer] == pytest.approx(parts)


def test_combined_is_the_mean_rank_over_all_the_others(measured: tuple[Importance, list[Tensor], Tensor]) -> None:
    scores, _, _ = measured
    assert set(scores.heads) == set(CRITERIA)
    assert set(scores.channels) == set(CHANNEL_CRITERIA)
    assert set(scores.layers) == set(LAYER_CRITERIA)
    for layer in range(3):
        for table in (scores.heads, scores.channels):
            others = [name for name in table if name != "combined"]
            ranks = [(rankdata(table[name][layer]) - 1) / (len(table[name][layer]) - 1) for name in others]
            assert table["combined"][layer] == pytest.approx(np.mean(ranks, axis=0))
    others = [name for name in LAYER_CRITERIA if name != "combined"]
    ranks = [(rankdata([scores.layers[name][layer] for layer in range(3)]) - 1) / 2 for name in others]
    assert list(scores.layers["combined"].values()) == pytest.approx(np.mean(ranks, axis=0))


def test_what_is_known_is_not_measured_again_and_changes_nothing(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    data = batches(make_examples(), 8)
    known = measure_importance(bert, data, ["fisher", "confidence"])
    assert "redundancy" not in known.heads
    assert set(known.layers) == {"fisher", "taylor", "residual"}
    whole, fresh = measure_importance(bert, data, EVERYTHING, known=known), measure_importance(bert, data)
    for criterion in CRITERIA:
        for layer in range(3):
            assert np.array_equal(whole.heads[criterion][layer], fresh.heads[criterion][layer])
    assert whole.heads["fisher"] is known.heads["fisher"]


def test_scores_survive_being_stored(measured: tuple[Importance, list[Tensor], Tensor]) -> None:
    scores, _, _ = measured
    stored = importance_from_json(scores.to_json())
    for criterion in CRITERIA:
        for layer in range(3):
            assert stored.heads[criterion][layer] == pytest.approx(scores.heads[criterion][layer], rel=1e-3)
    assert stored.layers["residual"] == pytest.approx(scores.layers["residual"], rel=1e-3)


def test_operators_offer_every_criterion_of_their_part() -> None:
    assert OPERATORS["prune_heads"].rules["importance"].values == CRITERIA
    assert OPERATORS["prune_channels"].rules["importance"].values == CHANNEL_CRITERIA


def test_a_head_that_looks_at_one_token_is_more_confident_than_one_that_looks_everywhere(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    with torch.no_grad():
        bert.layer(0).of_attention.query.linear.weight[:16] *= 30  # head 0: sharp
        bert.layer(0).of_attention.query.linear.weight[16:32] = 0  # head 1: uniform
        bert.layer(0).of_attention.query.linear.bias[16:32] = 0
    scores = measure_importance(bert, batches(make_examples(), 8), ["confidence", "entropy"])
    for criterion in ("confidence", "entropy"):
        assert scores.heads[criterion][0].argmax() == 0
        assert scores.heads[criterion][0].argmin() == 1


def test_measuring_twice_gives_the_same_scores_and_leaves_the_model_alone(
    anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    before = {name: tensor.clone() for name, tensor in anatomy.model.state_dict().items()}
    data = batches(make_examples(), 8)
    first, second = measure_importance(anatomy, data), measure_importance(anatomy, data)
    for criterion in CRITERIA:
        for layer in range(3):
            assert np.array_equal(first.heads[criterion][layer], second.heads[criterion][layer])
    assert all(torch.equal(before[name], tensor) for name, tensor in anatomy.model.state_dict().items())


@pytest.mark.parametrize("criterion", CRITERIA)
def test_without_preference_the_first_units_are_kept(criterion: str, bert: Anatomy) -> None:
    assert no_preference(bert.shape()).best_heads(criterion, 2, 2) == [0, 1]
