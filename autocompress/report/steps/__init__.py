"""What each step of a policy took from a model, what that is worth, and what it cost in quality.

`told`     the values, which `autocompress.explain.steps` finds
`cells`    the same as cells of a table
`tables`   for a terminal
"""

from autocompress.report.steps.cells import StepCells, cells_of
from autocompress.report.steps.tables import as_steps
from autocompress.report.steps.told import (
    Costs,
    Held,
    Judged,
    MatrixChange,
    Neighbour,
    Steps,
    StepTold,
    Taken,
    Worth,
    places_of,
)

__all__ = [
    "Costs",
    "Held",
    "Judged",
    "MatrixChange",
    "Neighbour",
    "StepCells",
    "StepTold",
    "Steps",
    "Taken",
    "Worth",
    "as_steps",
    "cells_of",
    "places_of",
]
