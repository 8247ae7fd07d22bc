"""Tags make the spans that seqeval finds in them, whatever the scheme; the values are seqeval's own (1.2.2), kept in
`seqeval_values.jsonl`. `python -m tests.tasks.test_spans` writes them anew where it is installed."""

from __future__ import annotations

import json
import random
import warnings
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest

from autocompress.inputs.spans import has_spans, meanings, spans, strange_tags, types_of

VALUES: Final = Path(__file__).parent / "seqeval_values.jsonl"
LETTERS: Final = {"BIO": "BI", "IO": "I", "BIOES": "BIES"}


def tags_of(scheme: str) -> list[str]:
    return ["O", *(f"{letter}-{kind}" for letter in LETTERS[scheme] for kind in ("per", "loc-x"))]


def found(rows: list[list[str]], tags: list[str]) -> list[list[Any]]:
    """The spans of all rows: row, type, and places of the first and the last word in it."""
    meant, flat = meanings(tags), np.array([tags.index(tag) for row in rows for tag in row], dtype=np.int64)
    numbers = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    starts = np.cumsum([0, *(len(row) for row in rows)])
    return [
        [int(row), types_of(meant)[kind], int(first - starts[row]), int(last - starts[row])]
        for row, kind, first, last in spans(flat, numbers, meant)
    ]


@pytest.mark.parametrize("scheme", LETTERS)
def test_spans_are_those_that_seqeval_finds(scheme: str) -> None:
    cases = [case for line in VALUES.read_text("utf-8").splitlines() if (case := json.loads(line))["scheme"] == scheme]
    assert len(cases) == 20
    for case in cases:
        assert found(case["predicted"], tags_of(scheme)) == case["spans"]


def test_letters_of_other_schemes_are_those_of_bioes() -> None:
    bilou, bmew = ["O", "B-a", "I-a", "L-a", "U-a"], ["O", "B_a", "M_a", "E_a", "W_a"]
    assert found([["B-a", "I-a", "L-a", "L-a", "U-a", "U-a"]], bilou) == [
        [0, "a", 0, 2],
        [0, "a", 3, 3],
        [0, "a", 4, 4],
        [0, "a", 5, 5],
    ]
    assert found([["B_a", "M_a", "E_a", "W_a"]], bmew) == [[0, "a", 0, 2], [0, "a", 3, 3]]


def test_tags_without_letters_are_spans_where_one_is_o_and_words_of_their_own_otherwise() -> None:
    assert found([["art", "art", "O", "eve"]], ["O", "art", "eve"]) == [[0, "art", 0, 1], [0, "eve", 3, 3]]
    assert found([["NN", "NN"]], ["NN", "VB"]) == [[0, "NN", 0, 0], [0, "NN", 1, 1]]
    assert (has_spans(["O", "art"]), has_spans(["NN", "VB"]), has_spans(["O", "B-a", "art"])) == (True, False, False)
    assert strange_tags(["O", "B-a", "art"]) == ["art"]
    assert found([["B", "I", "O"]], ["O", "B", "I"]) == [[0, "_", 0, 1]]


def test_no_span_goes_from_one_row_into_the_next() -> None:
    assert found([["B-per", "I-per"], ["I-per"]], tags_of("BIO")) == [[0, "per", 0, 1], [1, "per", 0, 0]]
    assert not len(spans(np.zeros(0, np.int64), np.zeros(0, np.int64), meanings(["O", "B-a"])))


def _written() -> str:
    from seqeval.metrics import f1_score
    from seqeval.metrics.sequence_labeling import get_entities

    generator, lines = random.Random(0), []
    for scheme in LETTERS:
        tags = tags_of(scheme)
        for _ in range(20):
            lengths = [generator.randint(1, 9) for _ in range(generator.randint(1, 4))]
            true = [generator.choices(tags, k=length) for length in lengths]
            guessed = [[tag if generator.random() < 0.7 else generator.choice(tags) for tag in row] for row in true]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                case = {
                    "scheme": scheme,
                    "true": true,
                    "predicted": guessed,
                    "spans": [[place, *one] for place, row in enumerate(guessed) for one in get_entities(row)],
                    "f1": round(float(f1_score(true, guessed)), 9),
                }
            lines.append(json.dumps(case) + "\n")
    return "".join(lines)


if __name__ == "__main__":
    VALUES.write_text(_written(), "utf-8")
