"""Terminals that cannot print what we say, and none at all."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest

from autocompress.cli import main
from autocompress.store import Store

from .conftest import ROOT

COMMANDS = [
    ("pareto", "quickstart"),
    ("pareto", "quickstart", "--markdown"),
    ("pareto", "quickstart", "--csv"),
    ("pick", "quickstart", "--max-latency-ms", "3"),
    ("show", "quickstart", "1"),
    ("show", "quickstart", "17"),
    ("trials", "quickstart"),
    ("studies",),
    ("spaces",),
    ("devices",),
    ("devices", "raspberry-pi-4"),
    ("run", "quickstart", "--dry-run"),
    ("--help",),
]


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_every_command_prints_on_every_terminal(store: Store, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    for command in COMMANDS:
        out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
        monkeypatch.setattr(sys, "stdout", out)
        monkeypatch.setattr(sys, "stderr", err)
        assert main(command) == 0, (command, encoding)
        assert (sys.stdout, sys.stderr) == (out, err)
        out.flush()
        printed = out.buffer.getvalue()  # type: ignore[attr-defined]
        assert len(printed) > 20
        assert ("◆".encode() in printed) <= (encoding == "utf-8")


def test_what_cannot_be_printed_is_told_in_the_nearest_letters(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    err = io.TextIOWrapper(io.BytesIO(), encoding="ascii", errors="strict")
    monkeypatch.setattr(sys, "stderr", err)
    assert main(["pareto", "étude ≤"]) == 3
    err.flush()
    assert b"no study '?tude <='" in err.buffer.getvalue()  # type: ignore[attr-defined]


BOTH = """
import sys
from autocompress.cli import main
shown = main(["pareto", "quickstart"])
sys.exit(shown or main(["pick", "quickstart", "--out", sys.argv[1]]))
"""


def test_a_posix_locale_without_any_help_works(store: Store) -> None:
    environment = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))}
    done = subprocess.run(
        [sys.executable, "-c", BOTH, "näme"], env={**kept, **environment}, capture_output=True, timeout=120, check=False
    )
    assert b"Traceback" not in done.stderr
    assert b"fault of autocompress" not in done.stderr
    assert b"reference point" in done.stdout
    assert done.returncode == 3, "this study has no folder to export"


def test_output_that_does_not_arrive_is_told_or_of_no_account(store: Store) -> None:
    program = f"{sys.executable} -m autocompress.cli pareto quickstart"
    for end, code, said in (
        (">/dev/full", 4, "cannot be written: No space left"),
        (">&-", 0, ""),
        ("| head -1", 0, ""),
    ):
        done = subprocess.run(
            ["bash", "-c", f"{program} {end}"],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (done.returncode, said in done.stderr, "fault of" in done.stderr) == (code, True, False), done.stderr
