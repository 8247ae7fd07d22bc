"""Which models can do with fewer words, and with which tokenizers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from autocompress.core.parts import ModelParts, Uses

SHRINKING: Final = (
    *("bert", "roberta", "xlm-roberta", "camembert", "data2vec-text", "electra", "ernie", "rembert"),
    *("distilbert", "mpnet", "albert", "deberta-v2", "modernbert", "eurobert"),
)
"""Families whose table of words may lose rows. Others read no words, or write them with the same table."""

KINDS: Final = ("BPE", "Unigram", "WordPiece")
"""Of tokenizers that can lose tokens and still read every text, as the tokenizers library calls them."""


def why_all_words(model: ModelParts) -> str:
    """What keeps a model's table of words as it is; empty where nothing does."""
    if model.family in SHRINKING:
        return ""
    return f"the words of a {model.family} cannot become fewer (allowed: {', '.join(SHRINKING)})"


def why_all_tokens(kind: object) -> str:
    """The same of a tokenizer of this kind."""
    if kind in KINDS:
        return ""
    return f"a tokenizer of the kind {kind} has no pieces to fall back on (allowed: {', '.join(KINDS)})"


def with_uses(model: ModelParts, uses: Uses) -> ModelParts:
    """The model with what is known of its first table."""
    done, parts = False, []
    for part in model.parts:
        if part.tables and not done:
            part, done = replace(part, tables=(replace(part.tables[0], uses=uses), *part.tables[1:])), True
        parts.append(part)
    return replace(model, parts=tuple(parts))


def words_in_use(model: ModelParts) -> list[str]:
    """What is known of its first table, in words."""
    return [
        f"words: training texts use {table.uses.used:,} of {table.rows:,}, with {table.uses.always:,} that always stay"
        f"; of the tokens of validation texts {table.uses.share(table.uses.used):.0%} are among these"
        for part in model.parts
        for table in part.tables
        if table.uses is not None
    ]
