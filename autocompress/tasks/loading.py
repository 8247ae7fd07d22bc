"""Rows of texts, or of pairs of texts, as a study's files hold them: tokenized and split."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from autocompress.core.data_spec import TaskSpec
from autocompress.errors import SpecError
from autocompress.inputs.examples import Examples, Rows
from autocompress.inputs.row_files import RowFiles
from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.reading import Labelled
from autocompress.tasks.splitting import Pool, split
from autocompress.tasks.tokenization import Tokenization, open_tokenization

Numbers = Callable[[Sequence[Any]], NDArray[Any]]
"""What rows are labelled with -> what a loss and a score are given, rows first."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What every task is made of, its labels apart."""

    splits: Mapping[str, Rows]
    reading: RowFiles
    notes: tuple[str, ...]


def loaded(
    spec: TaskSpec,
    data: Labelled,
    tokenizer_folder: Path,
    numbers: Numbers,
    *,
    classes: Sequence[str] = (),
    rows: int | None = None,
    types: int = 1,
) -> Loaded:
    """Tokenizes and splits: class by class where there are `classes`, of which `numbers` are the places. `rows` are
    those of the model's embedding, `types` the kinds of token that it tells apart. Raises SpecError as `Task.load`."""
    tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length, rows=rows)
    pools, read, notes = {}, {}, list(data.notes)
    for name, part in data.parts.items():
        read[name] = tokenized(tokenization, part.texts, numbers(part.labels), types=types)
        notes += tokenization.readable(read[name].tokens, part.where)
        kinds = read[name].labels if classes else np.zeros(len(part), dtype=np.int64)
        pools[name] = Pool(part, kinds, tuple(ids.tobytes() for ids in read[name].tokens))
    splits = split(spec.data, pools, classes, of_classes=bool(classes))
    examples = {name: read[part].take(places) for name, (part, places) in splits.places.items()}
    cut = about_cut(examples, tokenization.files)
    return Loaded(examples, tokenization.files, (*notes, *splits.notes, *cut))


def unlabelled_texts(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
    """Texts as the task's model reads them, without those that it reads nothing in. The labels, -1, mean nothing.
    Raises SpecError for a task of pairs."""
    if spec.data.text_pair is not None:
        raise SpecError(
            "finalists.transfer.texts: must be left out, as rows of this task are pairs of texts and these are single "
            "ones; `finalists.transfer.copies` varies the pairs there are"
        )
    return single_texts(spec, texts, tokenizer_folder, np.full(len(texts), -1, dtype=np.int64))


def single_texts(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path, labels: NDArray[Any]) -> Examples:
    """Texts with these labels as a model reads them one at a time, without those that it reads nothing in."""
    tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length)
    (nothing,) = tokenization([""])
    found = tokenized(tokenization, texts, labels)
    return found.take([row for row, ids in enumerate(found.tokens) if len(ids) > len(nothing)])


def tokenized(tokenization: Tokenization, texts: Sequence[Any], labels: NDArray[Any], *, types: int = 1) -> Examples:
    """Texts or pairs with their tokens; types of tokens for a model that tells them apart."""
    pad = tokenization.files.pad
    if not texts or isinstance(texts[0], str):
        return Examples(tuple(texts), tuple(tokenization(texts)), labels, pad)
    ids, kinds = tokenization.pairs(texts)
    return Examples(tuple(texts), tuple(ids), labels, pad, tuple(kinds) if types > 1 else None)


def about_cut(examples: Mapping[str, Examples], tokenizer: TokenizerFiles) -> list[str]:
    """How many texts are longer than the model reads."""
    reader, longest = replace(tokenizer, longest=tokenizer.longest + 1).opened(), tokenizer.longest
    cut = {}
    for name, part in examples.items():
        full = [text for text, ids in zip(part.texts, part.tokens, strict=True) if len(ids) >= longest]
        read = reader(full) if not full or isinstance(full[0], str) else reader.pairs(full)[0]
        cut[name] = sum(len(ids) > longest for ids in read)
    if not any(cut.values()):
        return []
    texts, together = sum(map(len, examples.values())), sum(cut.values())
    told = ", ".join(f"{cut[name]} of {len(part)} for {name}" for name, part in examples.items())
    return [
        f"{together} of {texts} texts ({together / texts:.0%}) are longer than {longest} tokens (task.max_length) and "
        f"are cut there: {told}"
    ]
