"""Token classification: a tag for each word, as for names, quantities or parts of speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final, Self, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autocompress.anatomy.heads import TOKENS
from autocompress.certainty import RowScores
from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import parsed_metric
from autocompress.errors import SpecError
from autocompress.inputs.examples import Batch, Examples, Rows
from autocompress.inputs.outputs import IGNORED
from autocompress.inputs.spans import OUTSIDE, meanings
from autocompress.reading import ALL, read_labelled
from autocompress.reading import Rows as LabelledRows
from autocompress.tasks.classes import softened
from autocompress.tasks.splitting import Pool, split
from autocompress.tasks.tag_metrics import TagMetric, of_tags
from autocompress.tasks.task import Outputs, Problem, Reduction, Score, Task
from autocompress.tasks.tokenization import open_tokenization
from autocompress.tasks.word_reading import about_words, of_words

_SAME: Final = 8
"""So many tags are named in a message."""


@final
@dataclass(frozen=True, slots=True)
class TokenClassification(Task):
    """Rows of words with a tag each; an output a tag, for every token. A word is told by its first token, and the
    others count for nothing: labels are [rows, longest], with a tag's number where a word begins and `IGNORED`
    elsewhere. Words of a row that is too long have none and are told.

    The score is of spans of words, by conlleval's rule (`inputs.spans`), or of words."""

    kind: ClassVar[str] = "token-classification"
    head: ClassVar[str] = TOKENS
    answer: ClassVar[str] = "spans"
    problem: ClassVar[Problem] = "tags"

    @classmethod
    def load(
        cls,
        spec: TaskSpec,
        files: Mapping[str, Path],
        tokenizer_folder: Path,
        *,
        labels: Sequence[str] | None = None,
        rows: int | None = None,
        types: int = 1,  # noqa: ARG003 - one text at a time
        config: Any = None,  # noqa: ARG003 - texts
    ) -> Self:
        data = read_labelled(spec.data, files, "tags")
        names = tuple(labels or data.classes)
        of_tags(spec.scored, names)
        learned = data.parts.get("train") or data.parts[ALL]
        for part in data.parts.values():
            _check_tags(part, names, learned)
        tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length, rows=rows)
        places = {name: number for number, name in enumerate(names)}
        pools, read, notes, counted = {}, {}, list(data.notes), []
        for name, part in data.parts.items():
            numbers = [np.array([places[tag] for tag in tags], dtype=np.int64) for tags in part.labels]
            found = of_words(tokenization, part.texts, numbers, where=part.where)
            kept = part.take(found.kept)
            read[name] = found.examples
            counted.append(found)
            notes += tokenization.readable(found.examples.tokens, part.where)
            pools[name] = Pool(
                kept, np.zeros(len(kept), dtype=np.int64), tuple(ids.tobytes() for ids in found.examples.tokens)
            )
        splits = split(spec.data, pools, (), of_classes=False)
        examples = {name: read[part].take(rows_of) for name, (part, rows_of) in splits.places.items()}
        told = about_words(counted, tokenization.files)
        return cls(str(spec.scored), names, examples, tokenization.files, (*notes, *splits.notes, *told))

    @staticmethod
    def classes(spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        return tuple(read_labelled(spec.data, files, "tags").classes)

    @staticmethod
    def unlabelled(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
        """Their words are those that the tokenizer tells apart."""
        tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length)
        return of_words(tokenization, texts, None, where="finalists.transfer.texts").examples

    @property
    def pairs(self) -> bool:
        return False

    # Training

    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """The cross-entropy of the tokens that words begin with. Targets may be longer than a batch is."""
        return functional.cross_entropy(
            outputs.float().flatten(0, 1),
            targets[:, : outputs.shape[1]].flatten(),
            ignore_index=IGNORED,
            label_smoothing=label_smoothing,
            reduction=reduction,
        )

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """As of classes, a mean over the same tokens."""
        length = outputs.shape[1]
        counted = batch.targets[:, :length] != IGNORED
        return softened(outputs[counted], teacher[:, :length][counted], temperature=temperature)

    def taught(self, outputs: Outputs, examples: Rows) -> NDArray[np.int64]:
        found = np.full_like(examples.labels, IGNORED)
        found[:, : outputs.shape[1]] = outputs.argmax(axis=-1)
        found[examples.labels == IGNORED] = IGNORED
        return found

    # Judging

    @property
    def scored(self) -> TagMetric:
        return of_tags(parsed_metric(self.metric), self.labels)

    def score(self, outputs: Outputs, examples: Rows) -> Score:
        return self.scored.score(outputs.argmax(axis=-1), examples.labels)

    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        return self.scored.drop(outputs.argmax(axis=-1), reference.argmax(axis=-1), examples.labels)

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores:
        return self.scored.by_row(outputs.argmax(axis=-1), examples.labels)

    def chance(self, examples: Rows) -> float:
        """The tag that scores best where every word has it."""
        alike = (np.full_like(examples.labels, tag) for tag in range(len(self.labels)))
        return max(self.scored.value(same, examples.labels) for same in alike)

    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        """Of tokens: what is 0 throughout is none."""
        real = (outputs != 0).any(axis=-1) | (others != 0).any(axis=-1)
        return float((outputs.argmax(axis=-1) == others.argmax(axis=-1))[real].mean())

    def told(self, outputs: Outputs) -> tuple[str, float]:
        """The tags of its tokens, each once, and how sure the model is of the least sure one."""
        logits = outputs[(outputs != 0).any(axis=-1)].astype(np.float64)
        shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
        shares /= shares.sum(axis=-1, keepdims=True)
        names = dict.fromkeys(self.labels[tag] for tag in shares.argmax(axis=-1) if self.labels[tag] != OUTSIDE)
        return ", ".join(names) or OUTSIDE, float(shares.max(axis=-1).min())

    def about(self) -> dict[str, Any]:
        return {**Task.about(self), "tags": [list(meant) for meant in meanings(self.labels)]}


def _check_tags(part: LabelledRows, names: Sequence[str], learned: LabelledRows) -> None:
    """Raises SpecError for tags of a type that the training rows do not have, naming their rows. A letter may be new: a
    name of two words that stands in validation data alone is nobody's mistake."""
    kinds = {tag: kind or OUTSIDE for tag, (_, kind) in zip(names, meanings(names), strict=True)}
    known = {kinds.get(tag) for tags in learned.labels for tag in tags}
    strange = {
        tag: row for row, tags in reversed(list(enumerate(part.labels))) for tag in tags if kinds.get(tag) not in known
    }
    if strange:
        told = sorted(kind for kind in known if kind and kind != OUTSIDE)
        raise SpecError(
            f"{part.where}: tags {sorted(strange)[:_SAME]} are unknown to the training rows, which know "
            f"{', '.join(told[:_SAME])}{', ...' if len(told) > _SAME else ''} ({part.told(sorted(strange.values()))})"
        )
