"""Low rank: a matrix is held and computed as two, with few numbers between them (DRONE, Chen et al. 2021; see
`anatomy.low_rank` for how the two are found)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.parts import Matrix, Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError
from autocompress.operators.part_operator import PartOperator

if TYPE_CHECKING:
    from torch import Tensor

    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.factored import Factors
    from autocompress.anatomy.moments import Moments
    from autocompress.anatomy.scores import Importance


@final
class LowRank(PartOperator):
    """Holds every matrix of a block as two factors of a `rank`, a share of the full one: 1 leaves the block as it is,
    and so does a share whose factors would hold no fewer numbers (from a half on, of a square). Heads and channels are
    cut before: the share is of what they left. On training texts the directions are found in which outputs vary
    most."""

    name: Final = "low_rank"
    phase: Final = Phase.RANK
    elastic: Final = False
    targets: Final = ("layers.*", "layers.*.attention", "layers.*.cross_attention", "layers.*.feed_forward")
    rules: Final[Mapping[str, SettingRule]] = {"rank": SettingRule(low=0.01, high=1.0, real=True)}

    def fits(self, part: Part) -> bool:
        return ("heads" in part.units or "channels" in part.units) and part.owner is None

    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        if any(one.rank is not None for one in part.matrices):
            raise CandidateError(
                f"{self.name} on {part.name}: its matrices are two factors already; let one step say their `rank`"
            )
        found = tuple(_in_rank(one, float(settings["rank"])) for one in part.matrices)
        return None if found == part.matrices else replace(part, matrices=found)

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        from autocompress.anatomy.low_rank import best_factors

        def factors(weight: Tensor, bias: Tensor | None, seen: Moments | None) -> Factors | None:
            outputs, inputs = weight.shape
            rank = _rank(inputs, outputs, float(step.settings["rank"]))
            return None if rank is None else best_factors(weight, bias, seen, rank=rank)

        layer = anatomy.layer(anatomy.layer_of(step.target))
        attention = () if step.target.endswith(".feed_forward") else layer.attention
        feed_forward = () if step.target.endswith(".attention") else layer.feed_forward
        anatomy.factor((*attention, *feed_forward), factors)


def _in_rank(matrix: Matrix, share: float) -> Matrix:
    return replace(matrix, rank=_rank(matrix.inputs, matrix.outputs, share))


def _rank(inputs: int, outputs: int, share: float) -> int | None:
    """None where two factors of it would hold no fewer numbers than the matrix does."""
    rank = max(1, round(share * min(inputs, outputs)))
    return rank if rank * (inputs + outputs) < inputs * outputs else None
