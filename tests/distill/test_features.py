from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from autocompress.anatomy import Anatomy
from autocompress.distill import recorded
from autocompress.importance import attention_maps
from autocompress.tasks import Batch, Examples, batches


@pytest.fixture
def batch(make_examples: Callable[..., Examples]) -> Batch:
    found = batches(make_examples(6), 6)[0]
    assert (found.mask == 0).any(), "a batch without padding tests little"
    return found


@pytest.fixture
def pruned(anatomy: Anatomy) -> Anatomy:
    """Without its first layer; its second with 2 of 4 heads, its third with 1."""
    student = anatomy.copy()
    student.keep_layers([1, 2])
    student.keep_heads(1, [0, 3])
    student.keep_heads(2, [2])
    return student


def run(anatomy: Anatomy, batch: Batch) -> Tensor:
    logits: Tensor = anatomy.model(**batch.inputs).logits
    return logits


def test_scores_lead_to_the_maps_of_the_eager_implementation(anatomy: Anatomy, pruned: Anatomy, batch: Batch) -> None:
    for model in (anatomy, pruned):
        with torch.no_grad(), recorded(model) as features:
            run(model, batch)
        expected = attention_maps(model, batch)
        assert len(expected) == len(model.layers)
        for place, maps in enumerate(expected):
            hidden = batch.mask[:, None, None, :] == 0
            found = features.scores(place).masked_fill(hidden, float("-inf")).softmax(-1)
            assert torch.allclose(found, maps, atol=1e-5)


def test_states_are_those_that_the_model_itself_returns(anatomy: Anatomy, pruned: Anatomy, batch: Batch) -> None:
    for model in (anatomy, pruned):
        with torch.no_grad(), recorded(model) as features:
            states = model.model(**batch.inputs, output_hidden_states=True).hidden_states
        assert torch.equal(features.of("embeddings"), states[0])
        for place, _ in enumerate(model.layers):
            assert torch.equal(features.of("hidden", place), states[place + 1])


def test_shapes_follow_the_heads_that_are_left(pruned: Anatomy, batch: Batch) -> None:
    with recorded(pruned) as features:
        run(pruned, batch)
    texts, length = batch.inputs["input_ids"].shape
    assert features.scores(0).shape == (texts, 2, length, length)
    assert features.of("value", 1).shape == (texts, length, 16)


def test_gradients_flow_through_what_was_recorded(pruned: Anatomy, batch: Batch) -> None:
    with recorded(pruned) as features:
        run(pruned, batch)
    features.scores(1).sum().backward()  # type: ignore[no-untyped-call]
    weight = pruned.layers[1].of_attention.query.linear.weight
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0


def test_only_what_is_wanted_is_kept(anatomy: Anatomy, batch: Batch) -> None:
    with torch.no_grad(), recorded(anatomy, ("hidden",), layers=[2]) as features:
        run(anatomy, batch)
    assert features.of("hidden", 2).shape[-1] == 64
    for part, layer in (("hidden", 1), ("query", 2), ("embeddings", 0)):
        with pytest.raises(KeyError):
            features.of(part, layer)  # type: ignore[arg-type]


def test_nothing_stays_behind_in_the_model(anatomy: Anatomy, batch: Batch) -> None:
    before = run(anatomy, batch)
    with pytest.raises(RuntimeError, match="on purpose"), recorded(anatomy):
        raise RuntimeError("on purpose")
    hooks = [module for module in anatomy.model.modules() if isinstance(module, nn.Module) and module._forward_hooks]
    assert hooks == []
    assert torch.equal(run(anatomy, batch), before)
