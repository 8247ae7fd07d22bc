"""Workloads: what one inference is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

_FORBID = {"extra": "forbid"}

Lengths = Literal["padded", "real", "sorted"]


@dataclass(frozen=True, slots=True)
class Workload:
    """What one inference is: sequences at a time, tokens a sequence, threads of the runtime. A latency under a workload
    of several batches is the mean over them."""

    batch: int = 1
    """How many texts are inferred at a time."""
    length: int = 128
    """Tokens of every text; with `lengths: real` or `sorted`, where texts are cut."""
    threads: int = 1
    """Threads of the runtime; a study may say `all` for the cores of its device."""
    lengths: Lengths = "padded"
    """`padded`: all texts have `length` tokens. `real`: texts come as they come, `sorted`: in the order of their
    length; every batch is padded to its own longest text."""
    tokens: tuple[int, ...] = ()
    """The padded lengths of typical batches, all equally frequent, with `real` and `sorted` lengths. They follow from
    the task's training texts unless given here."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("batch", "length", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {name}={getattr(self, name)}")
        if self.tokens and self.lengths == "padded":
            raise ValueError(
                "`tokens` belong to `lengths: real` or `lengths: sorted`; padded texts have `length` tokens"
            )
        outside = [count for count in self.tokens if not 1 <= count <= self.length]
        if outside:
            raise ValueError(f"`tokens` must lie between 1 and `length`, {self.length}, got {outside[0]}")

    @staticmethod
    def of(tree: Mapping[str, Any]) -> Workload:
        """The inverse of `to_json`. Raises TypeError or ValueError when it is no workload."""
        return Workload(**{**tree, "tokens": tuple(tree.get("tokens", ()))})

    def to_json(self) -> dict[str, Any]:
        """Lengths only where they are not all the same."""
        found: dict[str, Any] = {"batch": self.batch, "length": self.length, "threads": self.threads}
        return found if self.lengths == "padded" else {**found, "lengths": self.lengths, "tokens": list(self.tokens)}

    @property
    def batches(self) -> tuple[Workload, ...]:
        """The typical batches, each padded to a length: just one where all texts have the same."""
        if self.lengths == "padded":
            return (self,)
        if not self.tokens:
            raise ValueError(f"`lengths: {self.lengths}` need the task's texts, which were not read yet")
        return tuple(Workload(self.batch, count, self.threads) for count in self.tokens)

    @property
    def typical(self) -> Workload:
        """One batch for all, of their mean length: what work is counted for."""
        counts = [one.length for one in self.batches]
        return Workload(self.batch, round(sum(counts) / len(counts)), self.threads)

    @property
    def longest(self) -> Workload:
        """The largest batch: what memory is needed for."""
        return max(self.batches, key=lambda one: one.length)

    def __str__(self) -> str:
        plural = "" if self.threads == 1 else "s"
        length = f"length {self.length}"
        if self.lengths != "padded":
            span = (
                f"{min(self.tokens)} to {max(self.tokens)} tokens" if self.tokens else f"at most {self.length} tokens"
            )
            length = f"{self.lengths} lengths, {span}"
        return f"batch {self.batch}, {length}, {self.threads} thread{plural}"
