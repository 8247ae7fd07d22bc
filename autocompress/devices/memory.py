"""How much memory an exported file takes to serve, read from a process that does nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.workload import Workload
from autocompress.errors import HostError

_INFERENCES: Final = 3
_SECONDS: Final = 120.0


def peak_memory_mib(
    file: Path,
    workload: Workload,
    *,
    runtime: str = DEFAULT_RUNTIME,
    switches: Mapping[str, str] | None = None,
    seconds: float = _SECONDS,
) -> float | None:
    """MiB that loading the file and serving it adds at its peak to a process that has the runtime loaded; None on a
    system that does not say (anything but Linux). `switches` are those of its session.

    The peak is the kernel's (VmHWM, proc(5)); it often lies in loading, where the file and the runtime's own form of it
    are held at once. Raises HostError when the file cannot be served within so many seconds.
    """
    if not sys.platform.startswith("linux"):
        return None
    largest = workload.longest
    arguments = [str(file.absolute()), *map(str, (largest.batch, largest.length, largest.threads)), runtime]
    arguments.append(json.dumps(dict(switches or {})))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "autocompress.devices.memory", *arguments],
            capture_output=True, text=True, timeout=seconds, check=True,
        )  # fmt: skip
        return float(done.stdout)
    except subprocess.TimeoutExpired as error:
        raise HostError(f"{file}: {_INFERENCES} inferences took more than {seconds:.0f} s") from error
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip().splitlines() or [f"ended with {error.returncode}"])[-1]
        raise HostError(f"{file}: its memory could not be measured: {last}") from error


def _serve(file: Path, workload: Workload, runtime: str, switches: Mapping[str, str]) -> float:
    """Runs in the child: MiB added to this process at its peak."""
    import numpy as np

    from autocompress.deploy.session import Session
    from autocompress.deploy.session import runtime as about

    about(runtime)  # loads its library
    before = _peak_kib()
    session = Session(file, threads=workload.threads, runtime=runtime, switches=switches)
    for _ in range(_INFERENCES):
        session.run(session.drawn(workload.batch, workload.length, rows=2, seed=np.random.default_rng(0)))
    return (_peak_kib() - before) / 1024


def _peak_kib() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise HostError("/proc/self/status does not tell VmHWM")


if __name__ == "__main__":
    _batch, _length, _threads = map(int, sys.argv[2:5])
    _load = Workload(_batch, _length, _threads)
    sys.stdout.write(f"{_serve(Path(sys.argv[1]), _load, sys.argv[5], json.loads(sys.argv[6]))}\n")
