"""Sentence embeddings: a vector for a text, near to those of texts that mean the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from autocompress.anatomy.heads import EMBEDDING
from autocompress.certainty import RowScores
from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import parsed_metric
from autocompress.inputs.examples import Batch, Examples, Rows
from autocompress.reading import read_labelled
from autocompress.tasks.loading import about_cut, single_texts, tokenized
from autocompress.tasks.metrics import Metric, of_amounts, of_ranks
from autocompress.tasks.splitting import Pool, split
from autocompress.tasks.task import Outputs, Reduction, Score, Task
from autocompress.tasks.tokenization import open_tokenization

_SAME = 0.999
"""Two vectors are the same whose cosine is at least this."""


@final
@dataclass(frozen=True, slots=True)
class SentenceEmbeddings(Task):
    """Pairs of texts with an amount of how much they have in common. A model reads one text at a time: rows come one
    after another, the first of a pair, then the second. Its output is the mean of the last layer over tokens, brought
    to length 1; a product of two is their cosine.

    A teacher is taken as it is, and its students learn its vectors: nothing is known of a single text but those.
    """

    kind: ClassVar[str] = "sentence-embeddings"
    head: ClassVar[str] = EMBEDDING
    answer: ClassVar[str] = "vector"

    @classmethod
    def load(
        cls,
        spec: TaskSpec,
        files: Mapping[str, Path],
        tokenizer_folder: Path,
        *,
        labels: Sequence[str] | None = None,  # noqa: ARG003 - a vector has none
        rows: int | None = None,
        types: int = 1,  # noqa: ARG003 - one text at a time
        config: Any = None,  # noqa: ARG003 - rows are texts
    ) -> Self:
        data = read_labelled(spec.data, files, "amount")
        tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length, rows=rows)
        pools, read, notes = {}, {}, list(data.notes)
        for name, part in data.parts.items():
            texts = [text for pair in part.texts for text in pair]
            amounts = np.repeat(np.array(part.labels, dtype=np.float32), 2)
            read[name] = tokenized(tokenization, texts, amounts)
            notes += tokenization.readable(read[name].tokens, part.where)
            keys = [ids.tobytes() for ids in read[name].tokens]
            both = tuple(first + b"|" + second for first, second in zip(keys[::2], keys[1::2], strict=True))
            pools[name] = Pool(part, np.zeros(len(part), dtype=np.int64), both)
        splits = split(spec.data, pools, (), of_classes=False)
        examples = {
            name: read[part].take(np.stack([2 * places, 2 * places + 1], axis=1).ravel())
            for name, (part, places) in splits.places.items()
        }
        cut = about_cut(examples, tokenization.files)
        return cls(str(spec.scored), (), examples, tokenization.files, (*notes, *splits.notes, *cut))

    @staticmethod
    def classes(spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        read_labelled(spec.data, files, "amount")
        return ()

    @staticmethod
    def unlabelled(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
        return single_texts(spec, texts, tokenizer_folder, np.zeros(len(texts), dtype=np.float32))

    def loss(
        self,
        outputs: Tensor,
        targets: Tensor,
        *,
        label_smoothing: float = 0.0,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """Nothing, so that `hard_weight` has nothing to add."""
        return outputs.float().sum() * 0.0

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        """The squared distance of vectors, and that of the cosines between all texts of a batch."""
        ours, theirs = outputs.float(), teacher.float()
        apart = (ours - theirs).square().sum(-1).mean()
        return apart + (ours @ ours.T - theirs @ theirs.T).square().mean()

    def importance_loss(self, outputs: Tensor, batch: Batch) -> Tensor:
        """The product with a random direction for each text: the squares of its gradients sum up to the Fisher
        information of a vector with normal noise."""
        directions = np.random.default_rng(int(batch.rows[0])).standard_normal(tuple(outputs.shape))
        return (outputs.float() * outputs.new_tensor(directions)).sum()

    def taught(self, outputs: Outputs, examples: Rows) -> NDArray[Any]:
        return np.zeros(len(outputs), dtype=np.float32)

    @property
    def scored(self) -> Metric:
        spec = parsed_metric(self.metric)
        return of_ranks(spec) if spec.name == "recall" else of_amounts(spec)

    def _predicted(self, outputs: Outputs) -> NDArray[np.float32]:
        """Of pairs: their cosines [pairs], or for recall the rank of the second among all seconds."""
        first, second = outputs[::2], outputs[1::2]
        if self.scored.spec.name != "recall":
            found: NDArray[np.float32] = (first * second).sum(axis=1)
            return found
        alike = first @ second.T
        ranks: NDArray[np.float32] = (alike > np.diag(alike)[:, None]).sum(axis=1).astype(np.float32)
        return ranks

    def score(self, outputs: Outputs, examples: Rows) -> Score:
        return self.scored.score(self._predicted(outputs), examples.labels[::2])

    def drop(self, outputs: Outputs, reference: Outputs, examples: Rows) -> Score:
        ours, theirs = self._predicted(outputs), self._predicted(reference)
        return self.scored.drop(ours, theirs, examples.labels[::2])

    def by_row(self, outputs: Outputs, examples: Rows) -> RowScores:
        """A row is a pair."""
        return self.scored.by_row(self._predicted(outputs), examples.labels[::2])

    def chance(self, examples: Rows) -> float:
        """Correlated with nothing, or drawn from all there are."""
        spec = self.scored.spec
        return min(1.0, (spec.k or 1) / (len(examples) // 2)) if spec.name == "recall" else 0.0

    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        return float(((outputs * others).sum(axis=1) >= _SAME).mean())

    def told(self, outputs: Outputs) -> tuple[str, float | None]:
        return f"a vector of {len(outputs)}", None

    def told_beside(self, outputs: Outputs, others: Outputs) -> str:
        return f"their cosine is {float((outputs * others).sum()):.3f}"
