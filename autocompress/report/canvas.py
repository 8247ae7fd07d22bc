"""Pictures: how one is begun and how it is written."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

from autocompress.assets import PICTURE, check_file, write_file
from autocompress.errors import HostError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI: Final = 200
_PER_INCH: Final = 100
"""Pixels of the layout to the inch."""
POINTS: Final = 72 / _PER_INCH
"""Points to a pixel of the layout; a font's size is given in them."""


def new_figure(width: float, height: float, *, instead: str = "") -> Figure:
    """An empty figure of so many pixels. Raises HostError without matplotlib, naming the option to use `instead`."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        other = f", or use {instead}, which needs nothing" if instead else ""
        raise HostError(
            "a PNG needs matplotlib, which is not installed; install it with `pip install 'autocompress[plots]'`"
            f"{other}"
        ) from error
    figure = Figure(figsize=(width / _PER_INCH, height / _PER_INCH), dpi=_DPI)  # not pyplot: no global state
    FigureCanvasAgg(figure)
    return figure


def save(figure: Figure, path: Path, *, about: str) -> None:
    """Writes a PNG that says what it is `about`. Raises HostError when the file cannot be written, SpecError when
    another's file stands there."""
    check_file(path, PICTURE)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", metadata={"Description": about, "Software": "autocompress"})
    write_file(path, drawn.getvalue(), PICTURE)
