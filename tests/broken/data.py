"""Texts and labels that cannot be learned from, or that cannot be read."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.broken.given import a_folder, both, changed, edited, removed, written
from tests.broken.table import Broken

CSV = "texts.csv"
ROWS_OF_TWO = "".join(f"we saw a goal {i},sports\nwe saw soup {i},food\n" for i in range(60))


def csv(rows: str, head: str = "text,label\n") -> Callable[[Path], None]:
    return written(CSV, head + rows)


def _told(title: str, build: Callable[[Path], object], *says: str, code: int = 2) -> tuple[Broken, Broken]:
    """By `check` as by `run`."""
    return (
        Broken(title, build, "check mine.yaml", 2, ("mine.yaml: ", *says)),
        Broken(f"{title}, run", build, "run mine.yaml --workers 0", code, says),
    )


def lines(content: str, pattern: str) -> Callable[[Path], None]:
    return both(
        written("texts.txt", content),
        changed(
            task={"max_length": 16, "data": {"source": {"path": "texts.txt"}, "format": "lines", "pattern": pattern}}
        ),
    )


def jsonl(*rows: str) -> Callable[[Path], None]:
    return both(
        written("texts.jsonl", "\n".join(rows)),
        changed(task={"max_length": 16, "data": {"source": {"path": "texts.jsonl"}, "format": "jsonl"}}),
    )


SOUND = [json.dumps({"text": f"we saw a {word} {i}", "label": word}) for i in range(40) for word in ("goal", "soup")]
ROWS = (
    *_told("no texts", removed(CSV), "texts.csv", "no such file or folder", code=3),
    *_told("an empty file", written(CSV, ""), "texts.csv"),
    *_told("a head alone", csv(""), "texts.csv"),
    *_told("another name of the text", csv(ROWS_OF_TWO, "sentence,label\n"), "texts.csv", "'text'", "task.data.text"),
    *_told("another name of the label", csv(ROWS_OF_TWO, "text,class\n"), "texts.csv", "'label'", "task.data.label"),
    *_told("no head", csv(ROWS_OF_TWO, ""), "texts.csv", "'text'"),
    *_told("one class", csv("".join(f"we saw soup {i},food\n" for i in range(60))), "texts.csv", "two classes"),
    *_told("labels that are missing", csv(ROWS_OF_TWO + "we saw bread,\n"), "texts.csv", "label"),
    *_told("texts that are missing", csv(ROWS_OF_TWO + ",food\n"), "texts.csv", "text"),
    *_told(
        "latin-1", written(CSV, f"text,label\ncaf\u00e9,food\n{ROWS_OF_TWO}".encode("latin-1")), "texts.csv", "encoding"
    ),
    *_told("a picture", written(CSV, b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" * 40), "texts.csv"),
    *_told(
        "a pointer",
        written(CSV, f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 9\n"),
        "texts.csv",
    ),
    *_told("an empty folder", a_folder(CSV), "texts.csv"),
    *_told("JSON that is none", jsonl(*SOUND, '{"text": "x", '), "texts.jsonl", "81"),
    *_told("JSON a thousand deep", jsonl(*SOUND, "[" * 100_000), "texts.jsonl", "81"),
    *_told("half a surrogate pair", jsonl(*SOUND, '{"text": "\\ud800 soup", "label": "soup"}'), "texts.jsonl", "81"),
    *_told(
        "a number of 5,000 digits", jsonl(*SOUND, '{"text": "x", "label": ' + "9" * 5000 + "}"), "texts.jsonl", "81"
    ),
    *_told("labels that are lists", jsonl(*SOUND, '{"text": "x", "label": ["a", "b"]}'), "texts.jsonl", "label"),
    *_told("labels that are not a number", jsonl(*SOUND, '{"text": "x", "label": NaN}'), "texts.jsonl", "label"),
    *_told("a list for an object", jsonl(*SOUND, "[1, 2]"), "texts.jsonl", "81"),
    *_told("lines that fit nothing", lines("we saw\n" * 40, r"(?P<label>\w+): (?P<text>.*)"), "texts.txt", "pattern"),
    *_told(
        "a pattern that backtracks", lines("a" * 40 + "!\n", r"(?P<label>(a+)+):(?P<text>.*)"), "texts.txt", "pattern"
    ),
    *_told(
        "parquet that is none",
        both(
            written("t.parquet", b"PAR1" + b"\0" * 100),
            changed(task={"max_length": 16, "data": {"source": {"path": "t.parquet"}, "format": "parquet"}}),
        ),
        "t.parquet",
    ),
    *_told(
        "gzip that is none",
        both(
            written("t.csv.gz", b"text,label\n"),
            changed(task={"max_length": 16, "data": {"source": {"path": "t.csv.gz"}, "format": "csv"}}),
        ),
        "t.csv.gz",
    ),
    *_told("a threshold on words", changed(task__data__threshold=0.5), "threshold"),
    *_told("an encoding nobody knows", changed(task__data__encoding="utf-99"), "utf-99", "encoding"),
    Broken("too few texts", csv("a,x\nb,y\n"), "run mine.yaml --workers 0", 2, ("texts.csv",)),
    Broken(
        "an open quote",
        edited(CSV, "\n", '\n"an opening quote that is never closed,food\n'),
        "run mine.yaml --workers 0",
        2,
        ("texts.csv", "quot"),
    ),
)
