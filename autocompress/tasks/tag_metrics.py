"""Scores of tags: of whole spans, or of words; with intervals by rows, as the words of a row hang together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.certainty import RowScores, resampled
from autocompress.core.scores import MetricSpec
from autocompress.errors import SpecError
from autocompress.inputs.outputs import IGNORED
from autocompress.inputs.spans import Meaning, has_spans, meanings, spans, strange_tags
from autocompress.tasks.metrics import within
from autocompress.tasks.task import Score

_SHOWN: Final = 5

Tags = NDArray[np.int64]
"""[rows, longest]: a tag's number for each token; what is true is `IGNORED` where no word begins."""


@dataclass(frozen=True, slots=True)
class TagMetric:
    """A score of tags by their numbers in `meant`. It is a quotient of sums over rows: of twice the spans that both
    have by those that either has (F1), or of right words by words. So it is computed from what each row adds to the
    two, and a bootstrap of rows is sums, too."""

    spec: MetricSpec
    meant: tuple[Meaning, ...]

    def value(self, predicted: Tags, truth: Tags) -> float:
        """0 where there is nothing to find, and nothing was found."""
        return self.by_row(predicted, truth).score()

    def score(self, predicted: Tags, truth: Tags) -> Score:
        rows = self.by_row(predicted, truth)
        return within(rows.score(), resampled([rows])[:, 0])

    def drop(self, predicted: Tags, reference: Tags, truth: Tags) -> Score:
        """The reference's score less that of the predictions, with an interval of paired rows."""
        ours, theirs = self.by_row(predicted, truth), self.by_row(reference, truth)
        drawn = resampled([theirs, ours])
        return within(theirs.score() - ours.score(), drawn[:, 0] - drawn[:, 1])

    def by_row(self, predicted: Tags, truth: Tags) -> RowScores:
        return RowScores("quotient", self.parts(predicted, truth).astype(np.float32))

    def parts(self, predicted: Tags, truth: Tags) -> NDArray[np.int64]:
        """[rows, 2]: what each row adds above and below the line."""
        places = np.nonzero(truth != IGNORED)
        rows, true, guessed = places[0], truth[places], predicted[places]
        if self.spec.name == "accuracy":
            return np.stack([_by_row(rows[true == guessed], len(truth)), _by_row(rows, len(truth))], axis=1)
        both = [spans(tags, rows, self.meant) for tags in (true, guessed)]
        hits = _shared(*both, words=len(rows))
        below = sum(_by_row(found[:, 0], len(truth)) for found in both)
        return np.stack([2 * _by_row(hits, len(truth)), below], axis=1)


def _shared(true: NDArray[np.int64], guessed: NDArray[np.int64], *, words: int) -> NDArray[np.int64]:
    """The rows of the spans that both have. Two spans of one tagging begin at different words, so that the first word
    and the type and the last word tell them apart."""
    keys = [(found[:, 1] * words + found[:, 2]) * words + found[:, 3] for found in (true, guessed)]
    rows: NDArray[np.int64] = guessed[np.isin(keys[1], keys[0]), 0]
    return rows


def _by_row(rows: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    found: NDArray[np.int64] = np.bincount(rows, minlength=count)
    return found


def of_tags(spec: MetricSpec, tags: Sequence[str]) -> TagMetric:
    """Raises SpecError where spans are asked for and tags make none, or for another metric."""
    if spec.name not in ("span-f1", "accuracy"):
        raise SpecError(f"task.metric: {spec.name} does not score tags")
    if spec.name == "span-f1" and not has_spans(tags):
        strange = strange_tags(tags)
        shown = ", ".join(map(repr, strange[:_SHOWN])) + (", ..." if len(strange) > _SHOWN else "")
        numbers = all(tag.lstrip("-").isdigit() for tag in tags)
        hint = (
            "these are numbers without names: write the names into the data, or give them as the `datasets` library "
            "saves them, with its ClassLabel"
            if numbers
            else "write `task.metric: accuracy` where each word's tag stands for itself, as parts of speech do"
        )
        raise SpecError(
            f"task.metric: span-f1 is of spans, and {len(strange)} of {len(tags)} tags make none ({shown}); tags of "
            f"spans are O and B-NAME, I-NAME (also E-, S-, L-, U-); {hint}"
        )
    return TagMetric(spec, meanings(tags))
