"""How a model is written for its runtime, and the switches of the runtime's session: choices that change how long it
takes and no answer.

None of them is believed: a profile measures which of them pay on its device, under its workload, for each precision,
and keeps what they saved. Without a measurement nothing is chosen.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Final, Literal, get_args

from autocompress.core.storage import Bits, RowBits

_FORBID = {"extra": "forbid"}

Form = Literal["written", "traced"]
"""How a graph is made: node by node by us, block after block, or traced from the model's own code."""

FORMS_FACT: Final = "forms"
"""Where a study keeps the forms that its graphs have: runtime and precision -> `FormChoice`."""

_NAMES: Final[Mapping[Form, str]] = {"written": "written node by node", "traced": "traced from the model's own code"}

Rule = Literal["attention_node", "projections_apart"]
Switch = Literal["no_spinning", "shrinking_blocks"]

RULES: Final[Mapping[Rule, str]] = {
    "attention_node": "scores, mask, softmax and the mix of values are one `Attention` node (ONNX opset 23); saves the "
    "transposes of queries, keys and values, the pass that adds the mask, and ten nodes a layer",
    "projections_apart": "queries, keys and values are three products of one (quantized) tensor, not one product that "
    "is split; saves the copy that the split makes",
}
"""What each rule does, and what it saves."""

SWITCHES: Final[Mapping[Switch, tuple[str, str]]] = {
    "no_spinning": ("session.intra_op.allow_spinning", "0"),
    "shrinking_blocks": ("session.dynamic_block_base", "4"),
}
"""What each switch sets in a session of ONNX Runtime. Both are about threads that wait for each other: those without
work sleep, or work is dealt out in ever smaller pieces, so that no thread waits long for the last one."""


@dataclass(frozen=True, slots=True)
class Lowering:
    """The rules by which blocks of each precision are written, and the switches of the session. None of them is what
    profiles of before measured."""

    fp32: tuple[Rule, ...] = ()
    """Rules for blocks that compute in fp32."""
    int8: tuple[Rule, ...] = ()
    """Rules for blocks that compute in int8."""
    switches: tuple[Switch, ...] = ()
    """Switches of the runtime's session."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name, allowed in (("fp32", get_args(Rule)), ("int8", get_args(Rule)), ("switches", get_args(Switch))):
            given = getattr(self, name)
            for one in given:
                if one not in allowed:
                    raise ValueError(f"`{name}` names the unknown {one!r} (allowed: {', '.join(allowed)})")
            if len(set(given)) < len(given):
                raise ValueError(f"`{name}` names one twice: {', '.join(given)}")

    def __str__(self) -> str:
        """`fp32 attention_node, int8 attention_node + projections_apart, session no_spinning`."""
        parts = ("fp32", self.fp32), ("int8", self.int8), ("session", self.switches)
        return ", ".join(f"{name} {' + '.join(chosen) or 'plain'}" for name, chosen in parts)

    def rules(self, bits: Bits) -> tuple[Rule, ...]:
        """Those for a block of this precision."""
        return self.fp32 if bits == 32 else self.int8

    @property
    def has_attention_node(self) -> bool:
        return "attention_node" in (*self.fp32, *self.int8)

    def without_attention_node(self) -> Lowering:
        """For files that must be read by runtimes that do not know it."""
        fp32, int8 = (tuple(rule for rule in rules if rule != "attention_node") for rules in (self.fp32, self.int8))
        return replace(self, fp32=fp32, int8=int8)

    @property
    def session(self) -> dict[str, str]:
        """The switches as entries of a session's configuration."""
        return dict(SWITCHES[switch] for switch in self.switches)


@dataclass(frozen=True, slots=True)
class FormChoice:
    """The form that a graph has, why it is this one, and where that was measured the milliseconds of each."""

    form: Form
    why: str
    milliseconds: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        """`written node by node: the faster here, 0.72 ms written, 0.81 ms traced`."""
        times = "".join(f", {value:.3g} ms {form}" for form, value in self.milliseconds.items())
        return f"{_NAMES[self.form]}: {self.why}{times}"


PLAIN: Final = Lowering()
"""Nothing chosen."""


@dataclass(frozen=True, slots=True)
class Tried:
    """What some choices did to models of one precision."""

    bits: RowBits
    """Bits of the models' weights."""
    choices: tuple[Rule | Switch, ...]
    """The rules and switches that were set together."""
    share: float
    """The time with them over the time without."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not (math.isfinite(self.share) and self.share > 0):
            raise ValueError(f"`share` must be a finite number > 0, got {self.share}")
