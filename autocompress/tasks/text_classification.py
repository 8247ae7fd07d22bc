"""Text classification: the splits, and how predictions are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autocompress.core.data_spec import TaskSpec
from autocompress.deploy.tokenizer import TokenizerFiles
from autocompress.errors import SpecError
from autocompress.tasks.examples import Examples
from autocompress.tasks.reading import read_rows
from autocompress.tasks.tokenization import Tokenization, open_tokenization

SPLITS = ("train", "validation", "test")
_RESAMPLES = 1000
_Z = 1.959964


@dataclass(frozen=True, slots=True)
class Score:
    """A score with its 95 % interval."""

    value: float
    interval: tuple[float, float]


@dataclass(frozen=True, slots=True)
class TextClassification:
    """Labelled texts in three splits that share no text. `tokenizer` turns texts into their tokens, in the study and in
    every exported folder; `notes` is what there is to say of the texts."""

    metric: str
    labels: tuple[str, ...]
    splits: dict[str, Examples]
    tokenizer: TokenizerFiles
    notes: tuple[str, ...] = ()

    def examples(self, split: str) -> Examples:
        return self.splits[split]

    def score(self, predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> Score:
        """Accuracy with Wilson's interval, or macro-averaged F1 with a bootstrap interval."""
        if self.metric == "accuracy":
            return accuracy(predicted, truth)
        return macro_f1(predicted, truth, classes=len(self.labels))

    def drop(self, predicted: NDArray[np.int64], reference: NDArray[np.int64], truth: NDArray[np.int64]) -> Score:
        """By how much a model scores below another one on the same texts. Pairing takes out what makes a text hard for
        both: the interval is narrower than the scores' own would have it. For accuracy it is that of Bonett and Price
        (2012), for macro-averaged F1 a bootstrap of texts."""
        if self.metric == "accuracy":
            return accuracy_drop(predicted, reference, truth)
        return macro_f1_drop(predicted, reference, truth, classes=len(self.labels))


def load_text_classification(
    spec: TaskSpec,
    path: Path,
    tokenizer_folder: Path,
    *,
    labels: Sequence[str] | None = None,
    rows: int | None = None,
) -> TextClassification:
    """Reads, splits and tokenizes. `labels` fixes the order of the classes (that of a model already fine-tuned), `rows`
    are those of the model's embedding.

    Raises SpecError when the data do not fit the spec, the labels, or are too few to split, and when the tokenizer
    cannot be deployed, is not the model's, or knows next to nothing of the texts.
    """
    pairs = read_rows(spec.data, path)
    found = sorted({label for _, label in pairs})
    names = list(labels or found)
    strange = sorted(set(found) - set(names))
    if strange:
        raise SpecError(f"{path}: labels {strange} are unknown to the model (it knows {names})")
    tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length, rows=rows)
    everything = _tokenized(tokenization, [text for text, _ in pairs], [names.index(label) for _, label in pairs])
    return TextClassification(
        spec.metric,
        tuple(names),
        _split(spec, path, everything, classes=len(names)),
        tokenization.files,
        tokenization.readable(everything.tokens, str(path)),
    )


def unlabelled_examples(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
    """Texts as the task's model reads them, without those that it reads nothing in. The labels, -1, mean nothing."""
    tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length)
    (nothing,) = tokenization([""])
    found = _tokenized(tokenization, texts, [-1] * len(texts))
    return found.take([row for row, ids in enumerate(found.tokens) if len(ids) > len(nothing)])


def _tokenized(tokenization: Tokenization, texts: Sequence[str], labels: Sequence[int]) -> Examples:
    return Examples(tuple(texts), tuple(tokenization(texts)), np.array(labels, dtype=np.int64), tokenization.files.pad)


def _split(spec: TaskSpec, path: Path, examples: Examples, *, classes: int) -> dict[str, Examples]:
    order = np.random.default_rng(spec.data.split_seed).permutation(len(examples))
    ends = np.rint(np.cumsum(spec.data.split) * len(examples)).astype(int)
    parts = np.split(order, ends[:-1])
    splits = {name: examples.take(rows) for name, rows in zip(SPLITS, parts, strict=True)}
    for name, part in splits.items():
        if len(part) < classes:
            raise SpecError(
                f"{path}: {len(examples)} texts leave {len(part)} for {name}; too few for {classes} classes"
            )
    if len(set(splits["train"].labels.tolist())) < classes:
        raise SpecError(f"{path}: the training split lacks a class; give more rows or another `split_seed`")
    return splits


def accuracy(predicted: NDArray[np.int64], truth: NDArray[np.int64]) -> Score:
    """Share of right answers, with Wilson's score interval (Wilson 1927)."""
    right, n, z = int((predicted == truth).sum()), len(truth), _Z
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    # at shares of 0 and 1 an end is the share itself, which rounding would miss by a bit
    return Score(share, (min(share, max(0.0, centre - half)), max(share, min(1.0, centre + half))))


def macro_f1(predicted: NDArray[np.int64], truth: NDArray[np.int64], *, classes: int) -> Score:
    """F1 averaged over classes, with a percentile bootstrap interval of 1,000 resamples (fixed seed)."""
    return _bootstrap(len(truth), lambda rows: _macro_f1(predicted[rows], truth[rows], classes))


def accuracy_drop(predicted: NDArray[np.int64], reference: NDArray[np.int64], truth: NDArray[np.int64]) -> Score:
    """Accuracy of the reference less that of the predictions, with the adjusted Wald interval of a difference of paired
    proportions (Bonett and Price 2012): one text more on which either alone is right."""
    lost = int(((reference == truth) & (predicted != truth)).sum())
    won = int(((reference != truth) & (predicted == truth)).sum())
    n = len(truth)
    ours, theirs = (won + 1) / (n + 2), (lost + 1) / (n + 2)
    half = _Z * math.sqrt((ours + theirs - (theirs - ours) ** 2) / (n + 2))
    return Score((lost - won) / n, (max(-1.0, theirs - ours - half), min(1.0, theirs - ours + half)))


def macro_f1_drop(
    predicted: NDArray[np.int64], reference: NDArray[np.int64], truth: NDArray[np.int64], *, classes: int
) -> Score:
    """Macro-averaged F1 of the reference less that of the predictions, with the interval of `macro_f1`."""

    def difference(rows: NDArray[np.int64]) -> float:
        return _macro_f1(reference[rows], truth[rows], classes) - _macro_f1(predicted[rows], truth[rows], classes)

    return _bootstrap(len(truth), difference)


def _bootstrap(count: int, score: Callable[[NDArray[np.int64]], float]) -> Score:
    """A score of all rows, with the percentiles of what it is of rows drawn from them (fixed seed)."""
    drawn = np.random.default_rng(0).integers(0, count, (_RESAMPLES, count))
    low, high = np.quantile([score(rows) for rows in drawn], [0.025, 0.975])
    whole = score(np.arange(count))
    return Score(whole, (min(whole, float(low)), max(whole, float(high))))


def _macro_f1(predicted: NDArray[np.int64], truth: NDArray[np.int64], classes: int) -> float:
    table = np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    hits = np.diag(table).astype(float)
    totals = table.sum(0) + table.sum(1)
    present = totals > 0
    return float((2 * hits[present] / totals[present]).mean())
