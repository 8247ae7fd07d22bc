"""Commands that read and count answer in a moment: they load neither torch nor Ray, nor what these bring."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from autocompress import config
from autocompress.operators import OPERATORS
from autocompress.store import Store
from tests.report import given

ASK = """
import io, json, sys
from contextlib import redirect_stdout
from autocompress.cli.entry import main

found = []
for line in sys.argv[1:]:
    with redirect_stdout(io.StringIO()):
        code = main(line.split())
    found.append([code, sorted({"torch", "ray", "transformers", "onnx", "onnxruntime", "optuna"} & set(sys.modules))])
print(json.dumps(found))
"""


@pytest.fixture
def storage(tmp_path: Path) -> Path:
    """A quickstart that ran to its end."""
    spec = config.load_study("quickstart", operators=OPERATORS)
    resolved = config.spec_to_json(spec)
    with Store.open(str(tmp_path / "study.db")) as store:
        store.create_study(
            "quickstart", given=resolved, resolved=resolved, fingerprint={"model": "00"}, objectives=spec.objectives
        )
        with store.lease("quickstart") as lease:
            given.search(store, lease)
            given.finish(store, lease)
    return tmp_path / "study.db"


@pytest.mark.expectation(1, 4)
def test_help_check_pareto_pick_and_retarget_load_neither_torch_nor_ray(storage: Path) -> None:
    lines = [
        "--help",
        "check studies/quickstart.yaml",
        f"studies --storage {storage}",
        f"pareto quickstart --storage {storage}",
        f"pick quickstart --storage {storage}",
        f"show quickstart 2 --storage {storage}",
        f"compare quickstart 1 2 --storage {storage}",
        f"retarget quickstart --device raspberry-pi-5 --storage {storage}",
    ]
    project = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [sys.executable, "-c", ASK, *lines], cwd=project, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == [[0, []]] * len(lines), (dict(zip(lines, found, strict=True)), done.stderr)
