"""What an operator is: the socket that every other file of this room fits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from autocompress.core.policy import Step
from autocompress.core.ports import Operator

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


class LiveOperator(Operator, Protocol):
    """An operator that changes models, too. `apply` does it physically, in place; weights it does not keep are gone,
    weights it keeps are never written to (they may be shared between workers). It and `reshape` agree:
    `anatomy.shape()` after `apply` equals `reshape` of the one before.

    Most operators treat each part alone: they are a `PartOperator`, which asks them for no more than that.
    """

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        """Shrink the model in place."""
