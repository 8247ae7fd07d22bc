"""Where a deployed model's time goes, part by part, beside the least that the machine allows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal, final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocompress.core.device import Ceilings
from autocompress.core.workload import Workload
from autocompress.report.devices import ceilings_in_words
from autocompress.report.plain_text import one_line
from autocompress.report.wording import number

Limit = Literal["arithmetic", "memory"]

ABOUT: Final = (
    "A ceiling is the longer of two times: a part's MACs at the most that a core computes, and its weights read once "
    "from memory; for the whole, all MACs and all weights.",
    "Normalisation holds the residual sums; runtime is what an inference takes beyond its nodes.",
)
SEVERAL: Final = (
    "With several threads a ceiling is that of as many cores, as if each had a memory of its own and none waited for "
    "another."
)
CACHED: Final = "Below 1×: weights that stay in the caches come faster than memory gives them."


@dataclass(frozen=True, slots=True)
class PartTime:
    """One part of a model in one inference: what it computes and reads, the median that its nodes took, and the least
    that its arithmetic and the reading of its weights take at the machine's ceilings, in milliseconds."""

    part: str
    precision: str
    macs: int
    weight_bytes: int
    milliseconds: float
    arithmetic_ms: float
    memory_ms: float
    nodes: int

    @property
    def ceiling_ms(self) -> float:
        return max(self.arithmetic_ms, self.memory_ms)

    @property
    def limit(self) -> Limit | None:
        """What sets the ceiling; None for what neither computes nor reads."""
        if not self.ceiling_ms:
            return None
        return "arithmetic" if self.arithmetic_ms >= self.memory_ms else "memory"

    @property
    def times(self) -> float | None:
        """How many times its ceiling it takes."""
        return self.milliseconds / self.ceiling_ms if self.ceiling_ms else None

    def to_json(self, whole_ms: float) -> dict[str, Any]:
        return {
            "part": self.part,
            "precision": self.precision or None,
            "macs": self.macs,
            "weight_bytes": self.weight_bytes,
            "nodes": self.nodes,
            "measured_ms": _rounded(self.milliseconds),
            "share": _rounded(self.milliseconds / whole_ms),
            "ceiling_ms": _rounded(self.ceiling_ms),
            "limit": self.limit,
            "times_the_ceiling": None if self.times is None else _rounded(self.times),
        }


@final
@dataclass(frozen=True, slots=True)
class PartsSection:
    """`whole_ms` is the median inference, measured without the profiler; `parts` add up to it. `ceilings` are those of
    a core, and `known_from` says where they are from. `profiler_ms` is what the profiler did at each node, left out of
    the parts' times; `disturbed` says whether others used the machine meanwhile."""

    workload: Workload
    ceilings: Ceilings
    known_from: str
    parts: tuple[PartTime, ...]
    whole_ms: float
    profiler_ms: float = 0.0
    disturbed: bool = False

    @property
    def name(self) -> str:
        return "parts"

    @property
    def whole(self) -> PartTime:
        """All parts as one. Its ceiling is that of all its work, less than the sum of theirs where some are held up by
        arithmetic and others by memory: a perfect machine does both at once."""
        return PartTime(
            part="whole",
            precision="",
            macs=sum(part.macs for part in self.parts),
            weight_bytes=sum(part.weight_bytes for part in self.parts),
            milliseconds=self.whole_ms,
            arithmetic_ms=sum(part.arithmetic_ms for part in self.parts),
            memory_ms=sum(part.memory_ms for part in self.parts),
            nodes=sum(part.nodes for part in self.parts),
        )

    def to_json(self) -> dict[str, Any]:
        return {
            "workload": self.workload.to_json(),
            "ceilings": {**asdict(self.ceilings), "known_from": self.known_from},
            "profiler_ms_a_node": _rounded(self.profiler_ms),
            "disturbed": self.disturbed,
            "parts": [part.to_json(self.whole_ms) for part in self.parts],
            "whole": self.whole.to_json(self.whole_ms),
        }

    def table(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_footer=False)
        table.add_column("part", no_wrap=True)
        table.add_column("precision", no_wrap=True)
        for column in ("MACs", "measured", "share", "ceiling", "× ceiling"):
            table.add_column(column, justify="right", no_wrap=True)
        for part in self.parts:
            table.add_row(*self._cells(part), end_section=part is self.parts[-1])
        table.add_row(*self._cells(self.whole), style="bold")
        said = (self.about(), *self.remarks())
        return Group(Text(self.verdict()), table, *(Text(one_line(line), style="dim") for line in said))

    def _cells(self, part: PartTime) -> list[Text]:
        macs = number("macs", part.macs) if part.macs else "-"
        ceiling = milliseconds(part.ceiling_ms) if part.ceiling_ms else "-"
        share = f"{100 * part.milliseconds / self.whole_ms:.0f} %"
        cells = (title(part), part.precision, macs, milliseconds(part.milliseconds), share, ceiling, multiple(part))
        return [Text(cell) for cell in cells]

    def verdict(self) -> str:
        """The whole in a sentence."""
        whole = self.whole
        return (
            f"one inference takes {milliseconds(whole.milliseconds)}, {multiple(whole)} the machine's ceiling for its "
            f"work ({milliseconds(whole.ceiling_ms)}, set by {whole.limit})"
        )

    def about(self) -> str:
        """The workload, and the ceilings with where they are from."""
        cores = "" if self.workload.threads == 1 else f", {self.workload.threads} of them used"
        return f"{self.workload} · ceilings of a core{cores}, {self.known_from}: {ceilings_in_words(self.ceilings)}"

    def remarks(self) -> list[str]:
        """What a reader must know to read the numbers."""
        beaten = any(part.times is not None and part.times < 1 for part in (*self.parts, self.whole))
        profiler = f"What the profiler does at each node, {1e3 * self.profiler_ms:.1f} µs, is left out."
        several = [SEVERAL] if self.workload.threads > 1 else []
        return [ABOUT[0], *several, f"{ABOUT[1]} {profiler}", *([CACHED] if beaten else [])]

    def draw(self, path: Path, *, heading: Sequence[str]) -> None:
        from autocompress.report.parts_png import as_parts_png

        as_parts_png(self, path, heading=heading)


def title(part: PartTime) -> str:
    """A part's name; of nodes that belong to no part, how many there are."""
    return f"other ({part.nodes} node{'' if part.nodes == 1 else 's'})" if part.part == "other" else part.part


def milliseconds(value: float) -> str:
    return f"{value:.3f} ms" if value < 9.9995 else f"{value:.3g} ms"


def multiple(part: PartTime) -> str:
    """How many times its ceiling a part takes."""
    if part.times is None:
        return "-"
    return f"{part.times:.1f}×" if part.times < 99.95 else f"{part.times:,.0f}×"


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")
