"""Benchmarks are run now and then, and break in between unless somebody looks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from autocompress.devices.host import fingerprint

FOLDER = Path(__file__).parents[1] / "studies" / "benchmarks"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_what_a_benchmark_imports_is_there(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    before = set(sys.modules)
    try:
        module = importlib.import_module(name)
        assert Path(str(module.__file__)) == FOLDER / f"{name}.py"
    finally:
        for added in {*SCRIPTS} & (set(sys.modules) - before):  # their names are common ones
            del sys.modules[added]


def test_no_table_holds_rows_of_two_machines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    record = importlib.import_module("record")
    del sys.modules["record"]
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    path = record.keep("speeds", [1.0, 2.0])
    assert record.kept("speeds", []) == [1.0, 2.0]
    path.write_text(path.read_text().replace(fingerprint()["cpu"], "Old Xeon"))
    assert record.kept("speeds", []) == []
    assert "speeds.json: its figures are of Old Xeon; the table is begun anew" in capsys.readouterr().out
    assert record.kept("speeds", [], anywhere=True) == [1.0, 2.0], "what is counted holds on all of them"
