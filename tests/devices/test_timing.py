"""What a run is said to take on a machine that others use too."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocompress.devices.timing import time_side_by_side

SCHEDULED = Path("/proc/thread-self/schedstat")
SPINNING = "import os, sys; os.sched_setaffinity(0, {int(sys.argv[1])}); print(flush=True)\nwhile True: pass"


@pytest.fixture
def shared_core() -> Iterator[None]:
    """This thread and a process that never rests have one core."""
    before = os.sched_getaffinity(0)
    core = min(before)
    os.sched_setaffinity(0, {core})
    with subprocess.Popen([sys.executable, "-c", SPINNING, str(core)], stdout=subprocess.PIPE) as other:
        try:
            assert other.stdout is not None
            other.stdout.readline()
            yield
        finally:
            other.kill()
            os.sched_setaffinity(0, before)


@pytest.mark.skipif(not SCHEDULED.exists(), reason="only Linux counts what a thread waits for a core")
@pytest.mark.usefixtures("shared_core")
def test_what_others_take_of_a_core_is_not_counted() -> None:
    used, clock = [], []

    def run() -> None:
        start, own = time.perf_counter(), time.thread_time()
        while time.thread_time() < own + 0.02:
            pass
        used.append(time.thread_time() - own)
        clock.append(time.perf_counter() - start)

    (timed,) = time_side_by_side([run], rounds=5, seconds=1)
    assert sum(clock) > 1.3 * sum(used), "the other process has a good part of the core"
    assert timed.median == pytest.approx(20, rel=0.2)
    assert timed.disturbed > 0, "that others were at work is still noticed"


def test_an_inference_that_rests_takes_as_long_as_the_clock_says() -> None:
    (timed,) = time_side_by_side([lambda: time.sleep(0.01)], rounds=5, seconds=1)
    assert timed.median >= 10
