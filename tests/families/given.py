"""Tiny random models of every family and head."""

from collections.abc import Mapping
from typing import Any

import torch
import transformers

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
    "ModernBertForTokenClassification": {**SMALL, **SPECIAL, "cls_token_id": 1, "sep_token_id": 2},
    "EuroBertForSequenceClassification": {**TEXT, **GATED, **SPECIAL},
    "EuroBertForTokenClassification": {**TEXT, **GATED, **SPECIAL},
    "ViTForImageClassification": IMAGE,
    "DeiTForImageClassification": IMAGE,
    "DeiTForImageClassificationWithTeacher": IMAGE,
    "Dinov2ForImageClassification": {**IMAGE, "mlp_ratio": 2},
    "ASTForAudioClassification": {
        **{name: size for name, size in IMAGE.items() if name not in ("image_size", "patch_size")},
        "patch_size": 4,
        "frequency_stride": 4,
        "time_stride": 4,
        "num_mel_bins": 8,
        "max_length": 12,
    },
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


def live(form: str, *, attention: str | None = "eager", **settings: object) -> Any:
    """A tiny model of this form, the same every time; `attention` None is the library's own choice."""
    torch.manual_seed(0)
    kind = getattr(transformers, form)
    config = kind.config_class(**{**FORMS[form], **settings}, attn_implementation=attention)
    return kind(config).eval()


LIVELY: Mapping[str, Mapping[str, object]] = {
    "WhisperForConditionalGeneration": {"max_source_positions": 10},
    "WhisperForAudioClassification": {"max_source_positions": 10},
    "ModernBertForSequenceClassification": {"local_attention": 6, "global_attn_every_n_layers": 2},
    "Qwen2ForCausalLM": {"use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1},
}
"""What makes a form harder still: windows of different layers, an input that is short enough to be quick."""


def telling(form: str, *, attention: str | None = "eager", **settings: object) -> Any:
    """In float64 and with weights so large that every unit of it matters to its answers."""
    model = live(form, attention=attention, **{**LIVELY.get(form, {}), **settings}).double()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.add_(0.15 * torch.randn(tensor.shape, generator=generator, dtype=tensor.dtype))
    return model


def inputs(model: Any, *, batch: int = 2, length: int = 9) -> dict[str, torch.Tensor]:
    """What a model is called with; texts are padded but for the first."""
    generator = torch.Generator().manual_seed(2)
    name, config = model.main_input_name, model.config
    if name == "pixel_values":
        return {name: torch.randn(batch, 3, config.image_size, config.image_size, generator=generator)}
    if name == "input_values" and hasattr(config, "num_mel_bins"):
        return {name: torch.randn(batch, config.max_length, config.num_mel_bins, generator=generator)}
    if name == "input_values":
        return {name: torch.randn(batch, 40 * length, generator=generator)}
    ids = torch.randint(5, 90, (batch, length), generator=generator)
    mask = torch.ones_like(ids)
    mask[1:, length - 3 :] = 0
    found = {"input_ids": ids, "attention_mask": mask}
    if name == "input_features":
        frames = 2 * config.max_source_positions
        found = {name: torch.randn(batch, config.num_mel_bins, frames, generator=generator)}
    if config.is_encoder_decoder and hasattr(model, "get_decoder"):
        found |= {"decoder_input_ids": ids[:, :5], "decoder_attention_mask": torch.ones_like(ids[:, :5])}
    return found


def answers(model: Any, given: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """What it gives first: logits, or hidden states."""
    with torch.no_grad():
        dtype = next(model.parameters()).dtype
        asked = {name: one.to(dtype) if one.is_floating_point() else one for name, one in given.items()}
        return model(**asked)[0]
