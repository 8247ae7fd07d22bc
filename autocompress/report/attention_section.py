"""What a student attends to in one sentence, beside its teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocompress.report.plain_text import one_line

Maps = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LayerMaps:
    """One layer that the student kept, by its place in the teacher. Maps are [length, length], a row a token that asks;
    `teacher` and `student` are means over heads. `head` is the most important one that is left, by its place in
    the teacher's layer; `apart` how far the two means are from each other, in bits, 0 to 1."""

    layer: int
    kept: tuple[int, ...]
    heads_before: int
    teacher: Maps
    student: Maps
    head: int
    teacher_head: Maps
    student_head: Maps
    apart: float

    def to_json(self) -> dict[str, Any]:
        return {
            "layer": self.layer,
            "kept_heads": list(self.kept),
            "most_important_head": self.head,
            "divergence_bits": round(self.apart, 4),
        }


@dataclass(frozen=True, slots=True)
class Answers:
    """The label each gives to the sentence, and its share where there is one; what both have in common, where their
    answers do not say it."""

    teacher: tuple[str, float | None]
    student: tuple[str, float | None]
    beside: str = ""


@final
@dataclass(frozen=True, slots=True)
class AttentionSection:
    """`words` are the sentence's tokens; `left_out` more were cut off to keep the picture readable."""

    text: str
    words: tuple[str, ...]
    left_out: int
    answers: Answers
    layers: tuple[LayerMaps, ...]

    @property
    def name(self) -> str:
        return "attention"

    def to_json(self) -> dict[str, Any]:
        return {
            "text": self.text,
            "tokens": list(self.words),
            "tokens_left_out": self.left_out,
            "teacher": _answer_json(*self.answers.teacher),
            "student": _answer_json(*self.answers.student),
            **({"beside": self.answers.beside} if self.answers.beside else {}),
            "layers": [layer.to_json() for layer in self.layers],
        }

    def table(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("layer", "heads", "most important", "from the teacher's maps"):
            table.add_column(column, justify="right")
        for one in self.layers:
            heads = f"{len(one.kept)} of {one.heads_before}"
            table.add_row(str(one.layer), heads, str(one.head), f"{one.apart:.3f} bits")
        return Group(Text(f"“{one_line(self.text, width=100)}”"), Text(self.answered(), style="dim"), table)

    def answered(self) -> str:
        """What both say of the sentence."""
        both = (("teacher", self.answers.teacher), ("student", self.answers.student))
        said = [f"{who}: {label}" + ("" if share is None else f" {share:.2f}") for who, (label, share) in both]
        said += [self.answers.beside] if self.answers.beside else []
        cut = f" · cut at {len(self.words)} of {len(self.words) + self.left_out} tokens" if self.left_out else ""
        return " · ".join(said) + cut

    def draw(self, path: Path, *, heading: Sequence[str]) -> None:
        from autocompress.report.attention_png import as_attention_png

        as_attention_png(self, path, heading=heading)


def _answer_json(label: str, share: float | None) -> dict[str, Any]:
    return {"label": label, "share": None if share is None else round(share, 4)}
