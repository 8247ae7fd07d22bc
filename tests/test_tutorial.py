"""The tutorial is a notebook with outputs, which a fresh kernel puts out as well."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def kept() -> Any:
    return nbformat.read(ROOT / "docs" / "tutorial.ipynb", as_version=4)


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def kinds(notebook: Any) -> list[list[tuple[str, list[str]]]]:
    """What each cell put out, but for what libraries warn of."""
    return [
        [(one.output_type, sorted(one.get("data", {}))) for one in cell.outputs if one.get("name") != "stderr"]
        for cell in code(notebook)
    ]


def test_what_it_keeps_is_of_one_run_without_errors_and_names_no_place_of_a_machine(kept: Any) -> None:
    nbformat.validate(kept)
    assert [cell.execution_count for cell in code(kept)] == list(range(1, len(code(kept)) + 1))
    outputs = [one for cell in code(kept) for one in cell.outputs]
    assert not [one for one in outputs if one.output_type == "error" or one.get("name") == "stderr"]
    assert not re.findall(r"/(?:tmp|home|root|work)/\S*", str(outputs))
    assert not [cell for cell in kept.cells if cell.metadata]
    assert sum("text/html" in one.get("data", {}) for one in outputs) >= 4, "study, table, pick and comparison"


@pytest.mark.slow
def test_a_fresh_kernel_puts_out_what_it_shows(kept: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    assert kinds(importlib.import_module("tutorial").executed()) == kinds(kept)


def test_every_link_of_it_leads_to_a_file(kept: Any) -> None:
    text = "\n".join(cell.source for cell in kept.cells if cell.cell_type == "markdown")
    for target in re.findall(r"\]\(([^)#:]+)[^)]*\)", text):
        assert (ROOT / "docs" / target).exists(), f"the tutorial links to {target}, which is not there"
