"""OpenVINO on the CPU, with the precision named.

OpenVINO computes in bf16 by itself where the CPU has AMX; here that has to be asked for. It reads the file as it is.
Its telemetry, which would tell Google Analytics of every import, is kept out.

The nodes of our dynamic int8 graph it executes one by one, which is right and about four times as slow as ONNX
Runtime's fused kernel; CONTRIBUTING.md says what it is good for.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from autocompress.core.device import Runtime
from autocompress.core.runtimes import RUNTIMES, RuntimeName
from autocompress.errors import HostError, IntegrityError

Precision = Literal["f32", "bf16"]

_DEVICE: Final = "CPU"
_SWITCHES: Final[Mapping[str, Any]] = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1", "ENABLE_CPU_PINNING": "NO"}
"""One stream, for latency. Threads are not bound to cores: OpenVINO binds those of every model to the same first ones,
and beside another process there a model took five times as long."""


def about(name: RuntimeName, precision: Precision) -> Runtime:
    """Raises HostError when OpenVINO is not installed, or the CPU does not compute in this precision."""
    library, _ = _core(name)
    _require(name, precision)
    version = str(library.__version__).partition("-")[0]
    return Runtime(name, version, {"INFERENCE_PRECISION_HINT": precision, **_SWITCHES})


class OpenVinoEngine:
    """A compiled model with one request."""

    def __init__(
        self,
        name: RuntimeName,
        precision: Precision,
        model: Path | bytes,
        threads: int,
        switches: Mapping[str, str],
        watch: Path | None,
    ) -> None:
        """`switches` are further entries of its configuration.

        Raises IntegrityError when the model is no valid one, HostError when OpenVINO is not there, would compute in
        another precision, or is to be watched: it has no profile by node that could be read."""
        if watch is not None:
            raise HostError(f"runtime {name!r}: the time of each node is known of onnxruntime only")
        _, core = _core(name)
        _require(name, precision)
        options = {"INFERENCE_PRECISION_HINT": precision, **_SWITCHES, **switches, "INFERENCE_NUM_THREADS": threads}
        try:
            compiled = core.compile_model(core.read_model(model), _DEVICE, options)
        except RuntimeError as error:  # whatever it is that cannot be read or compiled
            raise IntegrityError(
                f"{model if isinstance(model, Path) else 'model'}: not a valid model: {_last_line(error)}"
            ) from error
        got = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if got != precision:
            raise HostError(f"runtime {name!r}: asked for {precision}, got {got}; choose another runtime")
        self._request = compiled.create_infer_request()
        self.sizes = {
            name: tuple(None if size.is_dynamic else size.get_length() for size in entry.get_partial_shape())
            for entry in compiled.inputs
            for name in entry.get_names()
        }
        self.inputs = frozenset(self.sizes)
        self.shared = False  # its one request answers one after another

    def infer(self, feed: Mapping[str, Any]) -> Any:
        return self._request.infer(feed, share_inputs=True)[0]

    def end_watch(self) -> Path:
        raise HostError("openvino: a model is never watched")


def _last_line(error: Exception) -> str:
    """OpenVINO tells which of its own lines failed first, and what was wrong at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@functools.cache
def _core(name: RuntimeName) -> tuple[Any, Any]:
    """The library, and its one plug-in registry. Raises HostError when it is not installed.

    A process has one and keeps it: each brings a stack for signals, and when two end in the order of their beginnings,
    the process is left with the first one's, which is gone, and dies of the next Ctrl-C (2026.4).
    """
    try:
        with _nothing_told():
            import openvino
    except ImportError as error:
        raise HostError(f"runtime {name!r}: {error.name} is not installed; {RUNTIMES[name].fix}") from error
    return openvino, openvino.Core()


@contextmanager
def _nothing_told() -> Iterator[None]:
    """While it lasts, OpenVINO's telemetry cannot be imported, and OpenVINO puts a stub into its place."""
    name = "openvino_telemetry"
    if name in sys.modules:  # by others: their process, their choice
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment]  # as the import system is told that there is none
    try:
        yield
    finally:
        del sys.modules[name]


def _require(name: RuntimeName, precision: Precision) -> None:
    _, core = _core(name)
    offered = core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES")
    if precision == "bf16" and "BF16" not in offered:
        raise HostError(
            f"runtime {name!r}: this CPU has no bf16 kernels (it has: {', '.join(offered)}); use 'openvino'"
        )
