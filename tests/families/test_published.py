"""Parameters of published models, counted from their configurations alone: no weight is made."""

from collections.abc import Mapping

import pytest
import torch
import transformers

from autocompress.anatomy.blueprint import read_parts
from autocompress.core.cost import parameters
from autocompress.families import FAMILIES

PUBLISHED: Mapping[str, tuple[str, int, Mapping[str, object]]] = {
    "BERT-base": ("BertModel", 109_482_240, {}),
    "RoBERTa-base": (
        "RobertaModel",
        124_645_632,
        {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1},
    ),
    "DistilBERT": ("DistilBertModel", 66_362_880, {}),
    "ALBERT-base": (
        "AlbertModel",
        11_683_584,
        {"hidden_size": 768, "num_attention_heads": 12, "intermediate_size": 3072, "num_hidden_layers": 12},
    ),
    "ViT-B/16 with 1,000 classes": ("ViTForImageClassification", 86_567_656, {"num_labels": 1000}),
    "wav2vec2-base": ("Wav2Vec2Model", 94_371_712, {}),
    "Whisper-tiny": ("WhisperForConditionalGeneration", 37_760_640, {}),
    "T5-small": ("T5ForConditionalGeneration", 60_506_624, {}),
    "GPT-2": ("GPT2LMHeadModel", 124_439_808, {}),
    "LLaMA-3.2-1B": (
        "LlamaForCausalLM",
        1_235_814_400,
        {
            "vocab_size": 128_256,
            "hidden_size": 2048,
            "intermediate_size": 8192,
            "num_hidden_layers": 16,
            "num_attention_heads": 32,
            "num_key_value_heads": 8,
            "head_dim": 64,
            "tie_word_embeddings": True,
        },
    ),
    "SmolLM2-135M": (
        "LlamaForCausalLM",
        134_515_008,
        {
            "vocab_size": 49_152,
            "hidden_size": 576,
            "intermediate_size": 1536,
            "num_hidden_layers": 30,
            "num_attention_heads": 9,
            "num_key_value_heads": 3,
            "tie_word_embeddings": True,
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_model_has_its_published_number_of_parameters(name: str) -> None:
    form, published, settings = PUBLISHED[name]
    kind = getattr(transformers, form)
    with torch.device("meta"):
        model = kind(kind.config_class(**settings))
        model.tie_weights()
    counted = parameters(read_parts(model, FAMILIES))
    assert counted == published
