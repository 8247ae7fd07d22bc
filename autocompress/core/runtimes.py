"""The runtimes that a model can be deployed in, by name.

A name stands for one way to compute: a library, where it computes, and in what precision. A runtime that could silently
choose another precision has a name for each, so that what was measured is what is served.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from autocompress.errors import SpecError, did_you_mean

RuntimeName = Literal["onnxruntime", "openvino", "openvino-bf16", "onnxruntime-cuda", "onnxruntime-tensorrt"]
DEFAULT_RUNTIME: Final[RuntimeName] = "onnxruntime"
RUNTIME_STEP: Final = "runtime"
"""The operator by which a policy names its runtime, and the setting that it does so with."""


@dataclass(frozen=True, slots=True)
class RuntimeKind:
    """`library` is the Python package that is imported, `install` what to give to pip where only an exported folder is
    to run, and `fix` what to do where autocompress finds it missing. `precision` is what parts compute in that are not
    quantized."""

    library: str
    install: str
    fix: str
    precision: Literal["fp32", "bf16"] = "fp32"


_OPENVINO: Final = ("openvino", "openvino", "pip install 'autocompress[openvino]'")
_GPU: Final = (
    "onnxruntime",
    "onnxruntime-gpu",
    "on a machine with an NVIDIA GPU: pip uninstall -y onnxruntime && pip install onnxruntime-gpu",
)
RUNTIMES: Final[Mapping[RuntimeName, RuntimeKind]] = {
    "onnxruntime": RuntimeKind("onnxruntime", "onnxruntime", "pip install onnxruntime"),
    "openvino": RuntimeKind(*_OPENVINO),
    "openvino-bf16": RuntimeKind(*_OPENVINO, precision="bf16"),
    "onnxruntime-cuda": RuntimeKind(*_GPU),
    "onnxruntime-tensorrt": RuntimeKind(*_GPU),
}
assert set(RUNTIMES) == set(get_args(RuntimeName))


def named_runtime(name: str) -> RuntimeName:
    """The runtime of that name. Raises SpecError where there is none."""
    for known in RUNTIMES:
        if known == name:
            return known
    raise SpecError(f"no runtime is called {name!r}; {did_you_mean(name, RUNTIMES)}")
