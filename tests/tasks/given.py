"""Small data of every task, and a model that reads pairs."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any, Final

from tests.given_study import FILLERS, WORDS, write_model

ROWS: Final = 160
NAMES: Final = sorted(WORDS)


def write_pair_model(folder: Path) -> None:
    """The tiny model with a tokenizer that tells the texts of a pair apart."""
    from tokenizers import Tokenizer, processors

    write_model(folder, head=False)
    path = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(path))


def _text(generator: random.Random, number: int, *told: str) -> str:
    words = [*generator.choices(FILLERS, k=generator.randint(2, 4)), *told]
    generator.shuffle(words)
    return f"{' '.join(words)} {number}"


def _word(generator: random.Random, name: str) -> str:
    return generator.choice(WORDS[name])


def row(kind: str, number: int) -> dict[str, Any]:
    """One row of a task: what is told is which words of which group its texts hold."""
    generator = random.Random(number)
    if kind == "sentence-pairs":
        first, second = generator.choice(NAMES), generator.choice(NAMES)
        texts = [_text(generator, number, _word(generator, name)) for name in (first, second)]
        return {"text": texts[0], "text_pair": texts[1], "label": "same" if first == second else "other"}
    if kind == "regression":
        count = generator.randrange(4)
        told = [_word(generator, NAMES[0]) for _ in range(count)]
        return {"text": _text(generator, number, *told), "label": count + 0.5}
    if kind == "sentence-embeddings":
        first, second = generator.choice(NAMES), generator.choice(NAMES)
        texts = [_text(generator, number, *(_word(generator, name) for _ in range(3))) for name in (first, second)]
        return {"text": texts[0], "text_pair": texts[1], "label": 5.0 if first == second else generator.random()}
    if kind == "token-classification":
        words, tags = [], []
        for _ in range(generator.randint(1, 3)):
            name = generator.choice(NAMES)
            told = [_word(generator, name) for _ in range(generator.randint(1, 2))]
            others = generator.choices(FILLERS, k=generator.randint(1, 2))
            words += [*others, *told]
            tags += [*("O" for _ in others), *(f"{letter}-{name}" for letter, _ in zip("BI", told, strict=False))]
        return {"text": [*words, str(number)], "label": [*tags, "O"]}
    if kind == "multi-label":
        given = [name for name in NAMES if generator.random() < 0.4]
        return {"text": _text(generator, number, *(_word(generator, name) for name in given)), "label": given}
    raise ValueError(kind)


def write_rows(path: Path, kind: str, *, rows: int = ROWS, **changes: Any) -> None:
    """As lines of JSON; `changes` are put into the fourth."""
    found = [row(kind, number) for number in range(rows)]
    found[3] |= changes
    path.write_text("".join(json.dumps(one) + "\n" for one in found), encoding="utf-8")
