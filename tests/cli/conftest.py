"""Commands as users run them: a process each, or the same `main` in this one where a process adds nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import autocompress
from autocompress.cli import main
from autocompress.store import Store
from tests.report import given

ROOT = Path(autocompress.__path__[0]).parent


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Ended]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty folder in which commands run, with a database `autocompress.db` to come."""
    monkeypatch.chdir(tmp_path)
    for name in ("AUTOCOMPRESS_STORAGE", "COLUMNS", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """The default database, with one finished study."""
    given.write_finished(folder / "autocompress.db")
    with Store.open() as store:
        yield store


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command in this process."""

    def call(*arguments: str) -> Ended:
        code = main(arguments)
        said = capsys.readouterr()
        return Ended(code, said.out, said.err)

    return call


@pytest.fixture
def process(folder: Path) -> Run:
    """Run a Python program in a process of its own, in the folder; by default the command line."""

    def call(*arguments: str, program: str = "") -> Ended:
        source = ["-c", program] if program else ["-m", "autocompress.cli"]
        done = subprocess.run(
            [sys.executable, *source, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    return call
