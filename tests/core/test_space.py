import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress import operators
from autocompress.core.encoders import attention, encoder, encoder_layer
from autocompress.core.parts import Kind, ModelParts, Part, Table
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.core.space import Choice, Integer, Real, SearchSpace, Share, StepSpace
from autocompress.errors import CandidateError
from autocompress.operators import OPERATORS, effective
from autocompress.testing import draw

LAYERS = [encoder_layer(i, 384, heads=12, head_size=32, channels=1536) for i in range(3)]
SHAPE = encoder(384, LAYERS, words=1000, others=514, head=(384, 6))


def size_of(operator: str, target: str, knob: str) -> int | None:
    return OPERATORS[operator].size_of(SHAPE[target], knob) if target in SHAPE else None


def space(*steps: StepSpace) -> SearchSpace:
    return SearchSpace("test", 1, steps)


HEADS = StepSpace("prune_heads", "layers.*.attention", {"heads": Choice((Share(0.25), Share(1.0)))})


def test_shares_become_sizes_of_the_model() -> None:
    bound = space(HEADS).bind(SHAPE.names(), size_of)
    assert bound.knobs()["prune_heads/layers.2.attention/heads"] == Choice((3, 12))
    assert bound.size() == 2**3


def test_a_step_shared_by_all_targets_is_asked_once() -> None:
    bound = space(StepSpace("prune_heads", "layers.*.attention", HEADS.knobs, per="step")).bind(SHAPE.names(), size_of)
    assert list(bound.knobs()) == ["prune_heads/heads"]
    policy = bound.policy(lambda name, knob: 3)
    assert [step.settings["heads"] for step in policy.steps] == [3, 3, 3]


def test_an_optional_step_is_left_out_where_it_is_switched_off() -> None:
    bound = space(StepSpace("remove_layer", "layers.*", optional=True)).bind(SHAPE.names(), size_of)
    policy = bound.policy(lambda name, knob: "layers.1" in name)
    assert policy == CompressionPolicy((Step("remove_layer", "layers.1"),))


def test_a_conditional_step_stands_only_where_its_condition_holds() -> None:
    conditional = space(
        StepSpace("quantize", "embeddings", {"bits": Choice((8, 32))}, per="step"),
        StepSpace("quantize", "layers.*", settings={"bits": 8}, name="deep", when={"quantize.bits": (8,)}),
    ).bind(SHAPE.names(), size_of)
    assert len(conditional.policy(lambda name, knob: 8).steps) == 4
    assert len(conditional.policy(lambda name, knob: 32).steps) == 1


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (StepSpace("prune_heads", "layers.*.atention"), "fits no part of the model; did you mean 'layers...attention'"),
        (
            StepSpace("prune_heads", "layers.*.attention", {"heads": Choice((13,))}),
            r"13 is more than the model has \(12\)",
        ),
        (StepSpace("quantize", "embeddings", {"bits": Choice((Share(0.5),))}), "a share needs one size"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_by_name(step: StepSpace, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space(step).bind(SHAPE.names(), size_of)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Choice(()), "at least one value"),
        (lambda: Choice((1, 1)), "must be distinct"),
        (lambda: Integer(3, 2), "`low <= high` must hold"),
        (lambda: Integer(1, 2, 0), "`step >= 1` must hold"),
        (lambda: Real(1.0, float("inf")), "must be finite"),
        (lambda: Real(2.0, 1.0), "`low <= high` must hold"),
        (lambda: Real(0.0, 1.0, log=True), "needs `low > 0`"),
        (lambda: Share(1.5), "a share must lie in"),
        (lambda: space(), "at least one step"),
        (lambda: space(HEADS, HEADS), "distinct names"),
        (lambda: space(StepSpace("quantize", "embeddings", when={"nothing.bits": (8,)})), "is no knob asked once"),
    ],
)
def test_a_value_that_cannot_be_is_never_made(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_a_policy_is_its_steps_and_comes_back_from_json() -> None:
    policy = CompressionPolicy((Step("prune_heads", "layers.0.attention", {"heads": 3, "importance": "fisher"}),))
    again = CompressionPolicy.from_json(policy.to_json())
    assert again == policy
    assert again.digest == policy.digest != BASELINE.digest
    assert BASELINE.is_baseline


@given(st.integers(0, 2**32))
def test_equal_models_have_equal_digests_whatever_idle_steps_they_came_with(seed: int) -> None:
    bound = space(
        StepSpace("remove_layer", "layers.*", optional=True),
        HEADS,
        StepSpace("prune_channels", "layers.*.feed_forward", {"channels": Integer(1, 1536)}),
        StepSpace("quantize", "layers.*", {"bits": Choice((8, 32))}),
    ).bind(SHAPE.names(), size_of)
    generator = random.Random(seed)
    policy = bound.policy(lambda name, knob: draw(knob, generator))
    if len([step for step in policy.steps if step.operator == "remove_layer"]) == 3:
        return
    kept, shape = effective(policy, SHAPE)
    assert effective(kept, SHAPE) == (kept, shape)
    gone = {step.target for step in kept.steps if step.operator == "remove_layer"}
    assert not [step for step in kept.steps if step.operator != "remove_layer" and step.target[:8] in gone]


def test_two_stacks_are_targeted_by_their_names() -> None:
    def block(stack: str, index: int, kind: Kind) -> Part:
        part = attention(index, 64, heads=4, head_size=16)
        return replace(part, name=f"{stack}.{index}.{kind}", kind=kind, stack=stack)

    front = Part("decoder.embeddings", "embedding", tables=(Table("words", 100, 64),), stack="decoder")
    blocks = (block(stack, i, "attention") for stack in ("encoder", "decoder") for i in range(2))
    crossed = (block("decoder", i, "cross_attention") for i in range(2))
    model = ModelParts("marian", 64, (front, *blocks, *crossed))
    heads = StepSpace("prune_heads", "*.*.cross_attention", {"heads": Choice((Share(0.5),))}, per="step")
    bound = operators.bound(space(heads, StepSpace("quantize", "decoder.*", settings={"bits": 8})), model)
    assert [step.targets for step in bound.steps] == [
        ("decoder.0.cross_attention", "decoder.1.cross_attention"),
        ("decoder.0", "decoder.1"),
    ]
    kept, left = effective(bound.policy(lambda name, knob: 2), model)
    assert len(kept.steps) == 4
    assert left["decoder.1.cross_attention"].units["heads"] == 2
    assert left["decoder.1.cross_attention"].storages[0].bits == 8
    assert left["encoder.1.attention"] == model["encoder.1.attention"]
    with pytest.raises(CandidateError, match="remove_layer on decoder.1: the last layer must stay"):
        effective(CompressionPolicy(tuple(Step("remove_layer", f"decoder.{i}") for i in range(2))), model)
