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

TEXT = {"vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 64}
SMALL = {**TEXT, "max_position_embeddings": 40}
ROBERTA = {**SMALL, "pad_token_id": 1}
IMAGE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "image_size": 24,
    "patch_size": 8,
}
SOUND = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "conv_dim": (16, 16),
    "conv_kernel": (10, 3),
    "conv_stride": (5, 2),
    "num_feat_extract_layers": 2,
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 4,
    "vocab_size": 20,
}
TWO = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 2,
}
FEED_FORWARD = {"encoder_ffn_dim": 64, "decoder_ffn_dim": 48}
T5 = {"vocab_size": 99, "d_model": 32, "d_kv": 6, "d_ff": 64, "num_layers": 2, "num_decoder_layers": 3, "num_heads": 4}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 0}
GATED = {"num_key_value_heads": 2, "max_position_embeddings": 64}

FORMS: Mapping[str, Mapping[str, object]] = {
    "BertModel": SMALL,
    "BertForSequenceClassification": {**SMALL, "num_labels": 3},
    "BertForTokenClassification": {**SMALL, "num_labels": 5},
    "BertForMaskedLM": SMALL,
    "RobertaForSequenceClassification": ROBERTA,
    "XLMRobertaForSequenceClassification": ROBERTA,
    "CamembertForSequenceClassification": ROBERTA,
    "ElectraForSequenceClassification": {**SMALL, "embedding_size": 16},
    "DistilBertForSequenceClassification": {
        "vocab_size": 99,
        "dim": 32,
        "n_layers": 3,
        "n_heads": 4,
        "hidden_dim": 64,
    },
    "MPNetForSequenceClassification": ROBERTA,
    "AlbertForSequenceClassification": {**SMALL, "embedding_size": 16, "num_hidden_groups": 1},
    "DebertaV2ForSequenceClassification": {
        **SMALL,
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["p2c", "c2p"],
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "position_biased_input": False,
    },
    "DebertaV2Model": {**SMALL, "relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "ModernBertForSequenceClassification": {**SMALL, **SPECIAL, "cls_token_id": 1, "sep_token_id": 2},
    "ViTForImageClassification": IMAGE,
    "DeiTForImageClassification": IMAGE,
    "DeiTForImageClassificationWithTeacher": IMAGE,
    "Dinov2ForImageClassification": {**IMAGE, "mlp_ratio": 2},
    "Wav2Vec2ForSequenceClassification": SOUND,
    "Wav2Vec2ForCTC": {**SOUND, "feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True},
    "HubertForSequenceClassification": SOUND,
    "WhisperForConditionalGeneration": {**TWO, **FEED_FORWARD, **SPECIAL, "vocab_size": 99, "num_mel_bins": 8},
    "WhisperForAudioClassification": {**TWO, **FEED_FORWARD, "num_mel_bins": 8, "max_source_positions": 10},
    "GPT2LMHeadModel": {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 40},
    "GPT2ForSequenceClassification": {"vocab_size": 99, "n_embd": 32, "n_layer": 2, "n_head": 4, "pad_token_id": 0},
    "LlamaForCausalLM": {**TEXT, **GATED},
    "LlamaForSequenceClassification": {**TEXT, **GATED, "head_dim": 12, "pad_token_id": 0},
    "Qwen2ForCausalLM": {**TEXT, **GATED, "tie_word_embeddings": True},
    "T5ForConditionalGeneration": {**T5, **SPECIAL},
    "T5ForTokenClassification": {**T5, "num_labels": 3},
    "T5EncoderModel": T5,
    "T5Model": {**T5, "feed_forward_proj": "gated-gelu"},
    "MarianMTModel": {**TWO, **FEED_FORWARD, **SPECIAL, "vocab_size": 99, "max_position_embeddings": 40},
}


def live(form: str) -> Any:
    torch.manual_seed(0)
    kind = getattr(transformers, form)
    config = kind.config_class(**FORMS[form], attn_implementation="eager")
    return kind(config).eval()


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
        decoder = Pass("decoder.layers", batch=2, sources=12, targets=12, memory=12)
        return lambda model: model(input_ids=ids, decoder_input_ids=ids), [Pass("encoder.layers", **one), decoder]
    name = "encoder.layers" if form == "T5EncoderModel" else "layers"
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
    assert read_parts(live("WhisperForAudioClassification"), FAMILIES).stacks == ("encoder.layers",)
    assert read_parts(live("MarianMTModel"), FAMILIES).stacks == ("encoder.layers", "decoder.layers")


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
