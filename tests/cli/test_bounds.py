"""Folders and documents of others: numbers beyond all use, names that lead outside, codes that move a cursor."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from autocompress.store import Store

from .conftest import Run

WORKLOAD = {"batch": 1, "length": 16, "threads": 1}


def bundle(folder: Path, **changes: Any) -> Path:
    place = folder / "bundle"
    (place / "baseline").mkdir(parents=True)
    (place / "baseline" / "model.onnx").write_bytes(b"onnx")
    tree = {
        "schema": "autocompress.bundle/1",
        "study": "quickstart",
        "device": "host",
        "workload": WORKLOAD,
        "rows": 100,
        "baseline": "baseline",
        "members": {},
        "files": {"baseline/model.onnx": hashlib.sha256(b"onnx").hexdigest()},
    }
    (place / "bundle.json").write_text(json.dumps({**tree, **changes}))
    return place


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"workload": {**WORKLOAD, "threads": 1_000_000}}, "`threads` must be a whole number from 1 to 1024"),
        ({"workload": {**WORKLOAD, "batch": -3}}, "`batch` must be a whole number from 1"),
        ({"workload": {**WORKLOAD, "length": 1e300}}, "`length` must be a whole number from 1"),
        ({"workload": {**WORKLOAD, "length": "16"}}, "`length` must be a whole number from 1"),
        ({"members": {"x": "../outside"}}, "leads out of the folder"),
        ({"members": {"x": "/etc"}}, "leads out of the folder"),
        ({"baseline": "../outside"}, "leads out of the folder"),
        ({"files": {"../../etc/passwd": "00"}}, "leads out of the folder"),
    ],
)
def test_a_bundle_of_others_is_bounded(run: Run, folder: Path, changes: dict[str, Any], said: str) -> None:
    bundle(folder, **changes)
    ended = run("measure", "bundle")
    assert (ended.code, said in ended.err) == (7, True), ended.err


def test_deep_json_ends_in_words_wherever_it_is_read(store: Store, run: Run, folder: Path) -> None:
    deep = "[" * 100_000
    (folder / "deep").mkdir()
    for name in ("manifest.json", "bundle.json"):
        (folder / "deep" / name).write_text(deep)
    (folder / "deep.json").write_text(deep)
    for command, code in (
        (("measure", "deep"), 7),
        (("verify", "deep"), 7),
        (("import-measurements", "quickstart", "deep.json"), 2),
    ):
        ended = run(*command)
        assert ended.code in (code, 7), (command, ended.err)
        assert "fault of autocompress" not in ended.err


def test_codes_of_others_do_not_reach_a_terminal(store: Store, run: Run, folder: Path) -> None:
    bundle(folder, files={"\x1b[2J\x1b]0;owned\x07": "00"})
    ended = run("measure", "bundle")
    assert ended.code == 7
    (folder / "measured.json").write_text(json.dumps({"schema": "\x1b[31mx"}))
    for command in (
        ("import-measurements", "quickstart", "measured.json"),
        ("show", "quickstart", "17"),
        ("trials", "quickstart"),
    ):
        ended = run(*command)
        assert "\x1b[2J" not in ended.out + ended.err
        assert "\x1b[31m" not in ended.out + ended.err
    assert "\x1b" not in ended.err


def test_codes_in_a_stored_study_do_not_reach_a_terminal_either(store: Store, run: Run, folder: Path) -> None:
    """A database is a file that others can have written: names, reasons, units and steps are shown, not obeyed."""
    code = "\x1b[31mred\x1b]0;owned\x07\u202e"
    named = f"quickstart{code}"
    with closing(sqlite3.connect("autocompress.db")) as database:
        for table, column in (
            ("studies", "name"),
            ("finalists", "reason"),
            ("measurements", "unit"),
            ("measurements", "device"),
            ("candidates", "broken_constraint"),
        ):
            database.execute(f"UPDATE {table} SET {column} = {column} || ?", (code,))
        told = json.dumps(code)[1:-1]
        database.execute("UPDATE candidates SET policy = replace(policy, '\"prune_heads\"', ?)", (f'"heads{told}"',))
        database.execute("UPDATE facts SET value = replace(value, 'accuracy', ?) WHERE key = 'task'", (told,))
        database.commit()
    page = folder / "page.html"
    for command in (
        ("list",),
        ("doctor", "--storage", "autocompress.db"),
        ("pareto", named),
        ("pareto", named, "--markdown"),
        ("pareto", named, "--html", "page.html"),
        ("trials", named),
        ("show", named, "1"),
        ("show", named, "17"),
        ("pick", named, "--knee"),
    ):
        ended = run(*command)
        said = ended.out + ended.err + (page.read_text() if page.exists() else "")
        assert ended.code in (0, 3, 4), (command, said)
        assert not {"\x1b", "\x07", "\u202e"} & set(said), command
