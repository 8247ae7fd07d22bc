"""Every family can be compressed: what a cut leaves gives the answers of the whole with the rest masked."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
import torch

from autocompress.anatomy.blueprint import read_parts, stacks_of
from autocompress.anatomy.int8 import Int8Embedding
from autocompress.anatomy.live import LiveModel
from autocompress.core.cost import parameters
from autocompress.core.parts import ModelParts, Part, Storage
from autocompress.errors import CandidateError, SpecError
from autocompress.families import FAMILIES
from tests.families.given import FORMS, answers, inputs, telling

TRIED = sorted(
    set(FORMS)
    - {"BertModel", "BertForTokenClassification", "BertForMaskedLM", "DeiTForImageClassification", "GPT2LMHeadModel"}
    - {"T5ForTokenClassification", "LlamaForCausalLM", "RobertaForSequenceClassification"}
    - {"ModernBertForTokenClassification"}
)
ATTENTION = ("attention", "cross_attention")
FEED_FORWARD = ("feed_forward", "gated")


def own(parts: ModelParts, kinds: tuple[str, ...]) -> Iterator[Part]:
    """Blocks of these kinds that have weights of their own."""
    return (part for part in parts.parts if part.kind in kinds and part.owner is None)


def some_heads(part: Part) -> list[int]:
    """Others in every layer; of grouped keys one query each in the first, one group in others."""
    assert part.mixing is not None
    assert part.layer is not None
    heads, keys = part.mixing.heads, part.mixing.key_value_heads
    if keys < heads:
        group = heads // keys
        return [key * group for key in range(keys)] if part.layer == 0 else list(range(group))
    return [part.layer % heads, *([(part.layer + 2) % heads] if heads > 2 else [])]


def some_channels(part: Part) -> list[int]:
    assert part.layer is not None
    return list(range(part.layer % 2, part.units["channels"], 3))


def smaller(part: Part) -> Part:
    """What a cut leaves, counted."""
    if part.mixing is not None:
        kept, size = some_heads(part), part.mixing.head_size
        keys = len({head * part.mixing.key_value_heads // part.mixing.heads for head in kept})
        mixing = replace(part.mixing, heads=len(kept), key_value_heads=keys)
        widths = {"key": keys * size, "value": keys * size}
        changed = [
            replace(one, inputs=len(kept) * size)
            if one.name == "output"
            else replace(one, outputs=widths.get(one.name, len(kept) * size))
            for one in part.matrices
        ]
        return replace(part, matrices=tuple(changed), mixing=mixing)
    width = len(some_channels(part))
    return replace(
        part,
        matrices=tuple(
            replace(one, inputs=width) if one.name == "down" else replace(one, outputs=width) for one in part.matrices
        ),
    )


def cut(live: LiveModel) -> None:
    """Heads and channels of every block."""
    for part in own(live.parts(), ATTENTION):
        live.keep_heads(part.name, some_heads(part))
    for part in own(live.parts(), FEED_FORWARD):
        live.keep_channels(part.name, some_channels(part))


def expected(parts: ModelParts) -> ModelParts:
    shrunk = {part.name: smaller(part) for part in own(parts, (*ATTENTION, *FEED_FORWARD))}
    for part in parts.parts:
        if part.owner is not None and part.layer is not None:
            whole = shrunk[part.owner]
            shrunk[part.name] = replace(part, matrices=whole.matrices, mixing=whole.mixing)
    return replace(parts, parts=tuple(shrunk.get(part.name, part) for part in parts.parts))


def mask(live: LiveModel, name: str, kept: list[int], size: int) -> None:
    """Whatever comes out of other heads or channels counts for nothing."""
    (last,) = (one for one in live.products(name) if one.roles[0] in ("output", "down"))
    weight = last.slot.linear.weight
    left = torch.zeros(weight.shape[1], dtype=weight.dtype)
    left.view(-1, size)[kept] = 1
    with torch.no_grad():
        weight.mul_(left)


@pytest.fixture(params=TRIED)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


class TestContracts:
    def test_all_parts_are_found_and_answers_stay_in_the_form_that_is_cut(self, form: str) -> None:
        model = telling(form, attention=None)
        given, before = inputs(model), read_parts(model, FAMILIES)
        known = answers(model, given)
        live = LiveModel(model)
        assert live.parts() == before
        assert parameters(live.parts()) == sum(tensor.numel() for tensor in model.parameters())
        assert (answers(model, given) - known).abs().max() < 1e-5

    def test_heads_cut_off_are_heads_masked(self, form: str) -> None:
        live = LiveModel(telling(form))
        masked, given = live.own_copy(), inputs(live.model)
        for part in own(live.parts(), ATTENTION):
            assert part.mixing is not None
            mask(masked, part.name, some_heads(part), part.mixing.head_size)
            live.keep_heads(part.name, some_heads(part))
        difference = answers(live.model, given) - answers(masked.model, given)
        assert difference.abs().max() < 1e-5

    def test_channels_cut_off_are_channels_masked(self, form: str) -> None:
        live = LiveModel(telling(form))
        masked, given = live.own_copy(), inputs(live.model)
        for part in own(live.parts(), FEED_FORWARD):
            mask(masked, part.name, some_channels(part), 1)
            live.keep_channels(part.name, some_channels(part))
        assert (answers(live.model, given) - answers(masked.model, given)).abs().max() < 1e-5

    def test_layers_taken_out_are_layers_passed_by(self, form: str) -> None:
        whole = telling(form)
        live = LiveModel(copy.deepcopy(whole))
        given, parts = inputs(whole), live.parts()
        for stack in parts.stacks:
            kept = [index for index in parts.layers(stack) if index != (0 if stack != "encoder" else 1)]
            live.keep_layers(stack, kept)
            assert live.layers(stack) == tuple(kept)
        gone = {part.name for part in parts.parts if part.layer is not None} - {p.name for p in live.parts().parts}
        assert live.parts() == parts.without(frozenset(gone))
        with passed_by(whole, live):
            known = answers(whole, given)
        assert (answers(live.model, given) - known).abs().max() < 1e-5

    def test_what_is_counted_after_a_cut_is_what_is_there(self, form: str) -> None:
        live = LiveModel(telling(form))
        before = live.parts()
        cut(live)
        live.quantize([part.name for part in own(before, FEED_FORWARD)], Storage(8))
        wanted = expected(before)
        for part in wanted.parts:
            if part.kind in FEED_FORWARD:
                wanted = wanted.with_part(part.name, lambda one: one.with_storage(Storage(8)))
        assert live.parts() == wanted

    def test_slices_of_a_linked_copy_reach_the_whole(self, form: str) -> None:
        live = LiveModel(telling(form))
        live.model.requires_grad_(True)
        student = live.copy(linked=True)
        cut(student)
        given = {name: one.double() if one.is_floating_point() else one for name, one in inputs(live.model).items()}
        student.model(**given)[0].square().mean().backward()
        for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD)):
            for product, left in zip(live.products(part.name), student.products(part.name), strict=True):
                gradient = product.slot.linear.weight.grad
                assert gradient is not None, f"{part.name} {product.roles}"
                assert 0 < int((gradient != 0).sum()) <= left.slot.linear.weight.numel()

    def test_what_was_saved_is_loaded_into_a_model_that_was_cut_alike(self, form: str) -> None:
        live, other = LiveModel(telling(form)), LiveModel(telling(form).apply(forget))
        given = inputs(live.model)
        for one in (live, other):
            for stack in one.parts().stacks:
                one.keep_layers(stack, one.parts().layers(stack)[1:])
            cut(one)
        other.load({name: tensor.clone() for name, tensor in live.state().items()})
        for one in (live, other):
            one.quantize([part.name for part in own(one.parts(), ATTENTION)], Storage(8))
        assert torch.equal(answers(live.model.float(), given), answers(other.model.float(), given))


@torch.no_grad()
def forget(module: torch.nn.Module) -> None:
    for tensor in module.parameters(recurse=False):
        tensor.zero_()


def bypass(left: tuple[int, ...]) -> Callable[..., Any]:
    """A hook of all layers of a stack, which are called one after the other: those not left give back what they got."""
    place = itertools.count()

    def back(_: Any, args: Any, kwargs: Any, given: Any) -> Any:
        if next(place) in left:
            return given
        came = args[0] if args else kwargs["hidden_states"]
        return (came, *given[1:]) if isinstance(given, tuple) else came

    return back


@contextmanager
def passed_by(whole: Any, live: LiveModel) -> Iterator[None]:
    """Once: what the live model has no more is nothing to the whole."""
    hooks = [
        layer.register_forward_hook(hook, with_kwargs=True)
        for name, layers in stacks_of(whole, live.family).items()
        for hook in [bypass(live.layers(name))]
        for layer in layers
    ]
    try:
        yield
    finally:
        for one in hooks:
            one.remove()


@pytest.mark.parametrize("form", ["GPT2LMHeadModel", "Qwen2ForCausalLM", "T5ForConditionalGeneration", "MarianMTModel"])
def test_a_decoder_that_lost_layers_and_heads_writes_the_same_with_and_without_a_cache(form: str) -> None:
    live = LiveModel(telling(form))
    stack = live.parts().stacks[-1]
    live.keep_layers(stack, live.layers(stack)[1:])
    cut(live)
    given = {name: one for name, one in inputs(live.model).items() if not name.startswith("decoder")}
    given["input_ids"], given["attention_mask"] = given["input_ids"][:1], given["attention_mask"][:1]
    with_cache, without = (
        live.model.generate(**given, max_new_tokens=5, min_new_tokens=5, do_sample=False, use_cache=cached)
        for cached in (True, False)
    )
    assert with_cache.tolist() == without.tolist()


def test_heads_that_would_leave_keys_with_unequal_readers_are_refused() -> None:
    live = LiveModel(telling("LlamaForSequenceClassification"))
    with pytest.raises(CandidateError, match=r"4 heads share 2 keys, and equally many must stay .* got heads 0, 1, 2"):
        live.keep_heads("layers.0.attention", [0, 1, 2])
    live.keep_heads("layers.0.attention", [3, 2])  # in the given order
    assert live.parts()["layers.0.attention"].units == {"heads": 2, "key_value_heads": 1}


def test_a_part_that_shares_the_weights_of_another_is_cut_there() -> None:
    live = LiveModel(telling("AlbertForSequenceClassification"))
    with pytest.raises(CandidateError, match=r"layers\.2\.attention: its weights are those of layer 0"):
        live.keep_heads("layers.2.attention", [0])
    live.keep_layers("layers", [1, 2])
    live.keep_heads("layers.1.attention", [0])
    assert live.parts()["layers.2.attention"].owner == "layers.1.attention"
    assert live.parts()["layers.2.attention"].units["heads"] == 1


def test_the_last_layer_of_a_stack_stays() -> None:
    live = LiveModel(telling("BertForSequenceClassification"))
    with pytest.raises(CandidateError, match="layers: one layer must stay"):
        live.keep_layers("layers", [7])
    with pytest.raises(KeyError):
        live.keep_heads("layers.7.attention", [0])
    with pytest.raises(KeyError):
        live.keep_channels("layers.0.attention", [0])


def test_a_head_that_reads_every_layer_is_refused() -> None:
    model = telling("Wav2Vec2ForSequenceClassification")
    model.config.use_weighted_layer_sum = True
    with pytest.raises(SpecError, match="`use_weighted_layer_sum: true`, so its head reads every layer"):
        LiveModel(model)


def test_images_calibrate_as_texts_do() -> None:
    model = telling("ViTForImageClassification").float()
    given = inputs(model)
    live = LiveModel(model, batches=[given])
    held = Storage(8, "static", "min-max", 0.5)
    live.quantize([part.name for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD))], held)
    assert {one.storage for part in live.parts().blocks("layers") for one in part.matrices} == {held}
    other = LiveModel(telling("ViTForImageClassification").float(), known=live.settled())
    other.quantize([part.name for part in own(other.parts(), (*ATTENTION, *FEED_FORWARD))], held)
    assert torch.equal(answers(live.model, given), answers(other.model, given))


@pytest.mark.parametrize("form", ["T5ForConditionalGeneration", "MarianMTModel"])
def test_every_table_that_tokens_are_looked_up_in_is_rounded(form: str) -> None:
    live = LiveModel(telling(form))
    live.quantize_embeddings(4)
    assert live.parts()["embeddings"].tables[0].storage == Storage(4)
    rounded = [module for module in live.model.modules() if isinstance(module, Int8Embedding)]
    assert len(rounded) >= 2
