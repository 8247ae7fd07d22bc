"""Text classification: the splits, and how predictions are scored."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from autocompress.core.data_spec import TaskSpec
from autocompress.deploy.tokenizer import TokenizerFiles
from autocompress.errors import SpecError
from autocompress.reading import ALL, Rows, ordered, read_labelled
from autocompress.tasks.examples import Examples
from autocompress.tasks.splitting import Pool, split
from autocompress.tasks.tokenization import Tokenization, open_tokenization

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
    files: Mapping[str, Path],
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
    data = read_labelled(spec.data, files)
    names = tuple(labels or data.classes)
    known = set(names if labels else (data.parts.get("train") or data.parts[ALL]).labels)
    for part in data.parts.values():
        _check_labels(part, known, "the model" if labels else "the training texts")
    tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length, rows=rows)
    numbers = {name: number for number, name in enumerate(names)}
    pools, read, notes = {}, {}, list(data.notes)
    for name, part in data.parts.items():
        read[name] = _tokenized(tokenization, part.texts, [numbers[label] for label in part.labels])
        notes += tokenization.readable(read[name].tokens, part.where)
        pools[name] = Pool(part, read[name].labels, tuple(ids.tobytes() for ids in read[name].tokens))
    splits = split(spec.data, pools, names)
    examples = {name: read[part].take(places) for name, (part, places) in splits.places.items()}
    cut = _about_cut(examples, tokenization.files)
    return TextClassification(spec.metric, names, examples, tokenization.files, (*notes, *splits.notes, *cut))


def _check_labels(part: Rows, known: set[str], whose: str) -> None:
    """Raises SpecError with the labels that are unknown, and their rows."""
    strange = {label: row for row, label in reversed(list(enumerate(part.labels))) if label not in known}
    if strange:
        raise SpecError(
            f"{part.where}: labels {sorted(strange)} are unknown to {whose}, which know {ordered(list(known))} "
            f"({part.told(sorted(strange.values()))})"
        )


def _about_cut(examples: Mapping[str, Examples], tokenizer: TokenizerFiles) -> list[str]:
    """How many texts are longer than the model reads."""
    reader, longest = replace(tokenizer, longest=tokenizer.longest + 1).opened(), tokenizer.longest
    cut = {}
    for name, part in examples.items():
        full = [text for text, ids in zip(part.texts, part.tokens, strict=True) if len(ids) >= longest]
        cut[name] = sum(len(ids) > longest for ids in reader(full))
    if not any(cut.values()):
        return []
    texts, together = sum(map(len, examples.values())), sum(cut.values())
    told = ", ".join(f"{cut[name]} of {len(part)} for {name}" for name, part in examples.items())
    return [
        f"{together} of {texts} texts ({together / texts:.0%}) are longer than {longest} tokens (task.max_length) and "
        f"are cut there: {told}"
    ]


def unlabelled_examples(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
    """Texts as the task's model reads them, without those that it reads nothing in. The labels, -1, mean nothing."""
    tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length)
    (nothing,) = tokenization([""])
    found = _tokenized(tokenization, texts, [-1] * len(texts))
    return found.take([row for row, ids in enumerate(found.tokens) if len(ids) > len(nothing)])


def _tokenized(tokenization: Tokenization, texts: Sequence[str], labels: Sequence[int]) -> Examples:
    return Examples(tuple(texts), tuple(tokenization(texts)), np.array(labels, dtype=np.int64), tokenization.files.pad)


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
