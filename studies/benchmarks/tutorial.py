"""Executes docs/tutorial.ipynb in a fresh kernel and keeps what comes out:

    python studies/benchmarks/tutorial.py

Its cells are written in the file itself, by hand or in Jupyter. What changes in vain is taken out: times of execution,
Python's version, numbers of an earlier session.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any, Final

import nbformat
from nbclient import NotebookClient

PATH: Final = Path(__file__).parents[2] / "docs" / "tutorial.ipynb"
_SECONDS: Final = 600


def executed(path: Path = PATH) -> Any:
    """The notebook with what its cells put out when they are run one after the other in an empty folder. Raises
    CellExecutionError where one fails."""
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as folder:
        NotebookClient(notebook, timeout=_SECONDS, resources={"metadata": {"path": folder}}).execute()
    for cell in notebook.cells:
        cell.metadata = {}
        if cell.cell_type == "code":
            cell.outputs = [one for one in cell.outputs if one.get("name") != "stderr"]  # what libraries warn of
    notebook.metadata["language_info"] = {"name": "python"}
    return notebook


def main() -> int:
    nbformat.write(executed(), PATH)
    sys.stdout.write(f"{PATH}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
