"""How a model is written for its runtime: choices that change how long it takes and nothing else.

None of them is believed: a profile measures which of them pay on its device, for its workload and for each precision,
and keeps what they saved. Without a measurement nothing is chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final, Literal, get_args

from autocompress.core.shape import Bits

_FORBID = {"extra": "forbid"}

Rule = Literal["attention_node", "projections_apart"]

RULES: Final[Mapping[Rule, str]] = {
    "attention_node": "scores, mask, softmax and mix of the values are one `Attention` node (ONNX opset 23) instead of "
    "three transposes, two products, an addition and a softmax; saves the transposes of queries, keys and values, the "
    "pass that adds the mask, and eleven of sixteen nodes",
    "projections_apart": "queries, keys and values are three products of one quantized tensor instead of one product "
    "that is split: saves the copy that the split makes",
}
"""What each rule does, and what it saves."""


@dataclass(frozen=True, slots=True)
class Lowering:
    """The rules by which blocks of each precision are written; none of them is the form of profiles that did not
    measure any."""

    fp32: tuple[Rule, ...] = ()
    int8: tuple[Rule, ...] = ()
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("fp32", "int8"):
            rules = getattr(self, name)
            for rule in rules:
                if rule not in get_args(Rule):
                    raise ValueError(f"`{name}` names the unknown rule {rule!r} (allowed: {', '.join(RULES)})")
            if len(set(rules)) < len(rules):
                raise ValueError(f"`{name}` names a rule twice: {', '.join(rules)}")

    def rules(self, bits: Bits) -> tuple[Rule, ...]:
        """Those for a block of this precision."""
        return self.fp32 if bits == 32 else self.int8
