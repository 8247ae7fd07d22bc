"""Tiny random models of every family and head: all of their tensors have a part, and what is counted is done."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import transformers
from torch.utils.flop_counter import FlopCounterMode

from autocompress.anatomy.blueprint import read_parts
from autocompress.core.cost import macs, parameters
from autocompress.core.parts import ModelParts, Pass
from autocompress.errors import SpecError
from autocompress.families import FAMILIES, Family
from tests.families.given import FORMS, live


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Iterator[str]:
    return request.param


def test_every_family_is_tried_here() -> None:
    tried = {getattr(transformers, form).config_class.model_type for form in FORMS}
    assert tried == set(FAMILIES)


def test_the_parameters_counted_are_those_of_the_live_model(form: str) -> None:
    model = live(form)
    parts = read_parts(model, FAMILIES)
    assert parameters(parts) == sum(tensor.numel() for tensor in model.parameters())


def walks(form: str) -> tuple[Callable[[Any], object], list[Pass]]:
    """How the model is called, and the same as passes."""
    ids = torch.arange(2 * 12).reshape(2, 12) % 90 + 5
    one = {"sources": 12, "targets": 12, "batch": 2}
    if form in ("T5Model", "MarianMTModel"):
        decoder = Pass("decoder", batch=2, sources=12, targets=12, memory=12)
        return lambda model: model(input_ids=ids, decoder_input_ids=ids), [Pass("encoder", **one), decoder]
    name = "encoder" if form == "T5EncoderModel" else "layers"
    return lambda model: model(input_ids=ids), [Pass(name, **one)]


COUNTED = [
    *("BertModel", "DistilBertForSequenceClassification", "MPNetForSequenceClassification"),
    *("AlbertForSequenceClassification", "BertForTokenClassification", "ModernBertForSequenceClassification"),
    *("GPT2LMHeadModel", "LlamaForCausalLM", "Qwen2ForCausalLM", "T5EncoderModel"),
    *("T5Model", "MarianMTModel"),
]


def without_heads(parts: ModelParts) -> ModelParts:
    return parts.without(frozenset(part.name for part in parts.parts if part.kind == "head"))


@pytest.mark.parametrize("name", COUNTED)
def test_the_work_counted_is_the_work_that_torch_does(name: str) -> None:
    """But for what stands behind the last layer: some read one token there, others all."""
    model = live(name)
    call, passes = walks(name)
    base = getattr(model, model.base_model_prefix, model)
    base.pooler = None
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        call(base)
    assert macs(without_heads(read_parts(model, FAMILIES)), passes) == counter.get_total_flops() // 2


def test_shared_layers_are_computed_many_times_and_held_once() -> None:
    parts = read_parts(live("AlbertForSequenceClassification"), FAMILIES)
    assert [part.owner for part in parts.blocks("layers") if part.kind == "attention"] == [
        None,
        "layers.0.attention",
        "layers.0.attention",
    ]
    inherited = parts.without(frozenset({"layers.0.attention", "layers.0.feed_forward"}))
    assert parameters(inherited) == parameters(parts)
    assert inherited["layers.1.attention"].owner is None
    assert inherited["layers.2.attention"].owner == "layers.1.attention"


def test_grouped_keys_and_head_sizes_are_read_off_the_tensors() -> None:
    mixing = read_parts(live("LlamaForSequenceClassification"), FAMILIES)["layers.1.attention"].mixing
    assert mixing is not None
    assert (mixing.heads, mixing.head_size, mixing.key_value_heads) == (4, 12, 2)


def test_an_encoder_taken_alone_is_read_without_its_decoder() -> None:
    assert read_parts(live("WhisperForAudioClassification"), FAMILIES).stacks == ("encoder",)
    assert read_parts(live("MarianMTModel"), FAMILIES).stacks == ("encoder", "decoder")


def test_tensors_that_no_part_knows_of_are_refused_by_name() -> None:
    model = live("BertModel")
    model.encoder.layer[1].adapter = torch.nn.Linear(32, 4)
    with pytest.raises(SpecError, match=r"2 tensors belong to no part of a bert: encoder\.layer\.1\.adapter\.weight"):
        read_parts(model, FAMILIES)


def test_a_layer_without_one_of_its_products_is_refused_by_what_it_lacks() -> None:
    model = live("DistilBertForSequenceClassification")
    del model.distilbert.transformer.layer[1].ffn.lin2
    with pytest.raises(SpecError, match=r"layer 1 of transformer\.layer has no feed_forward .* lacks ffn\.lin2"):
        read_parts(model, FAMILIES)


def test_an_unknown_family_is_refused_with_its_nearest_name() -> None:
    model = live("BertModel")
    families: Mapping[str, Family] = {"roberta": FAMILIES["roberta"]}
    with pytest.raises(SpecError, match="the family 'bert' is not known"):
        read_parts(model, families)
