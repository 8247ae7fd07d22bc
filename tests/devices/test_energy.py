"""Energy by meter, on a folder of counters like the kernel's."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from autocompress.devices.energy import Meter, energy_of, find_meter, measure, why_no_meter
from autocompress.errors import HostError

MOST = 262_143_328_850
"""Microjoules at which the counters of a real Xeon start again."""


def counter(root: Path, folder: str, *, name: str, microjoules: int = 0) -> Path:
    """A domain as powercap lists it."""
    (root / folder).mkdir(parents=True)
    (root / folder / "name").write_text(f"{name}\n")
    (root / folder / "max_energy_range_uj").write_text(f"{MOST}\n")
    (root / folder / "energy_uj").write_text(f"{microjoules}\n")
    return root / folder / "energy_uj"


def write(file: Path, microjoules: int) -> None:
    """At once, as the kernel does it: never an empty file in between."""
    part = file.with_name("part")
    part.write_text(f"{microjoules % (MOST + 1)}\n")
    os.replace(part, file)


@contextmanager
def running(*files: Path, watts: float = 50.0) -> Iterator[None]:
    """The counters advance with the clock while the context lasts."""
    stop = threading.Event()
    starts = [int(file.read_text()) for file in files]

    def advance() -> None:
        began = time.perf_counter()
        while not stop.wait(0.0005):
            for file, start in zip(files, starts, strict=True):
                write(file, start + round(1e6 * watts * (time.perf_counter() - began)))

    thread = threading.Thread(target=advance)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def found(root: Path) -> Meter:
    meter = find_meter(root)
    assert meter is not None, why_no_meter(root)
    return meter


def test_packages_are_summed_and_what_counts_them_again_is_left_out(tmp_path: Path) -> None:
    one = counter(tmp_path, "intel-rapl:0", name="package-0")
    two = counter(tmp_path, "intel-rapl:1", name="package-1")
    board = counter(tmp_path, "intel-rapl:2", name="psys")
    counter(tmp_path, "intel-rapl:0:0", name="core")
    with running(one, two, board):
        meter = found(tmp_path)
    assert meter.name == "RAPL, 2 processor packages"
    before = meter.read()
    for file, more in ((one, 3_000_000), (two, 1_500_000), (board, 9_000_000)):
        write(file, int(file.read_text()) + more)
    assert meter.read() - before == pytest.approx(4.5)


def test_a_counter_that_starts_again_loses_nothing(tmp_path: Path) -> None:
    file = counter(tmp_path, "intel-rapl:0", name="package-0", microjoules=MOST - 20_000_000)
    with running(file):
        meter = found(tmp_path)
    write(file, MOST - 1_000_000)
    before = meter.read()
    write(file, 2_000_000)
    assert meter.read() - before == pytest.approx(3.0)
    write(file, 2_500_000)
    assert meter.read() - before == pytest.approx(3.5)


def test_the_energy_of_a_call_is_power_times_its_time(tmp_path: Path) -> None:
    """50 W for 4 ms are 200 mJ, also while the counter starts again."""
    file = counter(tmp_path, "intel-rapl:0", name="package-0", microjoules=MOST - 5_000_000)
    with running(file, watts=50.0):
        drawn = measure(found(tmp_path), lambda: time.sleep(0.004), seconds=0.3)
    assert drawn.calls > 10
    assert drawn.joules == pytest.approx(50.0 * drawn.seconds / drawn.calls, rel=0.1)
    assert drawn.joules < 5.0, "and not the whole range of the counter"


def test_a_measured_energy_has_an_interval_its_readings_and_its_word(tmp_path: Path) -> None:
    file = counter(tmp_path, "intel-rapl:0", name="package-0")
    with running(file):
        energy = energy_of(lambda: time.sleep(0.004), found(tmp_path), device="box", seconds=0.5)
    assert (energy.metric, energy.unit, energy.source, energy.device) == ("energy_mj", "mJ", "measured", "box")
    assert energy.interval is not None
    assert energy.interval[0] <= energy.value <= energy.interval[1]
    assert len(energy.samples) == 10
    assert 200 < energy.value < 400


def test_a_counter_that_stands_still_is_no_meter(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", name="package-0", microjoules=17)
    assert find_meter(tmp_path) is None
    assert "intel-rapl:0 counts nothing: it stands still" in why_no_meter(tmp_path)


def test_a_counter_that_stops_is_an_error_not_a_zero(tmp_path: Path) -> None:
    file = counter(tmp_path, "intel-rapl:0", name="package-0")
    with running(file):
        meter = found(tmp_path)
    meter.read()
    with pytest.raises(HostError, match="the counter did not move"):
        measure(meter, lambda: None, seconds=0.01)
    file.unlink()
    with pytest.raises(HostError, match="1 processor package: cannot be read any more"):
        meter.read()


def test_without_packages_the_reason_is_said(tmp_path: Path) -> None:
    assert find_meter(tmp_path / "powercap") is None
    assert "powercap lists no processor package" in why_no_meter(tmp_path / "powercap")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_counter_for_root_only_is_named_with_the_way_to_open_it(tmp_path: Path) -> None:
    counter(tmp_path, "intel-rapl:0", name="package-0").chmod(0o000)
    assert find_meter(tmp_path) is None
    assert "energy_uj may be read by root only; allow it with `sudo chmod a+r" in why_no_meter(tmp_path)


def test_a_gpu_is_read_only_for_what_runs_on_it(tmp_path: Path) -> None:
    """Beside an inference on the processor it would measure a GPU at rest."""
    assert "powercap" in why_no_meter(tmp_path / "powercap")
    assert why_no_meter(tmp_path, runs_on="gpu").startswith(("pynvml is not installed", "NVML"))
