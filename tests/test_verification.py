"""What a file loses against the baseline's, text by text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from autocompress.exported.verification import Judged, drops
from autocompress.tasks import TextClassification


def test_a_drop_is_the_baselines_score_less_the_files_on_the_same_split(small_task: TextClassification) -> None:
    truth = {split: small_task.examples(split).labels for split in ("validation", "test")}
    wrong = {split: (labels + 1) % 3 for split, labels in truth.items()}
    no_session: Any = None

    def judged(right: dict[str, int]) -> Judged:
        """Right on the first so many texts of each split."""
        answers = {
            split: np.where(np.arange(len(labels)) < right[split], labels, wrong[split])
            for split, labels in truth.items()
        }
        outputs = {split: np.eye(3, dtype=np.float32)[found] for split, found in answers.items()}
        return Judged(Path("model.onnx"), no_session, (), outputs)

    whole, student = judged({"validation": 30, "test": 24}), judged({"validation": 22, "test": 28})
    quality, test = drops(student, whole, small_task)
    assert (quality.metric, quality.value) == ("quality_drop", pytest.approx(8 / 32))
    assert (test.metric, test.value) == ("test_quality_drop", pytest.approx(-4 / 32))
    assert quality.interval is not None
    assert test.interval is not None
    assert 0 < quality.interval[0] < quality.value < quality.interval[1]
    assert test.interval[0] < test.value < test.interval[1]
