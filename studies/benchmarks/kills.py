"""Kills a real study with signal 9 at random moments, resumes it each time, and compares it with one left alone.

    python studies/benchmarks/kills.py [--kills 10] [--seed 1]

The quickstart's search with one worker and a smaller budget: the same candidates must be found, none twice, none lost.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from record import keep

from autocompress.errors import NotFoundError, StoreError
from autocompress.store import Store

TRIALS = 40
NAME = "quickstart"


def start(folder: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "autocompress.cli", *arguments, "--workers", "1"]
    return subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def judged(folder: Path) -> int:
    try:
        with Store.open(str(folder / "autocompress.db"), create=False) as store:
            return store.counts(NAME).evaluated
    except (NotFoundError, StoreError):
        return 0


def until_searched(folder: Path, process: subprocess.Popen[bytes]) -> None:
    """Waits for the search phase to end, then stops: what finalists do is another matter."""
    while process.poll() is None and judged(folder) < TRIALS:
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()


def digests(folder: Path) -> list[str]:
    with Store.open(str(folder / "autocompress.db"), create=False) as store:
        assert store.check(NAME) == []
        return [record.candidate.digest for record in store.records(NAME)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    generator = random.Random(options.seed)
    first = ("run", NAME, "--trials", str(TRIALS))
    with tempfile.TemporaryDirectory() as name:
        whole, broken = Path(name) / "whole", Path(name) / "broken"
        whole.mkdir()
        broken.mkdir()
        until_searched(whole, start(whole, *first))
        moments = []
        for kill in range(options.kills):
            before = judged(broken)
            process = start(broken, *(first if kill == 0 else ("resume", NAME)))
            aim = before + generator.randint(1, max(1, (TRIALS - 2) // options.kills))
            while process.poll() is None and judged(broken) < aim:
                time.sleep(0.02)
            time.sleep(generator.uniform(0, 0.8))
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            moments.append(judged(broken))
            print(f"kill {kill + 1} after {moments[-1]} candidates", flush=True)
        until_searched(broken, start(broken, "resume", NAME))
        figures = {
            "kills": options.kills,
            "seed": options.seed,
            "killed_after": moments,
            "candidates": len(digests(broken)),
            "the_same_as_uninterrupted": digests(broken) == digests(whole),
        }
    print(figures)
    print(f"kept in {keep('kills', figures)}")
    sys.exit(not figures["the_same_as_uninterrupted"])


if __name__ == "__main__":
    main()
