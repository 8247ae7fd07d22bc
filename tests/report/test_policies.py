"""Policies in words."""

from __future__ import annotations

import json
from dataclasses import replace

from autocompress.core.encoders import in_rank
from autocompress.core.parts import Part
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.wording import describe
from autocompress.report import explain_policy

from . import given


def test_what_is_left_of_each_layer_is_told() -> None:
    steps = [
        Step("remove_layer", "layers.1"),
        Step("prune_heads", "layers.0.attention", {"heads": 6}),
        Step("prune_channels", "layers.2.feed_forward", {"channels": 768}),
        Step("quantize", "layers.0", {"bits": 8}),
    ]
    found = explain_policy(CompressionPolicy(tuple(steps)), given.SHAPE)
    assert found.summary == (
        "5 layers · heads 6,12,12,12,12 · ffn 1536,768,1536,1536,1536 · int8 in 2 of 10 blocks, embeddings fp32"
    )
    first, removed, third = found.layers[:3]
    assert (first.heads, first.heads_before, first.bits) == (6, 12, "int8")
    assert (removed.heads, removed.channels, removed.bits) == (None, None, "removed")
    assert (third.channels, third.channels_before) == (768, 1536)


def test_without_a_shape_the_steps_are_counted() -> None:
    assert explain_policy(given.policy(4, 12), None).summary == "remove_layer ×2 · quantize ×5"
    assert explain_policy(BASELINE, None).summary == "uncompressed"


def test_a_step_of_an_unknown_operator_is_counted_too() -> None:
    policy = CompressionPolicy((Step("merge_heads", "layers.0", {"groups": 8}),))
    assert explain_policy(policy, given.SHAPE).summary == "merge_heads"


def test_a_shape_survives_being_stored() -> None:
    stored = json.loads(json.dumps(parts_to_json(given.SHAPE)))
    assert parts_from_json(stored) == given.SHAPE
    assert parts_from_json(None) is None
    assert parts_from_json({"layers": "?"}) is None
    assert parts_from_json({**stored, "parts": [{"name": "x", "kind": "y", "wheels": 4}]}) is None


def test_ranks_are_told_where_matrices_are_two_factors() -> None:
    def ranked(part: Part) -> Part:
        return in_rank(part, 48 if part.kind == "attention" else 96)

    some = frozenset(part.name for part in given.SHAPE.blocks() if part.layer in (0, 1))
    shape = replace(given.SHAPE, parts=tuple(ranked(one) if one.name in some else one for one in given.SHAPE.parts))
    assert explain_policy(BASELINE, shape).summary.endswith("ffn 1536 · rank 48 to 96 in 4 of 12 blocks · fp32")
    assert "feed-forward 1536, rank 48 to 96 in 4 of 12 blocks, fp32" in describe(shape)
    assert "rank" not in describe(given.SHAPE)
