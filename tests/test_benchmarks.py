"""Benchmarks are run now and then, and break in between unless somebody looks."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

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
