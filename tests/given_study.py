"""A user's own small project: a BERT of two layers with its tokenizer, a CSV of labelled texts, a study file."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any, Final

import torch
import yaml

from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.tasks import TextClassification

WORDS = {
    "sports": ["goal", "team", "match", "coach", "league"],
    "food": ["bread", "soup", "spice", "oven", "salad"],
    "travel": ["train", "hotel", "beach", "ticket", "border"],
}
FILLERS = ["the", "a", "we", "saw", "very", "good", "and", "then", "some", "more"]

CUTS: Final[dict[str, Any]] = {
    "name": "cuts",
    "version": 1,
    "steps": [
        {"operator": "remove_layer", "target": "layers.*", "optional": True},
        {"operator": "prune_heads", "target": "layers.*.attention", "knobs": {"heads": {"choices": ["50%", "100%"]}}},
        {
            "operator": "prune_channels",
            "target": "layers.*.feed_forward",
            "knobs": {"channels": {"low": 16, "high": 64, "step": 16}},
            "settings": {"importance": "magnitude"},
        },
    ],
}
"""A space in which every finalist is trained: one that is only rounded keeps the teacher's weights as they are."""


BOARD: Final = """
name: board
version: 1
source: datasheet
description: a board that is not here
fingerprint: {}
runtime: {name: onnxruntime, version: any}
measured_on: '2026-01-01'
cost: {gmacs_fp32: 2.0, gbytes_per_second: 4.0, spread: 0.5, threads: 1, ms_per_layer: 0.2, ms_base: 0.1}
"""
"""A device that is not here: what is searched for is counted, and latency predicted."""


def write_data(path: Path, *, rows: int = 240) -> None:
    """Texts whose class is that of the one telling word in them."""
    generator = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(rows):
            label = generator.choice(sorted(WORDS))
            words = [*generator.choices(FILLERS, k=generator.randint(3, 9)), generator.choice(WORDS[label])]
            generator.shuffle(words)
            writer.writerow([f"{' '.join(words)} {number}", label])


def write_model(folder: Path, *, head: bool) -> None:
    """A model with random weights; with `head`, a classifier that somebody fine-tuned (here: not very well)."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import AutoModel, AutoModelForSequenceClassification, BertConfig, PreTrainedTokenizerFast

    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *FILLERS, *(word for group in WORDS.values() for word in group)]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(str(folder))
    config = BertConfig(
        vocab_size=len(words),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        num_labels=len(WORDS),
        id2label=dict(enumerate(sorted(WORDS))),
        label2id={name: i for i, name in enumerate(sorted(WORDS))},
    )
    torch.manual_seed(0)
    maker: Any = AutoModelForSequenceClassification if head else AutoModel
    maker.from_config(config).save_pretrained(str(folder))


def write_telling_model(folder: Path) -> None:
    """A fine-tuned model whose weights are set by hand: it answers every text of `write_data`, and so does whatever is
    cut from it while a layer is left. Classes are told by wide margins, so that no processor's rounding changes one.

    Every head sees all: each slice of the hidden state holds the same, a one for any token and a one for its class,
    where it has one. Attention looks everywhere alike and hands on what it sees; the feed-forward blocks add nothing.
    """
    from transformers import AutoModelForSequenceClassification

    write_model(folder, head=True)
    model: Any = AutoModelForSequenceClassification.from_pretrained(str(folder))
    hidden, heads = model.config.hidden_size, model.config.num_attention_heads
    anything, *classes = torch.eye(hidden // heads).repeat(1, heads)[: 1 + len(WORDS)]
    of_words = [sorted(WORDS).index(name) for name, words in WORDS.items() for _ in words]
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "LayerNorm" not in name and not name.endswith("intermediate.dense.weight"):
                tensor.zero_()
        embeddings = model.bert.embeddings.word_embeddings.weight
        embeddings.copy_(anything.expand_as(embeddings))
        embeddings[-len(of_words) :] += torch.stack([classes[label] for label in of_words])
        for layer in model.bert.encoder.layer:
            layer.attention.self.value.weight.copy_(torch.eye(hidden))
            layer.attention.output.dense.weight.copy_(torch.eye(hidden))
        model.bert.pooler.dense.weight.copy_(torch.eye(hidden))
        model.classifier.weight.copy_(torch.stack(classes))
    model.save_pretrained(str(folder))


def write_study(folder: Path, *, name: str = "mine", **changes: Any) -> Path:
    """The study file; `changes` replace its top-level keys."""
    tree: dict[str, Any] = {
        "name": name,
        "version": 1,
        "model": {"path": "model"},
        "task": {"max_length": 16, "data": {"source": {"path": "texts.csv"}, "format": "csv"}},
        "space": {
            "name": "tiny",
            "version": 1,
            "steps": [
                {"operator": "remove_layer", "target": "layers.*", "optional": True},
                {
                    "operator": "prune_heads",
                    "target": "layers.*.attention",
                    "knobs": {"heads": {"choices": ["50%", "100%"]}},
                },
                {
                    "operator": "prune_channels",
                    "target": "layers.*.feed_forward",
                    "knobs": {"channels": {"low": 16, "high": 64, "step": 16}},
                    "settings": {"importance": "magnitude"},
                },
                {"operator": "quantize", "target": "layers.*", "per": "step", "knobs": {"bits": {"choices": [8, 32]}}},
            ],
        },
        "device": "host",
        "workload": {"batch": 1, "length": 16, "threads": 1},
        "objectives": {"quality": "maximize", "latency_ms": "minimize", "size_mb": "minimize"},
        "budget": {"trials": 14},
        "teacher": {"epochs": 16, "batch_size": 16, "learning_rate": 3.0e-3},
        "elastic": {"steps": 40, "batch_size": 16, "learning_rate": 1.0e-3},
        "finalists": {"count": 2, "training": {"epochs": 2, "batch_size": 16, "learning_rate": 5.0e-3}},
        "export": {"form": "written"},  # the other takes a trace of seconds
        "seed": 0,
    }
    tree |= changes
    if isinstance(asked := tree["finalists"], dict):
        tree["finalists"] = {"uncut": False, **asked}  # one more to export and to time in each of many studies
    path = folder / f"{name}.yaml"
    path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")
    return path


CLASSES = TextClassification("accuracy", ("a", "b", "c"), {}, TokenizerFiles("{}", {}, longest=12, pad=0))
"""The losses of classes."""
