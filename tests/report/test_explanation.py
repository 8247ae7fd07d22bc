"""Explanations as numbers, as text and as pictures."""

from __future__ import annotations

import json
import struct
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autocompress.errors import HostError
from autocompress.importance import CRITERIA, LAYER_CRITERIA, Importance
from autocompress.report.attention_section import Answers, AttentionSection, LayerMaps
from autocompress.report.explanation import Explanation
from autocompress.report.importance_section import ImportanceSection

from .test_renderers import HOSTILE, printed

KEPT = {0: [0, 2, 3], 2: [1]}


def scores(*, layers: int = 3, heads: int = 4) -> Importance:
    generator = np.random.default_rng(0)
    by_head = {
        name: {layer: generator.lognormal(0, 2, heads) * (-1 if name in ("entropy", "distance") else 1)
               for layer in range(layers)}
        for name in CRITERIA
    }  # fmt: skip
    return Importance(by_head, {}, {name: {i: float(i + 1) for i in range(layers)} for name in LAYER_CRITERIA})


def maps(seed: int, length: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.random.default_rng(seed).dirichlet([0.3] * length, length)


def layer_maps(index: int, length: int) -> LayerMaps:
    one, two, three, four = (maps(seed, length) for seed in range(4))
    return LayerMaps(index, tuple(KEPT[index]), 4, one, two, KEPT[index][0], three, four, 0.25)


def attention(words: tuple[str, ...] = ("[CLS]", "how", "$far$", "[SEP]"), left_out: int = 0) -> AttentionSection:
    answers = Answers(("NUM", 0.98), ("LOC", 0.5))
    return AttentionSection(HOSTILE, words, left_out, answers, tuple(layer_maps(i, len(words)) for i in KEPT))


def test_vectors_are_told_by_what_they_have_in_common() -> None:
    vector = ("a vector of 384", None)
    shown = replace(attention(), answers=Answers(vector, vector, "their cosine is 0.981"))
    assert shown.answered() == "teacher: a vector of 384 · student: a vector of 384 · their cosine is 0.981"
    assert shown.to_json()["teacher"] == {"label": "a vector of 384", "share": None}
    assert shown.to_json()["beside"] == "their cosine is 0.981"
    assert attention().answered() == "teacher: NUM 0.98 · student: LOC 0.50"


def importance(kept: dict[int, list[int]] | None = KEPT) -> ImportanceSection:
    return ImportanceSection(scores(), kept, frozenset({"fisher"}))


def explanation() -> Explanation:
    return Explanation("mine", "0123456789abcdef", "2 layers · heads 3,1", (importance(), attention()), ("a note",))


def size(path: Path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", content[16:24])
    return width, height


def test_it_is_one_json_document_with_a_key_a_section() -> None:
    tree = json.loads(json.dumps(explanation().to_json()))
    assert tree["schema"] == "autocompress.explanation/1"
    assert (tree["study"], tree["candidate"], tree["notes"]) == ("mine", "0123456789abcdef", ["a note"])
    found = tree["importance"]
    assert found["kept_heads"] == {"0": [0, 2, 3], "2": [1]}
    assert set(found["heads"]) == set(CRITERIA)
    assert set(found["layers"]) == set(LAYER_CRITERIA)
    for criterion in CRITERIA:
        for row, order in zip(found["heads"][criterion]["scores"], found["heads"][criterion]["ranking"], strict=True):
            assert [row[head] for head in order] == sorted(row, reverse=True)
    assert found["layers"]["residual"]["ranking"] == [2, 1, 0]
    shown = {"layer": 2, "kept_heads": [1], "most_important_head": 1, "divergence_bits": 0.25}
    assert tree["attention"]["layers"][1] == shown


def test_a_picture_a_section_is_written(tmp_path: Path) -> None:
    paths = explanation().write(tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["importance.png", "attention.png"]
    assert [size(path)[0] for path in paths] == [2000, 2000]


def test_a_longer_sentence_and_a_model_without_a_student_are_drawn_too(tmp_path: Path) -> None:
    words = tuple(f"extraordinarily{i}" for i in range(24))
    attention(words, left_out=7).draw(tmp_path / "attention.png", heading=("mine", ""))
    importance(None).draw(tmp_path / "importance.png", heading=("mine", "3 layers"))
    assert size(tmp_path / "attention.png")[1] > 2 * 500
    assert importance(None).to_json()["kept_heads"] is None


def test_the_text_marks_what_is_kept_and_removed() -> None:
    text = printed(explanation().table())
    assert "removed" in text
    assert "[1]" in text
    assert "teacher: NUM 0.98 · student: LOC 0.50" in text
    assert "3 of 4" in text
    assert "\x1b" not in text
    assert "cut at 4 of 11 tokens" in printed(attention(left_out=7).table())
    assert "[" not in printed(importance(None).table())


def test_without_matplotlib_the_numbers_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(HostError, match=r"needs matplotlib.*autocompress\[plots\].* or use --json"):
        explanation().write(tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(HostError, match="taken: cannot be made"):
        explanation().write(tmp_path / "taken")
