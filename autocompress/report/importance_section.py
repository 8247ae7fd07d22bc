"""What matters in the uncompressed model, under every criterion, and what a candidate kept of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from autocompress.anatomy.scores import Importance, Scores


@final
@dataclass(frozen=True, slots=True)
class ImportanceSection:
    """`kept` are the heads that the candidate keeps, by layer; a layer that is not in it was removed. None without a
    candidate. `used` are the criteria that the study's space asks for."""

    importance: Importance
    kept: Mapping[int, Sequence[int]] | None
    used: frozenset[str]

    @property
    def name(self) -> str:
        return "importance"

    def to_json(self) -> dict[str, Any]:
        scores = self.importance.to_json()
        heads = {
            criterion: {"scores": rows, "ranking": [ranking(self.heads(criterion, layer)) for layer in self.depth]}
            for criterion, rows in scores["heads"].items()
        }
        layers = {
            criterion: {"scores": row, "ranking": ranking(np.asarray(row))}
            for criterion, row in scores["layers"].items()
        }
        kept = None if self.kept is None else {str(layer): list(heads) for layer, heads in sorted(self.kept.items())}
        return {"used": sorted(self.used), "heads": heads, "layers": layers, "kept_heads": kept}

    @property
    def depth(self) -> range:
        """The layers of the uncompressed model."""
        return range(len(next(iter(self.importance.heads.values()))))

    def heads(self, criterion: str, layer: int) -> Scores:
        return self.importance.heads[criterion][layer]

    def table(self) -> RenderableType:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for column in ("layer", "turns the stream", "rank"):
            table.add_column(column, justify="right")
        marked = "" if self.kept is None else ", [kept]"
        table.add_column(Text(f"heads, the most important first{marked}"))
        layers = self.importance.layers
        order = ranking(np.array([layers["combined"][layer] for layer in self.depth]))
        for layer in self.depth:
            gone = self.kept is not None and layer not in self.kept
            table.add_row(
                str(layer),
                f"{layers['residual'][layer]:.3f}",
                str(order.index(layer) + 1),
                Text("removed" if gone else self._ranked(layer)),
                style="dim" if gone else "",
            )
        return table

    def _ranked(self, layer: int) -> str:
        kept = set((self.kept or {}).get(layer, ()))
        return " ".join(f"[{head}]" if head in kept else str(head) for head in ranking(self.heads("combined", layer)))

    def draw(self, path: Path, *, heading: Sequence[str]) -> None:
        from autocompress.report.importance_png import as_importance_png

        as_importance_png(self, path, heading=heading)


def ranking(scores: Scores) -> list[int]:
    """Indices, the most important first; equal scores in their order."""
    return [int(index) for index in np.argsort(-scores, kind="stable")]
