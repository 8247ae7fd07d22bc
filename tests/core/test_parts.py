"""The algebra of parts: what is counted today for encoders, exactly, and what a decoder's passes cost."""

import random
from dataclasses import replace

import pytest

from autocompress.core import cost, shape
from autocompress.core.parts import Matrix, Mixing, ModelParts, Part, Pass, Storage, Table
from autocompress.core.shape import AttentionShape, FeedForwardShape, LayerShape, ModelShape


def storage(block: AttentionShape | FeedForwardShape) -> Storage:
    return Storage(block.bits, block.activations, block.calibration, block.smoothing)


def parts_of(model: ModelShape) -> ModelParts:
    """A shape of today as parts."""
    hidden, norm = model.hidden, 2 * model.hidden
    tables = (
        Table("words", model.word_rows, hidden, Storage(model.embedding_bits)),
        Table("others", model.other_rows, hidden),
    )
    found = [Part("embeddings", "embedding", vectors=norm, tables=tables)]
    for layer in model.layers:
        attention, name = layer.attention, f"layers.{layer.index}"
        inner, held = attention.heads * attention.head_size, storage(attention)
        matrices = (
            Matrix("query", hidden, inner, storage=held),
            Matrix("key", hidden, inner, at="sources", storage=held),
            Matrix("value", hidden, inner, at="sources", storage=held),
            Matrix("output", inner, hidden, storage=held),
        )
        mixing = Mixing(attention.heads, attention.head_size, attention.heads)
        where = {"stack": "layers", "layer": layer.index, "vectors": norm}
        found.append(Part(f"{name}.attention", "attention", matrices, mixing=mixing, **where))  # type: ignore[arg-type]
        width, held = layer.feed_forward.width, storage(layer.feed_forward)
        both = (Matrix("up", hidden, width, storage=held), Matrix("down", width, hidden, storage=held))
        found.append(Part(f"{name}.feed_forward", "feed_forward", both, **where))  # type: ignore[arg-type]
    widths = (hidden, *model.head_widths)
    dense = tuple(Matrix(f"dense.{i}", a, b) for i, (a, b) in enumerate(zip(widths, widths[1:], strict=False)))
    return ModelParts(model.family, hidden, (*found, Part("head", "head", dense, stack="layers")))


def random_shape(draw: random.Random) -> ModelShape:
    head_size = draw.choice((16, 32, 64))
    layers = tuple(
        LayerShape(
            index,
            AttentionShape(draw.randint(1, 12), head_size, draw.choice((4, 8, 32))),
            FeedForwardShape(draw.randint(1, 3072), draw.choice((4, 8, 32))),
        )
        for index in sorted(draw.sample(range(12), draw.randint(1, 12)))
    )
    return ModelShape(
        "bert",
        head_size * draw.randint(1, 12),
        word_rows=draw.randint(100, 50_000),
        other_rows=draw.randint(2, 514),
        lookups=3,
        layers=layers,
        head_widths=(*draw.choice(((), (384,))), draw.randint(2, 150)),
        embedding_bits=draw.choice((4, 8, 32)),
    )


def test_five_hundred_random_encoders_cost_what_they_do_today() -> None:
    draw = random.Random(0)
    for _ in range(500):
        today = random_shape(draw)
        model = parts_of(today)
        batch, length = draw.randint(1, 32), draw.randint(1, 512)
        every = Pass("layers", sources=length, targets=length, batch=batch)
        assert cost.parameters(model) == shape.parameters(today)
        for tables in (True, False):
            assert cost.weight_bytes(model, tables=tables) == shape.weight_bytes(today, embeddings=tables)
        head = batch * (length - 1) * sum(one.inputs * one.outputs for one in model["head"].matrices)
        for every_token in (True, False):
            one = every if every_token else replace(every, read=1)
            counted = shape.macs_by_bits(today, batch=batch, length=length, every_token=every_token)
            counted[32] += head if every_token else 0  # today's heads read one token, whatever else is computed
            assert cost.macs_by_arithmetic(model, [one]) == counted
        assert cost.activation_bytes(model, every) == shape.activation_bytes(today, batch=batch, length=length)


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
    model = parts_of(random_shape(random.Random(3)))
    first = next(part for part in model.parts if part.kind == "attention")
    assert first.signature == replace(first, name="other", layer=11).signature
    assert first.signature != first.with_storage(Storage(8 if first.matrices[0].storage.bits == 32 else 32)).signature
    smoothed = replace(first.matrices[0].storage, smoothing=0.5)
    assert first.with_storage(smoothed).signature == first.with_storage(replace(smoothed, smoothing=0.7)).signature


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
