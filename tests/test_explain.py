"""Which heads a policy kept, told from the scores that its study used."""

from __future__ import annotations

import numpy as np
import pytest

from autocompress.core.policy import CompressionPolicy, Step
from autocompress.explain.explanation import _as_used, kept_heads, why_no_maps
from autocompress.importance import Importance
from tests.report.given import SHAPE

SCORES = np.arange(12.0)


def importance(scores: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Importance:
    return Importance({"fisher": dict.fromkeys(range(6), scores)}, {}, {})


def test_a_layer_keeps_its_best_heads_or_all_of_them_or_is_gone() -> None:
    policy = CompressionPolicy(
        (
            *(Step("remove_layer", f"layers.{layer}") for layer in (1, 2, 4)),
            Step("prune_heads", "layers.3.attention", {"heads": 2, "importance": "fisher"}),
        )
    )
    kept = kept_heads(policy, SHAPE, importance(SCORES))
    assert kept == {0: list(range(12)), 3: [10, 11], 5: list(range(12))}


def test_stored_scores_count_when_the_ones_measured_now_are_others() -> None:
    facts = {"importance": importance(SCORES).to_json()}
    same, others = importance(SCORES * 1.0001), importance(SCORES[::-1])
    assert _as_used(facts, same) == (same, [])
    assert _as_used({}, others) == (others, [])
    used, notes = _as_used(facts, others)
    assert used.best_heads("fisher", 0, 2) == [10, 11]
    assert "not those that the study stored" in notes[0]


@pytest.mark.parametrize(
    "step",
    [
        Step("keep_tokens", "layers.0.attention", {"share": 50}),
        Step("replace_attention", "layers.2.attention", {"form": "linear"}),
    ],
)
def test_maps_are_told_to_be_missing_where_a_member_has_none(step: Step) -> None:
    assert "no map of all tokens" in why_no_maps(CompressionPolicy((step,)), SHAPE)
    narrow = Step("prune_heads", "layers.0.attention", {"heads": 6, "importance": "fisher"})
    assert why_no_maps(CompressionPolicy((narrow,)), SHAPE) == ""
