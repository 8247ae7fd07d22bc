"""Each operator against an independent reference: the same model with the removed units masked to zero."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from autocompress.anatomy import Anatomy
from autocompress.core.attention_form import why_full
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.errors import CandidateError
from autocompress.importance import Importance
from autocompress.operators import OPERATORS, apply, effective
from autocompress.operators.remove_block import why_whole_layers
from autocompress.testing import operator_contract
from tests.conftest import DIFFERENT, WRITTEN

STEPS = {
    "remove_layer": [Step("remove_layer", f"layers.{i}") for i in range(3)],
    "remove_block": [
        Step("remove_block", target)
        for target in ("layers.0.attention", "layers.1.feed_forward", "layers.2.attention", "layers.2.feed_forward")
    ],
    "prune_heads": [
        Step("prune_heads", "layers.1.attention", {"heads": heads, "importance": criterion})
        for heads, criterion in (
            (1, "fisher"),
            (2, "taylor"),
            (3, "confidence"),
            (3, "entropy"),
            (2, "magnitude"),
            (2, "distance"),
            (3, "redundancy"),
            (1, "combined"),
        )
    ],
    "prune_channels": [
        Step("prune_channels", "layers.2.feed_forward", {"channels": channels, "importance": criterion})
        for channels, criterion in ((1, "fisher"), (40, "taylor"), (95, "magnitude"), (2, "combined"))
    ],
    "prune_hidden": [Step("prune_hidden", "*", {"hidden_size": size}) for size in (16, 48)],
    "prune_vocabulary": [Step("prune_vocabulary", "embeddings", {"rows": rows}) for rows in (1, 60)],
    "low_rank": [
        Step("low_rank", target, {"rank": rank})
        for target, rank in (("layers.0", 0.25), ("layers.1.attention", 0.01), ("layers.2.feed_forward", 0.49))
    ],
    "prune_weights": [
        Step("prune_weights", target, settings)
        for target, settings in (
            ("layers.0", {"sparsity": 0.6}),
            ("layers.1.attention", {"pattern": "2:4", "importance": "magnitude"}),
            ("layers.2.feed_forward", {"pattern": "16x16", "sparsity": 0.5}),
        )
    ],
    "replace_attention": [
        Step("replace_attention", f"layers.{layer}.attention", {"form": "local", "window": 16, "globals": count})
        for layer, count in ((0, 0), (1, 2), (2, 0))
    ]
    + [Step("replace_attention", "layers.2.attention", {"form": form}) for form in ("linear", "performer")],
    "keep_tokens": [
        Step("keep_tokens", "layers.0.attention", {"share": 50}),
        Step("keep_tokens", "layers.1.attention", {"count": 3}),
    ],
    "distill": [Step("distill", "*", {"temperature": 3.0, "hidden": 1.0, "layer_map": "uniform"})],
    "quantize": [
        Step("quantize", target, {"bits": bits})
        for bits in (8, 4)
        for target in ("embeddings", "layers.0", "layers.1.attention", "layers.2.feed_forward")
    ]
    + [
        Step("quantize", target, {"bits": bits})
        for target, bits in (("embeddings", 2), ("layers.0", "ternary"), ("layers.1.attention", 1))
    ],
    "runtime": [Step("runtime", "*", {"runtime": name}) for name in ("onnxruntime", "openvino-bf16")],
}
IDENTITY = [
    Step("prune_heads", "layers.0.attention", {"heads": 4, "importance": "fisher"}),
    Step("prune_channels", "layers.0.feed_forward", {"channels": 96, "importance": "fisher"}),
    Step("prune_hidden", "*", {"hidden_size": 64}),
    Step("prune_vocabulary", "embeddings", {"rows": 100}),
    Step("prune_vocabulary", "embeddings", {"rows": "used"}),  # and nobody counted
    Step("low_rank", "layers.0", {"rank": 1.0}),
    Step("low_rank", "layers.0.attention", {"rank": 0.5}),  # two factors of a square would hold as many numbers
    Step("replace_attention", "layers.0.attention", {"form": "full"}),
    Step("replace_attention", "layers.2.attention", {"form": "local"}),  # whose first position alone is read
    Step("keep_tokens", "layers.0.attention", {"share": 100}),
    Step("keep_tokens", "layers.2.attention", {"count": 1}),  # behind which the first token alone is computed
    Step("quantize", "layers.0", {"bits": 32}),
    Step("runtime", "*", {"runtime": "onnxruntime"}),
]


@pytest.fixture(params=[pytest.param(name, marks=() if name in DIFFERENT else pytest.mark.long) for name in WRITTEN])
def family(request: pytest.FixtureRequest) -> str:
    """Every family that there is: each has masks and slices of its own."""
    return str(request.param)


def logits(anatomy: Anatomy) -> Tensor:
    ids = torch.randint(5, 100, (4, 9), generator=torch.Generator().manual_seed(3))
    with torch.inference_mode():
        return anatomy.model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits


def masking(kept: list[int], size: int) -> Callable[..., Any]:
    def hook(_: object, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (hidden,) = inputs
        mask = torch.zeros(hidden.shape[-1] // size)
        mask[kept] = 1.0
        return (hidden * mask.repeat_interleave(size),)

    return hook


def mask_stream(model: torch.nn.Module, kept: list[int], *, width: int = 64) -> None:
    """Norms of the stream see the kept channels alone, and give nothing in the others; neither does a projection."""

    def norm(module: Any, inputs: tuple[Tensor, ...], _: Tensor) -> Tensor:
        hidden, size, weight = inputs[0][..., kept], (len(kept),), module.weight[kept]
        if isinstance(module, torch.nn.LayerNorm):
            bias = None if module.bias is None else module.bias[kept]
            seen = torch.nn.functional.layer_norm(hidden, size, weight, bias, module.eps)
        else:
            seen = torch.nn.functional.rms_norm(hidden, size, weight, module.variance_epsilon)
        return torch.zeros_like(inputs[0]).index_copy(-1, torch.tensor(kept), seen)

    for name, module in model.named_modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, Tensor) and weight.shape == (width,) and not name.startswith("head."):
            module.register_forward_hook(norm)
        elif name.endswith(("embeddings_project", "embedding_hidden_mapping_in")):
            module.register_forward_hook(lambda _, __, found: masking(kept, 1)(None, (found,))[0])


def _why_all(family: str) -> str:
    return "" if not why_full(family) else f"a {family} loses no tokens on its way"


def test_every_shipped_operator_is_tested_here() -> None:
    assert set(STEPS) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(STEPS))
def test_every_operator_passes_the_contract(name: str, anatomy: Anatomy, importance: Importance) -> None:
    refusals = {"replace_attention": why_full, "remove_block": why_whole_layers, "keep_tokens": _why_all}
    if name in refusals and (why := refusals[name](anatomy.family.model_type)):
        with pytest.raises(CandidateError, match=re.escape(why)):
            OPERATORS[name].reshape(anatomy.shape(), STEPS[name][0])
        return
    operator_contract(OPERATORS[name], STEPS[name], anatomy, importance)


@pytest.mark.parametrize("step", STEPS["prune_heads"], ids=lambda step: str(step.settings["importance"]))
def test_sliced_heads_equal_masked_heads(step: Step, anatomy: Anatomy, importance: Importance) -> None:
    kept = importance.best_heads(str(step.settings["importance"]), 1, int(step.settings["heads"]))
    sliced, whole = anatomy.copy(), logits(anatomy)
    OPERATORS["prune_heads"].apply(sliced, step, importance)
    assert not torch.allclose(logits(sliced), whole, atol=1e-3), "the heads that went did nothing: no test"
    anatomy.layer(1).of_attention.output.module.register_forward_pre_hook(masking(kept, 16))
    assert torch.allclose(logits(sliced), logits(anatomy), atol=1e-5)


@pytest.mark.parametrize("step", STEPS["prune_channels"], ids=lambda step: str(step.settings["channels"]))
def test_sliced_channels_equal_masked_channels(step: Step, anatomy: Anatomy, importance: Importance) -> None:
    kept = importance.best_channels(str(step.settings["importance"]), 2, int(step.settings["channels"]))
    sliced = anatomy.copy()
    OPERATORS["prune_channels"].apply(sliced, step, importance)
    anatomy.layer(2).of_feed_forward.down.module.register_forward_pre_hook(masking(kept, 1))
    assert torch.allclose(logits(sliced), logits(anatomy), atol=1e-5)


@pytest.mark.parametrize("step", STEPS["prune_hidden"], ids=lambda step: str(step.settings["hidden_size"]))
def test_a_narrower_stream_equals_a_masked_one(step: Step, anatomy: Anatomy, importance: Importance) -> None:
    kept = importance.best_hidden(int(step.settings["hidden_size"]), of=range(64))
    sliced, whole = anatomy.copy(), logits(anatomy)
    OPERATORS["prune_hidden"].apply(sliced, step, importance)
    assert sliced.hidden == tuple(kept)
    mask_stream(anatomy.model, kept)
    assert torch.allclose(logits(sliced), logits(anatomy), atol=1e-5)
    assert not torch.allclose(logits(sliced), whole, atol=1e-3)


def test_a_removed_layer_passes_its_input_on(anatomy: Anatomy, importance: Importance) -> None:
    removed = anatomy.copy()
    OPERATORS["remove_layer"].apply(removed, Step("remove_layer", "layers.1"), importance)
    anatomy.layer(1).module.register_forward_hook(
        lambda _, inputs, output: (inputs[0],) if isinstance(output, tuple) else inputs[0]
    )
    assert torch.allclose(logits(removed), logits(anatomy), atol=1e-5)


@pytest.mark.parametrize("target", ["layers.1.attention", "layers.1.feed_forward"])
def test_a_removed_block_passes_its_input_on(target: str, anatomy: Anatomy, importance: Importance) -> None:
    if why_whole_layers(anatomy.family.model_type):
        pytest.skip("whole layers go")
    removed, whole = anatomy.copy(), logits(anatomy)
    OPERATORS["remove_block"].apply(removed, Step("remove_block", target), importance)
    layer, before = anatomy.layer(1), {}
    block = layer.of_attention if target.endswith("attention") else layer.of_feed_forward
    reader = block.products[0].module  # of what goes into the block
    reader.register_forward_pre_hook(lambda _, given: before.update(seen=given[0]))
    block.norm.register_forward_hook(lambda *_: before["seen"])
    assert torch.allclose(logits(removed), logits(anatomy), atol=1e-5)
    assert not torch.allclose(logits(removed), whole, atol=1e-3)
    assert removed.shape() == OPERATORS["remove_block"].reshape(anatomy.shape(), Step("remove_block", target))


def test_a_layer_without_blocks_is_gone_and_one_attention_stays(anatomy: Anatomy, importance: Importance) -> None:
    if why_whole_layers(anatomy.family.model_type):
        pytest.skip("whole layers go")
    halves = [Step("remove_block", f"layers.1.{block}") for block in ("attention", "feed_forward")]
    _, shape = effective(CompressionPolicy(tuple(halves)), anatomy.shape())
    _, whole = effective(CompressionPolicy((Step("remove_layer", "layers.1"),)), anatomy.shape())
    assert shape == whole
    cut = anatomy.copy()
    for step in halves:
        OPERATORS["remove_block"].apply(cut, step, importance)
    assert [layer.index for layer in cut.layers] == [0, 2]
    assert cut.shape() == whole
    blind = [Step("remove_block", f"layers.{i}.attention") for i in range(3)]
    with pytest.raises(CandidateError, match="remove_block on layers.2.attention: the last attention must stay"):
        effective(CompressionPolicy(tuple(blind)), anatomy.shape())
    with pytest.raises(CandidateError, match="remove_layer on layers.2: the last attention must stay"):
        effective(CompressionPolicy((*blind[:2], Step("remove_layer", "layers.2"))), anatomy.shape())


@pytest.mark.parametrize("step", IDENTITY, ids=lambda step: step.operator)
def test_identity_settings_change_nothing(step: Step, anatomy: Anatomy, importance: Importance) -> None:
    asked = step.settings.get("form", "full") != "full" or "count" in step.settings
    refuses = _why_all if step.operator == "keep_tokens" else why_full
    if asked and (why := refuses(anatomy.family.model_type)):
        with pytest.raises(CandidateError, match=re.escape(why)):
            effective(CompressionPolicy((step,)), anatomy.shape())
        return
    same = anatomy.copy()
    OPERATORS[step.operator].apply(same, step, importance)
    assert torch.equal(logits(same), logits(anatomy))
    policy, shape = effective(CompressionPolicy((step,)), anatomy.shape())
    assert policy.is_baseline
    assert shape == anatomy.shape()


def test_operators_work_after_every_earlier_phase(anatomy: Anatomy, importance: Importance) -> None:
    policy = CompressionPolicy(
        (
            Step("remove_layer", "layers.0"),
            Step("prune_heads", "layers.1.attention", {"heads": 2, "importance": "taylor"}),
            Step("prune_channels", "layers.1.feed_forward", {"channels": 17, "importance": "magnitude"}),
            Step("prune_vocabulary", "embeddings", {"rows": 70}),
            Step("prune_hidden", "*", {"hidden_size": 32}),
            Step("prune_vocabulary", "embeddings", {"rows": 50}),
            Step("low_rank", "layers.1", {"rank": 0.3}),
            Step("low_rank", "layers.2.feed_forward", {"rank": 0.3}),
            Step("prune_weights", "layers.2.attention", {"pattern": "2:4"}),
            *(STEPS["replace_attention"][2:3] if not why_full(anatomy.family.model_type) else ()),
            *(STEPS["keep_tokens"][1:] if not why_full(anatomy.family.model_type) else ()),
            Step("quantize", "layers.1", {"bits": 8}),
            Step("quantize", "layers.2", {"bits": 8}),
            Step("quantize", "embeddings", {"bits": 8}),
        )
    )
    kept, expected = effective(policy, anatomy.shape())
    student = anatomy.copy()
    apply(kept, student, importance)
    assert student.shape() == expected
    assert torch.isfinite(logits(student)).all()


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (
            Step("prune_heads", "layers.0.attention", {"heads": 5, "importance": "fisher"}),
            "`heads <= 4` must hold, got 5",
        ),
        (
            Step("prune_channels", "layers.0.feed_forward", {"channels": 97, "importance": "fisher"}),
            "`channels <= 96` must hold, got 97",
        ),
        (Step("prune_vocabulary", "embeddings", {"rows": 101}), "`rows <= 100` must hold, got 101"),
        (Step("prune_hidden", "*", {"hidden_size": 80}), "`hidden_size <= 64` must hold, got 80"),
        (Step("prune_hidden", "*", {"hidden_size": 37}), "`hidden_size` must be a multiple of 16, got 37; take 32"),
    ],
)
def test_more_than_there_is_cannot_be_kept(step: Step, message: str, anatomy: Anatomy) -> None:
    with pytest.raises(CandidateError, match=message):
        effective(CompressionPolicy((step,)), anatomy.shape())


def test_a_rank_is_a_share_of_what_earlier_steps_left(anatomy: Anatomy) -> None:
    steps = (
        Step("prune_heads", "layers.1.attention", {"heads": 2, "importance": "taylor"}),
        Step("low_rank", "layers.1", {"rank": 0.25}),
    )
    _, shape = effective(CompressionPolicy(steps), anatomy.shape())
    assert [(one.inputs, one.outputs, one.rank) for one in shape["layers.1.attention"].matrices] == [
        *[(64, 32, 8)] * 3,
        (32, 64, 8),
    ]
    assert {one.rank for one in shape["layers.1.feed_forward"].matrices} == {16}


def test_what_is_two_factors_already_is_not_taken_apart_again(anatomy: Anatomy) -> None:
    steps = (Step("low_rank", "layers.1", {"rank": 0.25}), Step("low_rank", "layers.1.attention", {"rank": 0.1}))
    with pytest.raises(CandidateError, match="on layers.1.attention: its matrices are two factors already; let one"):
        effective(CompressionPolicy(steps), anatomy.shape())


def test_the_last_layer_must_stay(anatomy: Anatomy) -> None:
    with pytest.raises(CandidateError, match="the last layer must stay"):
        effective(CompressionPolicy(tuple(STEPS["remove_layer"])), anatomy.shape())
