from collections.abc import Callable

import numpy as np
import pytest
import torch

from autocompress.anatomy import Anatomy
from autocompress.importance import CRITERIA, attention_maps, measure_importance, no_preference
from autocompress.tasks import Examples, batches


def test_a_head_that_is_never_listened_to_matters_least(bert: Anatomy, make_examples: Callable[..., Examples]) -> None:
    with torch.no_grad():
        bert.layer(1).output.linear.weight[:, 32:48] = 0.0  # head 2 of layer 1
        bert.layer(1).down.linear.weight[:, 7] = 0.0
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
        assert layer.shape == (6, 4, batch.input_ids.shape[1], batch.input_ids.shape[1])
        assert torch.allclose(layer.sum(-1), torch.ones(()), atol=1e-5), "rows are probabilities"
        assert layer.std() > 0, "and not all the same"


def test_a_head_that_looks_at_one_token_is_more_confident_than_one_that_looks_everywhere(
    bert: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    with torch.no_grad():
        bert.layer(0).query.linear.weight[:16] *= 30  # head 0: sharp
        bert.layer(0).query.linear.weight[16:32] = 0  # head 1: uniform
        bert.layer(0).query.linear.bias[16:32] = 0
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
