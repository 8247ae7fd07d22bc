"""Versions of ONNX: what a file that names one needs to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Opset:
    """`form` is the version of the file's own form, `onnxruntime` the first release that reads the two."""

    form: int
    onnxruntime: str


OPSETS: Final[Mapping[int, Opset]] = {
    17: Opset(8, "1.12"),
    18: Opset(8, "1.14"),
    19: Opset(9, "1.17"),
    20: Opset(9, "1.17"),
    21: Opset(10, "1.18"),
    22: Opset(10, "1.21"),
    23: Opset(11, "1.23"),
}
"""From the first one that knows layer normalisation. Releases as ONNX Runtime's documentation has them;
1.15, 1.17, 1.18, 1.20, 1.22 and 1.23 were tried with files of ours (1.15 has no kernels for all of opset 19)."""

PLAIN_OPSET: Final = 20
"""What files are written in where nothing else is asked for: the first that knows GELU."""

ATTENTION_OPSET: Final = 23
"""The first that knows an `Attention` node."""


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """How files are written."""

    opset: int | None = None
    """The version of ONNX that files are written in, the uncompressed model's too; an older one is read by older
    runtimes. Default: 20, or 23 where the device's profile found an `Attention` node to be faster."""
    form: Literal["fastest", "written", "traced"] = "fastest"
    """How graphs are made: `written` node by node by us, or `traced` from the model's own code. A family that has both
    is deployed in the `fastest`, which is measured on this machine once for each kind of model."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.opset is not None and self.opset not in OPSETS:
            raise ValueError(f"`opset` must be {min(OPSETS)} to {max(OPSETS)}, got {self.opset}")

    @property
    def has_attention(self) -> bool:
        """Whether files may hold an `Attention` node."""
        return self.opset is None or self.opset >= ATTENTION_OPSET
