"""What the outputs of an exported model mean to whoever asks it: one form for each kind of answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.inputs.spans import Meaning, spans, types_of
from autocompress.inputs.words import ReadWords


@dataclass(frozen=True, slots=True)
class Answer:
    """The likeliest label of a text, and the share of every label."""

    label: str
    shares: dict[str, float]


Form = Callable[[NDArray[np.float32], Mapping[str, Any], Sequence[ReadWords]], Sequence[Any]]
"""Outputs [rows, ...], what the manifest says of its task, and where words are outputs for tokens, into an answer a
row."""


def shares(outputs: NDArray[np.float32], about: Mapping[str, Any], _: Sequence[ReadWords] = ()) -> list[Answer]:
    """Of outputs [texts, labels]: their softmax."""
    raw, labels = outputs.astype(np.float64), tuple(about["labels"])
    if not len(raw):
        return []
    found = np.exp(raw - raw.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return [Answer(labels[int(row.argmax())], dict(zip(labels, map(float, row), strict=True))) for row in found]


@dataclass(frozen=True, slots=True)
class GivenLabels:
    """The labels that a text is given, and the share that speaks for each of all."""

    labels: tuple[str, ...]
    shares: dict[str, float]


def given_labels(
    outputs: NDArray[np.float32], about: Mapping[str, Any], _: Sequence[ReadWords] = ()
) -> list[GivenLabels]:
    """Of outputs [texts, labels]: those whose sigmoid reaches the label's threshold."""
    found, names, limits = 1 / (1 + np.exp(-outputs.astype(np.float64))), about["labels"], about["thresholds"]
    return [
        GivenLabels(
            tuple(name for name, share, limit in zip(names, row, limits, strict=True) if share >= limit),
            dict(zip(names, map(float, row), strict=True)),
        )
        for row in found
    ]


def amounts(outputs: NDArray[np.float32], *_: Any) -> list[float]:
    """Of outputs [texts, 1]."""
    return [float(row[0]) for row in outputs]


def vectors(outputs: NDArray[np.float32], *_: Any) -> list[NDArray[np.float32]]:
    """Of outputs [texts, hidden]: as they are, of length 1, so that the product of two is their cosine."""
    return list(outputs)


@dataclass(frozen=True, slots=True)
class Span:
    """Words that belong together, and to what: they begin with character `start` of the text and end before `end`; of
    what was asked word by word, these count words. `share` is how sure the model is of their tags, a mean over words.
    """

    label: str
    share: float
    text: str
    start: int
    end: int


def found_spans(
    outputs: NDArray[np.float32], about: Mapping[str, Any], read: Sequence[ReadWords]
) -> list[tuple[Span, ...]]:
    """Of outputs [texts, longest, tags]: a word has the likeliest tag of its first token (`inputs.spans` says what tags
    make together). What a text is cut off of has none."""
    meant = [(str(letter), str(kind)) for letter, kind in about["tags"]]
    return [_spans_of(row, one, meant) for row, one in zip(outputs, read, strict=True)]


def _spans_of(outputs: NDArray[np.float32], read: ReadWords, meant: Sequence[Meaning]) -> tuple[Span, ...]:
    words = [word for word, place in enumerate(read.places) if place >= 0]
    if not words:
        return ()
    raw = outputs[[read.places[word] for word in words]].astype(np.float64)
    sure = np.exp(raw - raw.max(axis=1, keepdims=True))
    sure /= sure.sum(axis=1, keepdims=True)
    tags, kinds, found = sure.argmax(axis=1), types_of(meant), []
    for _, kind, first, last in spans(tags, np.zeros(len(tags), dtype=np.int64), meant):
        begin, end = read.bounds[words[first]][0], read.bounds[words[last]][1]
        ends = (words[first], words[last] + 1) if read.given_words else (begin, end)
        share = float(sure[first : last + 1].max(axis=1).mean())
        found.append(Span(kinds[kind], share, read.text[begin:end], *ends))
    return tuple(found)


FORMS: Final[Mapping[str, Form]] = {
    "share": shares,
    "labels": given_labels,
    "amount": amounts,
    "vector": vectors,
    "spans": found_spans,
}
"""By the name that a task gives its answers."""
