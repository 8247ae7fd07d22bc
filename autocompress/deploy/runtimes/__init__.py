"""Runtimes behind one small interface: what each is here, and models opened in it.

To add one: name it in `core/runtimes.py`, write its file here, add a line to `MAKERS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol

from autocompress.core.device import Runtime
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, RuntimeName, named_runtime
from autocompress.deploy.runtimes import onnx_runtime, open_vino

Model = Path | bytes
"""A file, or what stands in one."""


class Engine(Protocol):
    """A model that was opened in a runtime. `shared`: several threads may ask it at once."""

    shared: bool

    @property
    def inputs(self) -> frozenset[str]:
        """The names of what it wants to be fed."""

    @property
    def sizes(self) -> Mapping[str, tuple[int | None, ...]]:
        """How large each of these is, axis by axis; None where that is free."""

    def infer(self, feed: Mapping[str, Any]) -> Any:
        """The only output, in memory of its own."""

    def end_watch(self) -> Path:
        """Stops the profiler of a watched model: the file it wrote. Raises HostError where there is none."""


@dataclass(frozen=True, slots=True)
class Maker:
    """How a runtime says who it is, and how it opens a model with so many threads and with switches of its own, under
    its profiler where a folder is given. Both raise HostError, saying what to install, where the runtime cannot be used
    here as its name promises."""

    about: Callable[[], Runtime]
    open: Callable[[Model, int, Mapping[str, str], Path | None], Engine]


MAKERS: Final[Mapping[RuntimeName, Maker]] = {
    "onnxruntime": Maker(
        partial(onnx_runtime.about, "onnxruntime", onnx_runtime.CPU),
        partial(onnx_runtime.OnnxRuntimeEngine, "onnxruntime", onnx_runtime.CPU),
    ),
    "openvino": Maker(
        partial(open_vino.about, "openvino", "f32"), partial(open_vino.OpenVinoEngine, "openvino", "f32")
    ),
    "openvino-bf16": Maker(
        partial(open_vino.about, "openvino-bf16", "bf16"), partial(open_vino.OpenVinoEngine, "openvino-bf16", "bf16")
    ),
    "onnxruntime-cuda": Maker(
        partial(onnx_runtime.about, "onnxruntime-cuda", onnx_runtime.CUDA),
        partial(onnx_runtime.OnnxRuntimeEngine, "onnxruntime-cuda", onnx_runtime.CUDA),
    ),
    "onnxruntime-tensorrt": Maker(
        partial(onnx_runtime.about, "onnxruntime-tensorrt", onnx_runtime.TENSORRT),
        partial(onnx_runtime.OnnxRuntimeEngine, "onnxruntime-tensorrt", onnx_runtime.TENSORRT),
    ),
}
assert set(MAKERS) == set(RUNTIMES)


def runtime(name: str = DEFAULT_RUNTIME) -> Runtime:
    """A runtime as it is here, for profiles, manifests and model cards. Raises SpecError for an unknown name, HostError
    where it is not installed or cannot compute here as its name promises."""
    return MAKERS[named_runtime(name)].about()


def opened(name: str, model: Model, *, threads: int, switches: Mapping[str, str], watch: Path | None) -> Engine:
    """A model in the runtime of that name (see `Maker`)."""
    return MAKERS[named_runtime(name)].open(model, threads, switches, watch)
