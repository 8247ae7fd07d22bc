"""Energy by meter: what a counter of the machine says that an inference drew.

Processors count the energy of each package (RAPL, read through Linux's powercap), GPUs that of each board (NVML). Both
count everything that runs meanwhile, power at rest included, so a measurement is made alone, under
`timing.timing_lane()`.
"""

from __future__ import annotations

import importlib
import math
import re
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol, final

from autocompress.core.outcome import Measurement
from autocompress.errors import HostError

POWERCAP: Final = Path("/sys/class/powercap")

RunsOn = Literal["cpu", "gpu"]
"""Where an inference runs. A GPU's meter says nothing of an inference on the processor, nor the other way round."""

_BOUTS: Final = 10
_T: Final = 2.262
"""Student's t for a 95 % interval of the mean of ten readings."""
_STILL: Final = 0.05
"""A processor's counter moves every millisecond; one that stands still for these seconds is a stand-in."""


class Meter(Protocol):
    """A counter of energy."""

    @property
    def name(self) -> str:
        """What is read, in words."""

    def read(self) -> float:
        """Joules since some moment in the past: only differences mean anything. Raises HostError when it is gone."""


@dataclass(frozen=True, slots=True)
class Drawn:
    """Joules of one call, the mean of `calls` in `seconds`."""

    joules: float
    calls: int
    seconds: float


def find_meter(root: Path = POWERCAP, *, runs_on: RunsOn = "cpu") -> Meter | None:
    """The meter of what inferences run on; None where there is none that this process may read."""
    found = _look(root, runs_on)
    return None if isinstance(found, str) else found


def why_no_meter(root: Path = POWERCAP, *, runs_on: RunsOn = "cpu") -> str:
    """Why `find_meter` finds none; empty where it finds one."""
    found = _look(root, runs_on)
    return found if isinstance(found, str) else ""


def measure(meter: Meter, run: Callable[[], object], *, seconds: float) -> Drawn:
    """Calls `run` for about so many seconds, at least once, after one call that is not counted.

    A processor's counter moves once a millisecond: half a second is read to a few thousandths. Raises HostError when
    the counter did not move.
    """
    run()
    calls, before, start = 0, meter.read(), time.perf_counter()
    while True:
        run()
        calls += 1
        took = time.perf_counter() - start
        if took >= seconds:
            break
    drawn = meter.read() - before
    if drawn <= 0:
        raise HostError(f"{meter.name}: the counter did not move in {took:.3f} s; measure for longer")
    return Drawn(drawn / calls, calls, took)


def energy_of(
    run: Callable[[], object], meter: Meter, *, device: str | None = None, seconds: float = 5.0
) -> Measurement:
    """Millijoules of one call of `run`: the mean of ten bouts that take `seconds` in all, with its 95 % interval."""
    readings = tuple(1e3 * measure(meter, run, seconds=seconds / _BOUTS).joules for _ in range(_BOUTS))
    mean = statistics.fmean(readings)
    half = _T * statistics.stdev(readings) / math.sqrt(_BOUTS)
    return Measurement("energy_mj", mean, "mJ", "measured", (max(0.0, mean - half), mean + half), readings, device)


@dataclass(slots=True)
class _Package:
    """A processor package. Its counter starts again at 0 behind `most`, in microjoules; `total` does not."""

    folder: Path
    most: int
    last: int
    total: int = 0

    def read(self) -> int:
        now = _number(self.folder / "energy_uj")
        self.total += now - self.last if now >= self.last else self.most - self.last + now
        self.last = now
        return self.total


@final
class _Rapl:
    """The packages of a processor together. Read more often than a counter starts again (minutes), it loses nothing."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Raises OSError or ValueError when a counter cannot be read."""
        self._packages = [
            _Package(folder, _number(folder / "max_energy_range_uj"), _number(folder / "energy_uj"))
            for folder in folders
        ]

    @property
    def name(self) -> str:
        count = len(self._packages)
        return f"RAPL, {count} processor package{'' if count == 1 else 's'}"

    def read(self) -> float:
        try:
            return sum(package.read() for package in self._packages) / 1e6
        except (OSError, ValueError) as error:
            raise HostError(f"{self.name}: cannot be read any more: {error}") from error


@final
class _Nvml:
    """The boards of all GPUs together."""

    def __init__(self, nvml: Any) -> None:
        """Raises `nvml.NVMLError` when there is no driver, or a GPU that does not count."""
        nvml.nvmlInit()
        self._nvml = nvml
        self._boards = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        self.read()

    @property
    def name(self) -> str:
        return f"NVML, {len(self._boards)} GPU{'' if len(self._boards) == 1 else 's'}"

    def read(self) -> float:
        try:
            return 1e-3 * sum(int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(board)) for board in self._boards)
        except self._nvml.NVMLError as error:
            raise HostError(f"{self.name}: cannot be read: {error}") from error


def _look(root: Path, runs_on: RunsOn) -> Meter | str:
    """The meter, or why there is none."""
    return _processor(root) if runs_on == "cpu" else _gpu()


def _processor(root: Path) -> Meter | str:
    folders = [folder for folder in _listed(root) if re.fullmatch(r"intel-rapl:\d+", folder.name) and _counts(folder)]
    if not folders:
        hidden = "a virtual machine's host keeps its counters to itself" if _is_guest() else "no RAPL driver is loaded"
        return f"{root} lists no processor package: {hidden}"
    try:
        meter = _Rapl(folders)
    except PermissionError as error:
        return f"{error.filename} may be read by root only; allow it with `sudo chmod a+r {root}/*/energy_uj`"
    except (OSError, ValueError) as error:
        return f"{folders[0]} cannot be read: {error}"
    deadline = time.monotonic() + _STILL
    while meter.read() == 0:
        if time.monotonic() > deadline:
            return f"{folders[0]} counts nothing: it stands still, as in some virtual machines"
        time.sleep(0.002)
    return meter


def _gpu() -> Meter | str:
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return "pynvml is not installed; `pip install nvidia-ml-py` brings it"
    try:
        return _Nvml(nvml)
    except (nvml.NVMLError, HostError) as error:
        return f"NVML: {error}"


def _listed(root: Path) -> list[Path]:
    try:
        return sorted(root.iterdir())
    except OSError:
        return []


def _counts(folder: Path) -> bool:
    """Whether this is a package: beside them are domains for the whole board (`psys`), which count them again."""
    try:
        return (folder / "name").read_text(encoding="utf-8").startswith("package")
    except OSError:
        return False


def _is_guest() -> bool:
    try:
        return " hypervisor" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _number(file: Path) -> int:
    return int(file.read_text(encoding="utf-8"))
