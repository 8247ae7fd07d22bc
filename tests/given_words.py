"""Tokenizers of every kind that may lose tokens, and a model that reads with one of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from autocompress.inputs.tokenizer import TokenizerFiles
from tests.given_study import FILLERS, WORDS, write_model

SPECIAL: Final = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
KNOWN: Final = (*FILLERS, *(word for group in WORDS.values() for word in group))
"""What training texts are made of."""
UNUSED: Final = ("goals", "teams", "matchbox", "coaches", "soups", "spices", "trains", "hotels", "beaches", "tickets")


def tokenizer(kind: str) -> Tokenizer:
    """It knows the words of texts and others, and the characters of both."""
    made: Any
    if kind == "WordPiece":
        letters = sorted({letter for word in (*KNOWN, *UNUSED, "0123456789") for letter in word})
        pieces = ["##ing", "##s", *(f"##{letter}" for letter in letters if letter != "s")]
        words = dict.fromkeys((*SPECIAL, *UNUSED, *KNOWN, *letters, *pieces))
        made = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
        made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    elif kind == "BPE":
        made = Tokenizer(models.BPE())
        made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=True), decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=list(SPECIAL), initial_alphabet=alphabet)
        made.train_from_iterator([*KNOWN, *UNUSED] * 3, trainer)
    else:
        pieces = [(f"\u2581{word}", -4.0 - place / 100) for place, word in enumerate((*KNOWN, *UNUSED))]
        letters = sorted({letter for word in (*KNOWN, *UNUSED, "\u25810123456789") for letter in word})
        vocabulary = [*((token, 0.0) for token in SPECIAL), *pieces, *((letter, -9.0) for letter in letters)]
        made = Tokenizer(models.Unigram(vocabulary, unk_id=1))
        made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(token, made.token_to_id(token)) for token in ("[CLS]", "[SEP]")],
    )
    return made


def files(kind: str, *, longest: int = 32) -> TokenizerFiles:
    return TokenizerFiles(tokenizer(kind).to_str(), {}, longest, 0)


def write_piece_model(folder: Path) -> int:
    """The tiny model with a tokenizer of words and pieces; returns how many tokens it knows."""
    from transformers import AutoConfig, AutoModel

    write_model(folder, head=False)
    made = tokenizer("WordPiece")
    made.save(str(folder / "tokenizer.json"))
    config = AutoConfig.from_pretrained(str(folder))
    config.vocab_size = made.get_vocab_size()
    torch.manual_seed(0)
    AutoModel.from_config(config).save_pretrained(str(folder))
    return int(config.vocab_size)


def kind_of(definition: str) -> str:
    return str(json.loads(definition)["model"]["type"])
