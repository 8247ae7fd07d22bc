"""The algebra of parts: what is counted today for encoders, exactly, and what a decoder's passes cost."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from autocompress.core import cost
from autocompress.core.device import Block, KernelRow, KernelTable
from autocompress.core.encoders import attention, encoder, feed_forward
from autocompress.core.parts import Matrix, Mixing, ModelParts, Part, Pass, Table
from autocompress.core.prediction import LatencyPredictor
from autocompress.core.signature import signature
from autocompress.core.storage import Storage
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.wording import describe
from autocompress.core.workload import Workload

STORED = [json.loads(line) for line in (Path(__file__).parent / "stored_shapes.jsonl").read_text("utf-8").splitlines()]
"""Encoders as studies stored them until November 2026, as sizes of layers, and what was counted of them then."""


@pytest.mark.parametrize("known", STORED, ids=map(str, range(len(STORED))))
def test_an_encoder_that_was_stored_as_layers_costs_what_it_did(known: dict[str, Any]) -> None:
    model = parts_from_json(known["shape"])
    assert model is not None
    load = Workload(known["batch"], known["length"])
    assert cost.parameters(model) == known["parameters"]
    assert cost.weight_bytes(model) == known["bytes"]
    assert cost.weight_bytes(model, tables=False) == known["bytes_without_tables"]
    assert cost.weight_bytes(cost.unpacked(model)) == known["unpacked_bytes"]
    for name, whole in (("macs", False), ("macs_whole", True)):
        counted = cost.macs_by_arithmetic(model, cost.passes(model, load, whole=whole))
        assert {str(bits): count for bits, count in counted.items()} == known[name]
    (one,) = cost.passes(model, load)
    assert cost.activation_bytes(model, one) == known["activation_bytes"]
    assert describe(model) == known["described"]


@pytest.mark.parametrize("known", STORED[:5], ids=map(str, range(5)))
def test_parts_survive_being_stored(known: dict[str, Any]) -> None:
    model = parts_from_json(known["shape"])
    assert model is not None
    stored = json.dumps(parts_to_json(model))
    assert parts_from_json(json.loads(stored)) == model
    assert parts_from_json(json.loads(json.dumps(parts_to_json(decoder())))) == decoder()


def decoder() -> ModelParts:
    matrices = (
        Matrix("query", 8, 8, bias=False),
        Matrix("key", 8, 4, at="sources", bias=False),
        Matrix("value", 8, 4, at="sources", bias=False),
        Matrix("output", 8, 8, bias=False),
    )
    gated = (Matrix("gate", 8, 16), Matrix("up", 8, 16), Matrix("down", 16, 8))
    return ModelParts(
        "llama",
        8,
        (
            Part("embeddings", "embedding", tables=(Table("words", 50, 8),)),
            Part("layers.0.attention", "attention", matrices, mixing=Mixing(2, 4, 1), stack="layers", layer=0),
            Part("layers.0.feed_forward", "gated", gated, stack="layers", layer=0),
            Part("head", "head", (Matrix("dense", 8, 50, bias=False),), owner="embeddings", stack="layers"),
        ),
    )


def test_a_token_after_ninety_nine_computes_its_own_row_and_attends_to_all() -> None:
    step = Pass("layers", sources=100, cached=99, targets=1)
    weights = 8 * 8 + 2 * 8 * 4 + 8 * 8 + 3 * 8 * 16 + 8 * 50
    assert cost.macs(decoder(), [step]) == weights + 2 * (2 * 100 * 4)
    assert cost.macs(decoder(), [replace(step, times=3)]) == 3 * cost.macs(decoder(), [step])


def test_a_head_with_the_weights_of_a_table_has_none_of_its_own() -> None:
    assert cost.parameters(decoder()) == 50 * 8 + 8 * 8 + 2 * 8 * 4 + 8 * 8 + (2 * (8 * 16 + 16) + 16 * 8 + 8)


def test_keys_of_another_stack_are_computed_once() -> None:
    cross = tuple(replace(one, bias=False) for one in decoder()["layers.0.attention"].matrices)
    part = Part("layers.0.cross_attention", "cross_attention", cross, mixing=Mixing(2, 4, 1), stack="layers", layer=0)
    model = ModelParts("marian", 8, (part,))
    first = Pass("layers", sources=1, targets=1, memory=10)
    scores = 2 * (2 * 10 * 4)
    assert cost.macs(model, [first]) == 2 * 8 * 8 + 10 * 2 * 8 * 4 + scores
    assert cost.macs(model, [replace(first, sources=2, cached=1, memory_cached=10)]) == 2 * 8 * 8 + scores


def test_parts_of_one_signature_are_one_kernel() -> None:
    first = attention(0, 64, heads=4, head_size=16, storage=Storage(8))
    assert signature(first) == signature(replace(first, name="other", layer=11)) != signature(first, few=True)
    assert signature(first) != signature(first.with_storage(Storage(32)))
    assert signature(first) != signature(attention(0, 64, 4, 16, Storage(8), key_value_heads=2))
    smoothed = Storage(8, "static", "min-max", 0.5)
    assert signature(first.with_storage(smoothed)) == signature(first.with_storage(replace(smoothed, smoothing=0.7)))
    assert signature(first.with_storage(Storage(4))) == signature(first), "packed numbers are unpacked before"


def test_a_block_of_another_form_was_not_measured() -> None:
    first = attention(0, 64, heads=4, head_size=16)
    factors = (Matrix("up.0", 64, 8), Matrix("up.1", 8, 64), Matrix("down", 64, 64))
    with pytest.raises(ValueError, match="layers.0.feed_forward: a block of 3 products of its sizes was not measured"):
        signature(replace(feed_forward(0, 64, 64), matrices=factors))
    mixed = (replace(first.matrices[0], storage=Storage(8)), *first.matrices[1:])
    with pytest.raises(ValueError, match="layers.0.attention: its matrices are held in several ways"):
        signature(replace(first, matrices=mixed))


def row(block: Block, size: int, milliseconds: float, **form: Any) -> KernelRow:
    return KernelRow(block, 32, size, milliseconds, 0.0, 1e3, **form)


GATED = KernelTable(
    64,
    8,
    Workload(),
    (
        row("base", 0, 1.0),
        *(row("attention", 8, ms, **form) for ms, form in ((0.8, {}), (0.5, {"queries_per_key": 4}))),
        *(row("last_attention", 8, ms, **form) for ms, form in ((0.4, {}), (0.3, {"queries_per_key": 4}))),
        *(row("gated", size, size / 10) for size in (32, 64)),
        *(row("last_gated", size, size / 100) for size in (32, 64)),
        row("attention", 8, 0.2, width=32),
    ),
)


@pytest.mark.parametrize(("keys", "expected"), [(8, 0.8 + 0.4), (2, 0.5 + 0.3)])
def test_gated_blocks_and_shared_keys_are_rows_of_a_table_like_any(keys: int, expected: float) -> None:
    layers = [
        (attention(i, 64, 8, 8, key_value_heads=keys), feed_forward(i, 64, channels, gated=True))
        for i, channels in enumerate((64, 48))
    ]
    assert LatencyPredictor(GATED)(encoder(64, layers)).value == pytest.approx(1.0 + expected + 6.4 + 0.48)


def test_a_form_that_has_no_rows_is_never_priced_as_another() -> None:
    predict = LatencyPredictor(GATED)
    with pytest.raises(ValueError, match="2 queries a key was not measured .*; a study with `device: host` measures"):
        predict(encoder(64, [(attention(i, 64, 8, 8, key_value_heads=4),) for i in range(2)]))
    with pytest.raises(
        ValueError, match="feed_forward of size 64 in 32 bits was not measured .*`autocompress profile`"
    ):
        predict(encoder(64, [(feed_forward(i, 64, 64),) for i in range(2)]))
    with pytest.raises(ValueError, match="`rows` lack last_gated"):
        replace(GATED, rows=tuple(one for one in GATED.rows if one.block != "last_gated"))


def test_units_are_what_can_be_taken_away() -> None:
    assert decoder()["layers.0.attention"].units == {"heads": 2, "key_value_heads": 1}
    assert decoder()["layers.0.feed_forward"].units == {"channels": 16}
    assert decoder()["head"].units == {}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Matrix("up", 0, 4), "`inputs >= 1` must hold, got 0 of matrix 'up'"),
        (lambda: Mixing(4, 8, 3), "`key_value_heads` must divide `heads`, got 3 of 4"),
        (lambda: Pass("layers", sources=4, targets=0), "`targets >= 1` must hold, got 0"),
        (lambda: Pass("layers", sources=4, targets=4, read=5), "`read` must lie between 0 and 4, got 5"),
        (lambda: Pass("layers", sources=4, targets=1, cached=5), "`cached` must lie between 0 and 4, got 5"),
        (lambda: ModelParts("bert", 8, (Part("a", "head"), Part("a", "head"))), "names of their own, got a"),
        (lambda: ModelParts("bert", 8, (Part("a", "head", owner="b"),)), "a: its owner 'b' is no part of the model"),
    ],
)
def test_what_cannot_be_is_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_a_part_that_is_gone_cannot_be_found() -> None:
    model = decoder()
    assert "head" in model
    assert "head" not in model.without(frozenset({"head"}))
    with pytest.raises(KeyError):
        model.without(frozenset({"head"}))["head"]
    assert model.layers("layers") == (0,)
    assert model.with_part("head", lambda part: replace(part, vectors=7))["head"].vectors == 7
