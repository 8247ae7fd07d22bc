"""Which of a matrix's weights are zero, and what a file holds of the others.

A weight that is zero is not stored: a mask says where the others stand. What a file does not hold is put back as it is
loaded, and multiplied like any other weight: zeros make files smaller, and are no faster by themselves.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

Pattern = Literal["unstructured", "1:4", "2:4", "4:8", "1x4", "4x1", "16x16", "32x32"]
"""Where zeros may stand: anywhere; so that N of every M inputs of an output are left (N:M; Mishra et al. 2021,
"Accelerating sparse deep neural networks", section 3); or in whole blocks of outputs x inputs."""

PATTERNS: Final[tuple[Pattern, ...]] = get_args(Pattern)

_GROUPS: Final[Mapping[Pattern, tuple[int, int]]] = {"1:4": (1, 4), "2:4": (2, 4), "4:8": (4, 8)}
_BLOCKS: Final[Mapping[Pattern, tuple[int, int]]] = {
    "1x4": (1, 4),
    "4x1": (4, 1),
    "16x16": (16, 16),
    "32x32": (32, 32),
}

SHARES: Final[Mapping[Pattern, float]] = {name: 1 - left / of for name, (left, of) in _GROUPS.items()}
"""The sparsity of the patterns that have one of their own."""


@dataclass(frozen=True, slots=True)
class Sparsity:
    """The `share` of a matrix's weights that are zero (zeros / total), and the `pattern` that they stand in.

    Raises ValueError for a share that leaves all weights or none, or another one than the pattern has.
    """

    pattern: Pattern
    share: float

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise ValueError(f"`sparsity` must lie between 0 and 1, got {self.share:g}")
        own = SHARES.get(self.pattern)
        if own is not None and self.share != own:
            raise ValueError(f"{self.pattern} is a `sparsity` of {own:g}, got {self.share:g}")

    @property
    def group(self) -> tuple[int, int] | None:
        """How many are left of how many neighbours, where the pattern says so."""
        return _GROUPS.get(self.pattern)

    @property
    def block(self) -> tuple[int, int]:
        """Outputs and inputs of what goes or stays as one: a single weight, unless it is a pattern of blocks."""
        return _BLOCKS.get(self.pattern, (1, 1))

    def left(self, inputs: int, outputs: int) -> int:
        """How many weights are left of a matrix that it fits. Single weights are counted by the output, so that as many
        can be left of each."""
        if self.group is not None:
            return inputs * outputs * self.group[0] // self.group[1]
        rows, columns = self.block
        if (rows, columns) == (1, 1):
            return outputs * (inputs - round(self.share * inputs))
        blocks = inputs * outputs // (rows * columns)
        return (blocks - round(self.share * blocks)) * rows * columns

    def mask_bytes(self, inputs: int, outputs: int) -> int:
        """Bytes that say where the weights stand that are left: a bit for each block, or two for the one of four."""
        rows, columns = self.block
        bits = inputs * outputs // (rows * columns)
        return -(-bits // (16 if self.pattern == "1:4" else 8))

    def why_not(self, inputs: int, outputs: int) -> str:
        """What keeps a matrix from being held so; empty where nothing does."""
        if self.group is not None:
            of = self.group[1]
            return f"its {inputs} inputs are no multiple of {of}" if inputs % of else ""
        rows, columns = self.block
        if inputs % columns or outputs % rows:
            return f"its {outputs} outputs x {inputs} inputs are no whole blocks of {self.pattern}"
        left = self.left(inputs, outputs)
        if left in (0, inputs * outputs):
            return f"a `sparsity` of {self.share:g} leaves {'none' if left == 0 else 'all'} of its weights"
        return ""
