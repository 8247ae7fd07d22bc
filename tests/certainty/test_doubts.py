"""How unsure a classifier is: by a temperature that makes it as right as it says, kept beside the scores of rows."""

from __future__ import annotations

import io

import numpy as np
import pytest

from autocompress.certainty import Doubts, RowScores, doubts_in, doubts_of, from_bytes, temperature_of, to_bytes
from autocompress.errors import IntegrityError
from autocompress.tasks import TextClassification

ROWS = RowScores("quotient", np.ones((4, 2), dtype=np.float32))


def test_a_model_that_says_more_than_it_knows_is_cooled_down_to_what_it_knows() -> None:
    generator = np.random.default_rng(0)
    known = generator.normal(0, 2, (4000, 3))
    shares = np.exp(known) / np.exp(known).sum(axis=1, keepdims=True)
    labels = np.array([generator.choice(3, p=row) for row in shares])
    said = (3 * known).astype(np.float32)
    temperature = temperature_of(said, labels)
    assert temperature == pytest.approx(3, rel=0.1)
    right = said.argmax(axis=1) == labels
    assert doubts_of(said, temperature).mean() == pytest.approx(1 - right.mean(), abs=0.02)
    assert doubts_of(said, 1.0).mean() < 1 - right.mean() - 0.05


def test_a_model_that_errs_nowhere_is_not_taken_for_certain_and_its_rows_are_told_apart() -> None:
    outputs = np.diag([30.0, 40.0, 50.0]).astype(np.float32)
    temperature = temperature_of(outputs, np.arange(3))
    assert temperature == pytest.approx(1, abs=0.01)
    doubts = doubts_of(outputs, temperature).astype(np.float32)
    assert 0 < doubts[2] < doubts[1] < doubts[0] < 1e-10
    assert temperature_of(outputs[:0], np.zeros(0, dtype=np.int64)) == 1.0


def test_doubts_are_kept_with_the_scores_of_rows_and_files_without_them_stay_readable() -> None:
    doubts = Doubts(1.5, {"validation": np.array([0.1, 0.2, 1e-30, 0.5], dtype=np.float32)})
    content = to_bytes({"validation": ROWS}, doubts)
    assert list(from_bytes(content, where="a file")) == ["validation"]
    found = doubts_in(content, where="a file")
    assert found is not None
    assert found.temperature == 1.5
    assert np.array_equal(found.splits["validation"], doubts.splits["validation"])
    assert doubts_in(to_bytes({"validation": ROWS}), where="a file") is None


@pytest.mark.parametrize(("doubt", "temperature"), [([0.1, 1.5], 1.0), ([0.1, np.nan], 1.0), ([0.1, 0.2], 0.0)])
def test_doubts_that_are_no_shares_are_an_error(doubt: list[float], temperature: float) -> None:
    file = io.BytesIO()
    arrays = {"validation.doubt": np.array(doubt), ".temperature": np.array([temperature])}
    np.savez_compressed(file, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match="a file: holds doubts that are no shares; verify the finalists anew"):
        doubts_in(file.getvalue(), where="a file")


def test_a_task_of_classes_tells_doubts_of_every_split(small_task: TextClassification) -> None:
    outputs = {
        split: 4 * np.eye(3, dtype=np.float32)[small_task.examples(split).labels] for split in ("validation", "test")
    }
    found = small_task.doubts(outputs)
    assert {split: len(one) for split, one in found.splits.items()} == {s: len(o) for s, o in outputs.items()}
    assert 0 < found.splits["test"].max() < 0.01
