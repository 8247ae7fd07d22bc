"""A real Ray, started by a program that was given a password and a token: none of its processes and files has them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from .cli.conftest import ROOT

pytestmark = pytest.mark.slow

PROGRAM = """
import os, sys
from pathlib import Path
import psutil
from autocompress.cli.command_line import hide_secrets
from autocompress.runners.cluster import cluster

hide_secrets(sys.argv[1:])
secrets = [word[::-1] for word in ("rednow", "drow/luf", "fEdCbA_fh")]  # this program is an argument, too
with cluster(workers=1) as ray:
    environment = ray.get(ray.remote(lambda: dict(os.environ)).remote())
    texts = {"the worker's environment": repr(environment), "jobs": repr(ray._private.state.jobs())}
    for one in psutil.Process().children(recursive=True):
        texts[f"environment of {one.name()}"] = repr(one.environ())
        texts[f"arguments of {one.name()}"] = repr(one.cmdline())
    texts["our own arguments"] = repr(psutil.Process().cmdline())
    folder = Path(ray._private.worker._global_node.get_session_dir_path())
    texts |= {path.name: path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file()}
assert len(texts) > 10, texts
assert "postgresql://me" in texts["our own arguments"]
print("found:", [name for name, text in texts.items() if any(secret in text for secret in secrets)])
print("kept:", [name for name in ("AUTOCOMPRESS_STORAGE", "HF_TOKEN") if name in os.environ])
"""


def test_nothing_of_ray_knows_a_password_or_a_token() -> None:
    address = "postgresql://me:wonder@ful/word@db/x"
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "run", "--storage", address],
        env={**os.environ, "PYTHONPATH": str(ROOT), "AUTOCOMPRESS_STORAGE": address, "HF_TOKEN": "hf_AbCdEfGhIjKl"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["found: []", "kept: ['AUTOCOMPRESS_STORAGE', 'HF_TOKEN']"]
