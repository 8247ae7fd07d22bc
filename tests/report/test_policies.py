"""Policies in words."""

from __future__ import annotations

import json

from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.core.stored_parts import parts_from_json, parts_to_json
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
    policy = CompressionPolicy((Step("low_rank", "layers.0", {"rank": 8}),))
    assert explain_policy(policy, given.SHAPE).summary == "low_rank"


def test_a_shape_survives_being_stored() -> None:
    stored = json.loads(json.dumps(parts_to_json(given.SHAPE)))
    assert parts_from_json(stored) == given.SHAPE
    assert parts_from_json(None) is None
    assert parts_from_json({"layers": "?"}) is None
    assert parts_from_json({**stored, "parts": [{"name": "x", "kind": "y", "wheels": 4}]}) is None
