"""Tokens kept: how many of its positions go on behind the attention of a layer, as numbers. What chooses them stands in
`anatomy.kept_tokens` as torch and in `deploy.blocks.kept_tokens` as nodes of a graph."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from autocompress.core.attention_form import ALLOWED

if TYPE_CHECKING:
    from autocompress.core.parts import ModelParts


FINENESS: Final = 1024
"""Attention is told apart by one part of so many, and of equals the earlier token goes on: else those that are attended
alike would be told apart by the order in which a runtime sums."""


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """Of the tokens that come into a layer those go on that receive most of its attention, summed over its heads and
    over the queries that are no padding (Goyal et al. 2020, "PoWER-BERT", section 3.1): a share in `percent`, rounded
    up, or a `count`. The first token always does, and of equals the earlier one. They are counted in each text by
    itself, without its padding, so that a text has the same answer in every batch. It happens between attention and
    feed-forward, and those that go on keep their order.

    Raises ValueError unless one of the two is given, and for a share that is none.
    """

    percent: int = 0
    count: int = 0

    def __post_init__(self) -> None:
        if bool(self.percent) == bool(self.count):
            raise ValueError(
                f"tokens kept are said by one of `percent` and `count`, got percent {self.percent}, count {self.count}"
            )
        if self.count < 0 or not (self.count or 1 <= self.percent <= 99):
            raise ValueError(
                "`1 <= percent <= 99` or `count >= 1` must hold of tokens kept, got "
                f"percent {self.percent}, count {self.count}"
            )

    def __str__(self) -> str:
        """`50 % of tokens`."""
        return f"{self.percent} % of tokens" if self.percent else f"{self.count} token{'' if self.count == 1 else 's'}"

    def of(self, length: int) -> int:
        """How many of so many go on: one at least."""
        return max(1, min(length, self.count or -(-length * self.percent // 100)))


TOKENS_ARE_GONE: Final = (
    "`attention`, `relations` and `hidden` compare what layers say of every token, and this student loses some on its "
    "way; learn from the teacher's answers, or from `embeddings`"
)


def keeps_tokens(model: ModelParts) -> bool:
    """Whether any tokens go no further than one of its layers."""
    return any(part.mixing is not None and part.mixing.keeps is not None for part in model.blocks())


def why_all_positions(model: ModelParts) -> str:
    """What keeps a model from losing tokens on its way; empty where nothing does."""
    if model.family not in ALLOWED:
        return f"a {model.family} loses no tokens on its way (allowed: {', '.join(ALLOWED)})"
    if model.read is None:
        return "its head reads every token, so none may be lost on the way (allowed: a head on the first token)"
    return ""
