"""What the outputs of an exported model mean to whoever asks it: one form for each kind of answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Answer:
    """The likeliest label of a text, and the share of every label."""

    label: str
    shares: dict[str, float]


Form = Callable[[NDArray[np.float32], Mapping[str, Any]], Sequence[Any]]
"""Outputs [rows, ...], and what the manifest says of its task, into an answer a row."""


def shares(outputs: NDArray[np.float32], about: Mapping[str, Any]) -> list[Answer]:
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


def given_labels(outputs: NDArray[np.float32], about: Mapping[str, Any]) -> list[GivenLabels]:
    """Of outputs [texts, labels]: those whose sigmoid reaches the label's threshold."""
    found, names, limits = 1 / (1 + np.exp(-outputs.astype(np.float64))), about["labels"], about["thresholds"]
    return [
        GivenLabels(
            tuple(name for name, share, limit in zip(names, row, limits, strict=True) if share >= limit),
            dict(zip(names, map(float, row), strict=True)),
        )
        for row in found
    ]


def amounts(outputs: NDArray[np.float32], _: Mapping[str, Any]) -> list[float]:
    """Of outputs [texts, 1]."""
    return [float(row[0]) for row in outputs]


def vectors(outputs: NDArray[np.float32], _: Mapping[str, Any]) -> list[NDArray[np.float32]]:
    """Of outputs [texts, hidden]: as they are, of length 1, so that the product of two is their cosine."""
    return list(outputs)


FORMS: Final[Mapping[str, Form]] = {"share": shares, "labels": given_labels, "amount": amounts, "vector": vectors}
"""By the name that a task gives its answers."""
