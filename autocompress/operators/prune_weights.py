"""Sparsity: single weights, N of every M, or blocks of them are zero and stay so (see `anatomy.sparse` for which)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast, final, get_args

from autocompress.core.parts import Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.sparsity import PATTERNS, SHARES, Pattern, Sparsity
from autocompress.errors import CandidateError
from autocompress.operators.part_operator import PartOperator

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class PruneWeights(PartOperator):
    """Sets weights of a block to zero, the same share of each of its matrices: `sparsity` is zeros / total. In the
    `pattern` they stand anywhere (`unstructured`), leave N of every M inputs of an output (`2:4`), or are whole blocks
    of outputs x inputs (`16x16`). `wanda` keeps those that are large and multiplied with much on training texts,
    `magnitude` those that are large. Zeros stay zero in training, and are not stored: the file is smaller, and put
    together again as it is loaded. They are computed like other weights, so nothing is faster. Heads and channels are
    cut before."""

    name: Final = "prune_weights"
    phase: Final = Phase.SPARSITY
    elastic: Final = False
    targets: Final = ("layers.*", "layers.*.attention", "layers.*.cross_attention", "layers.*.feed_forward")
    rules: Final[Mapping[str, SettingRule]] = {
        "pattern": SettingRule(values=PATTERNS, default="unstructured"),
        "sparsity": SettingRule(low=0.01, high=0.99, real=True, told_by=("pattern", SHARES)),
        "importance": SettingRule(values=("wanda", "magnitude"), default="wanda"),
    }

    def fits(self, part: Part) -> bool:
        return ("heads" in part.units or "channels" in part.units) and part.owner is None

    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        where, asked = f"{self.name} on {part.name}", _sparsity(settings)
        for matrix in part.matrices:
            if matrix.rank is not None:
                raise CandidateError(f"{where}: its matrices are two factors; make them sparse, or of low rank")
            if matrix.sparsity is not None:
                raise CandidateError(f"{where}: its matrices are sparse already; let one step say their `sparsity`")
            if why := asked.why_not(matrix.inputs, matrix.outputs):
                raise CandidateError(f"{where}, {matrix.name}: {why}")
        return replace(part, matrices=tuple(replace(one, sparsity=asked) for one in part.matrices))

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        from autocompress.anatomy.sparse import Criterion

        layer = anatomy.layer(anatomy.layer_of(step.target))
        attention = () if step.target.endswith(".feed_forward") else layer.attention
        feed_forward = () if step.target.endswith(".attention") else layer.feed_forward
        (criterion,) = (one for one in get_args(Criterion) if one == step.settings.get("importance", "wanda"))
        anatomy.make_sparse((*attention, *feed_forward), _sparsity(step.settings), criterion)


def _sparsity(settings: Mapping[str, Setting]) -> Sparsity:
    """Raises CandidateError for a share that the pattern does not have."""
    pattern = cast(Pattern, settings.get("pattern", "unstructured"))
    try:
        return Sparsity(pattern, float(settings.get("sparsity", SHARES.get(pattern, 0.0))))
    except ValueError as error:
        raise CandidateError(f"{PruneWeights.name}: {error}") from error
