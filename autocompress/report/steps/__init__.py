"""What each step of a policy took from a model, what that is worth, and what it cost in quality.

`told`     the values, which `autocompress.explain.steps` finds
`tables`   the same for a terminal
"""

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
    "StepTold",
    "Steps",
    "Taken",
    "Worth",
    "as_steps",
    "places_of",
]
