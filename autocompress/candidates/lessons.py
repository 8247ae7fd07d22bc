"""What students learn from: texts, and what the teacher says of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.core.training_spec import TransferSpec
from autocompress.distill import joined, predict, transfer_texts
from autocompress.inputs.vocabulary import Vocabulary
from autocompress.tasks import Examples, Rows, batches

_BATCH = 32


@dataclass(frozen=True, slots=True)
class Lessons:
    """The training split and the further rows that a study asks for; `logits` [rows, ...] are the teacher's outputs for
    the `examples`, and for further ones its word is the label."""

    examples: Rows
    logits: NDArray[np.float32]

    @staticmethod
    def of(
        setup: Setup, spec: TransferSpec, *, seed: int, unlabelled: Examples | None = None, most: int | None = None
    ) -> Lessons:
        """Runs the teacher once over all rows, or over `most` random ones. `unlabelled` are those that `spec.texts`
        names."""
        assert (unlabelled is None) == (spec.texts is None), "unlabelled texts are those that the study names"
        teacher, own = setup.teacher(), setup.task.examples("train")
        if not isinstance(own, Examples):
            everything = own.joined(own.varied(spec.copies, seed=seed)) if spec.copies else own
            return Lessons._some(setup, teacher, own, everything, most, seed)
        table = teacher.word_embeddings.weight.detach().numpy()
        held_out = [setup.task.examples(split) for split in ("validation", "test")]
        made = transfer_texts(own, table, spec, held_out=held_out, seed=seed, unlabelled=unlabelled)
        return Lessons._some(setup, teacher, own, joined(own, made), most, seed)

    @staticmethod
    def _some(setup: Setup, teacher: Anatomy, own: Rows, everything: Rows, most: int | None, seed: int) -> Lessons:
        if most is None or len(everything) <= most:
            return Lessons.labelled(setup, teacher, own, everything)
        rows = np.sort(np.random.default_rng(seed).permutation(len(everything))[:most])
        return Lessons.labelled(setup, teacher, own.take(rows[rows < len(own)]), everything.take(rows))

    @staticmethod
    def labelled(setup: Setup, teacher: Anatomy, own: Rows, everything: Rows) -> Lessons:
        """With what a teacher says of everything, which begins with a task's own rows."""
        logits = predict(teacher.model, batches(everything, _BATCH), precision=setup.precision)
        others = everything.take(range(len(own), len(everything)))
        labels = [everything.labels[: len(own)], setup.task.taught(logits[len(own) :], others)]
        return Lessons(everything.relabelled(np.concatenate(labels)), logits)

    def read_with(self, vocabulary: Vocabulary | None) -> Lessons:
        """The same as they are read with fewer tokens. Made-up texts that hold one which went are left away: nobody
        knows how they would be written."""
        if vocabulary is None or not isinstance(self.examples, Examples):
            return self
        rows, examples = vocabulary.known(self.examples)
        return Lessons(examples, self.logits[rows])

    def take(self, rows: NDArray[np.int64]) -> Lessons:
        """Only these texts."""
        return Lessons(self.examples.take(rows), self.logits[rows])
