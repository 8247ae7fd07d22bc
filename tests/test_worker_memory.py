"""A limit to the memory of a process and of what it starts, with real processes that take it."""

from __future__ import annotations

import contextlib
import mmap
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import autocompress
from autocompress import config
from autocompress.core.spec import Budget
from autocompress.operators import OPERATORS
from autocompress.runners.memory import held_gb
from autocompress.study.life import check_workers

HOARD = "held = []\nwhile True:\n    held.append(b'x' * 5_000_000)\n    time.sleep(0.01)\n"
PROGRAM = f"""
import subprocess, sys, time
from autocompress.runners.memory import watch_memory

few = b"x" * 20_000_000
watch_memory(0.3, lambda words: print(words, flush=True))
time.sleep(0.5)
print("still here", flush=True)
if sys.argv[1] == "itself":
    exec({HOARD!r})
child = subprocess.Popen([sys.executable, "-c", "import time\\n" + {HOARD!r}])
print(child.pid, flush=True)
child.wait()
time.sleep(60)
"""


@pytest.mark.expectation(16)
@pytest.mark.parametrize("who", ["itself", "child"])
def test_a_process_is_ended_with_what_it_started_once_they_hold_too_much(who: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, who],
        env={**os.environ, "PYTHONPATH": str(Path(autocompress.__path__[0]).parent)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 137, done.stderr
    here, *pids, words = done.stdout.splitlines()
    assert here == "still here", "nothing is done below the limit"
    told = re.match(r"the worker held (0\.\d\d) GB of memory, more than budget.memory_gb=0.3, and was stopped", words)
    assert told, words
    assert 0.3 <= float(told[1]) < 0.6
    assert len(pids) == (who == "child")
    assert all(ends(int(pid)) for pid in pids)


def ends(pid: int) -> bool:
    """Whether a process that was killed is gone, which takes as long as the system has others to care for."""
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with contextlib.suppress(psutil.NoSuchProcess):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.05)
                continue
        return True
    return False


def test_what_is_shared_is_not_counted() -> None:
    here = psutil.Process()
    with mmap.mmap(-1, 100_000_000) as shared:
        before = held_gb([here])
        shared.write(b"x" * 100_000_000)
        assert held_gb([here]) < before + 0.05


class Notes:
    """Hears what is said of a study."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage(self, name: str, detail: str = "") -> None: ...

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: object) -> None: ...


def test_where_nobody_can_be_stopped_that_is_said() -> None:
    heard = Notes()
    check_workers(heard, Budget(5, memory_gb=2.0), workers=0, ray_address=None)
    check_workers(heard, Budget(5), workers=0, ray_address=None)
    (told,) = [one for one in heard.notes if "memory" in one]
    assert told.startswith("budget.memory_gb: 2 is no limit with `--workers 0`")


def test_a_limit_is_above_nothing_and_a_study_of_before_has_none() -> None:
    with pytest.raises(ValueError, match="`memory_gb > 0` must hold, got 0"):
        Budget(5, memory_gb=0.0)
    spec = config.load_study("quickstart", operators=OPERATORS)
    then = config.spec_to_json(spec)
    assert "memory_gb" not in then["budget"], "stored as before there was such a key"
    limited = replace(spec, budget=replace(spec.budget, memory_gb=2.0))
    stored = config.spec_to_json(limited)
    assert config.study_from_json(stored, operators=OPERATORS) == limited
    assert any("budget.memory_gb" in line for line in config.changes_since(then, stored))
