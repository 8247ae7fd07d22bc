"""Text classification: the splits, and how predictions are scored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from autocompress.core.data_spec import TaskSpec
from autocompress.core.scores import parsed_metric
from autocompress.deploy.tokenizer import TokenizerFiles
from autocompress.errors import SpecError
from autocompress.reading import ALL, Rows, ordered, read_labelled
from autocompress.tasks.examples import Batch, Examples
from autocompress.tasks.metrics import Metric, of_classes
from autocompress.tasks.splitting import Pool, split
from autocompress.tasks.task import Outputs, Reduction, Score, Task
from autocompress.tasks.tokenization import Tokenization, open_tokenization


@final
@dataclass(frozen=True, slots=True)
class TextClassification(Task):
    """Labelled texts; an output a class. The answer is the largest."""

    kind: ClassVar[str] = "text-classification"
    answer: ClassVar[str] = "share"

    @classmethod
    def load(
        cls,
        spec: TaskSpec,
        files: Mapping[str, Path],
        tokenizer_folder: Path,
        *,
        labels: Sequence[str] | None = None,
        rows: int | None = None,
    ) -> TextClassification:
        data = read_labelled(spec.data, files)
        names = tuple(labels or data.classes)
        of_classes(spec.scored, names)
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
        return cls(str(spec.scored), names, examples, tokenization.files, (*notes, *splits.notes, *cut))

    @staticmethod
    def classes(spec: TaskSpec, files: Mapping[str, Path]) -> tuple[str, ...]:
        return tuple(read_labelled(spec.data, files).classes)

    @staticmethod
    def unlabelled(spec: TaskSpec, texts: Sequence[str], tokenizer_folder: Path) -> Examples:
        """The labels, -1, mean nothing."""
        tokenization = open_tokenization(tokenizer_folder, longest=spec.max_length)
        (nothing,) = tokenization([""])
        found = _tokenized(tokenization, texts, [-1] * len(texts))
        return found.take([row for row, ids in enumerate(found.tokens) if len(ids) > len(nothing)])

    def loss(
        self, outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
    ) -> Tensor:
        """The cross-entropy of logits [texts, classes] and classes [texts]. `label_smoothing` spreads that share of a
        true label over all classes (Szegedy et al. 2016, section 7)."""
        return class_loss(outputs, targets, label_smoothing=label_smoothing, reduction=reduction)

    def soft_loss(self, outputs: Tensor, teacher: Tensor, batch: Batch, *, temperature: float) -> Tensor:
        return softened(outputs, teacher, temperature=temperature)

    def taught(self, outputs: Outputs) -> NDArray[np.int64]:
        found: NDArray[np.int64] = outputs.argmax(axis=1)
        return found

    def varied(self, examples: Examples, count: int) -> NDArray[np.int64]:
        """As many of each class as can be."""
        order = np.random.default_rng(0).permutation(len(examples))
        places = np.zeros(len(examples), dtype=np.int64)
        for label in np.unique(examples.labels):
            of_class = order[examples.labels[order] == label]
            places[of_class] = np.arange(len(of_class))  # the first of every class, then the second of every class
        return order[np.argsort(places[order], kind="stable")][:count]

    @property
    def scored(self) -> Metric:
        return of_classes(parsed_metric(self.metric), self.labels)

    def _predicted(self, outputs: Outputs) -> Any:
        return outputs if self.scored.from_shares else outputs.argmax(axis=1)

    def score(self, outputs: Outputs, examples: Examples) -> Score:
        return self.scored.score(self._predicted(outputs), examples.labels)

    def drop(self, outputs: Outputs, reference: Outputs, examples: Examples) -> Score:
        return self.scored.drop(self._predicted(outputs), self._predicted(reference), examples.labels)

    def chance(self, examples: Examples) -> float:
        same = np.eye(len(self.labels), dtype=np.float32)
        answers = (np.repeat(row[None], len(examples), axis=0) for row in same)
        found = [self.scored.value(self._predicted(one), examples.labels) for one in answers]
        return max((value for value in found if math.isfinite(value)), default=0.0)

    def agreed(self, outputs: Outputs, others: Outputs) -> float:
        return float((outputs.argmax(axis=1) == others.argmax(axis=1)).mean())

    def told(self, outputs: Outputs) -> tuple[str, float]:
        logits = outputs.astype(np.float64)
        shares = np.exp(logits - logits.max())
        shares /= shares.sum()
        return self.labels[int(shares.argmax())], float(shares.max())


def class_loss(
    outputs: Tensor, targets: Tensor, *, label_smoothing: float = 0.0, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy in fp32."""
    return functional.cross_entropy(outputs.float(), targets, label_smoothing=label_smoothing, reduction=reduction)


def softened(outputs: Tensor, teacher: Tensor, *, temperature: float) -> Tensor:
    """The Kullback-Leibler divergence of answers [rows, classes] from the teacher's at temperature T, times T^2, so
    that its gradients keep their size (Hinton et al. 2015, section 2)."""
    apart = functional.kl_div(
        functional.log_softmax(outputs.float() / temperature, dim=-1),
        functional.log_softmax(teacher.float() / temperature, dim=-1),
        reduction="batchmean",
        log_target=True,
    )
    return temperature**2 * apart


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


def _tokenized(tokenization: Tokenization, texts: Sequence[str], labels: Sequence[int]) -> Examples:
    return Examples(tuple(texts), tuple(tokenization(texts)), np.array(labels, dtype=np.int64), tokenization.files.pad)
