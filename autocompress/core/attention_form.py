"""Forms of attention: which positions are mixed with which, and by what, as numbers. What each computes stands in
`anatomy.attention_form` as torch and in `deploy.blocks.attention_form` as nodes of a graph."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

FormName = Literal["full", "local", "linear", "performer"]
NAMES: Final[tuple[FormName, ...]] = get_args(FormName)

WINDOWS: Final = (16, 32, 64, 128, 256)
"""Positions to either side that a local attention may see. Each is measured by itself, so there are few of them."""
GLOBALS: Final = (0, 1, 2, 4, 8, 16, 32)
"""How many first positions may see, and be seen by, all."""
FEATURES: Final = (32, 64, 128, 256)
"""How many random features may stand for a softmax."""

_TEXT: Final = re.compile(
    r"(?P<name>\w+)(, window (?P<window>\d+))?(, (?P<globals>\d+) globals?)?"
    r"(, (?P<features>\d+) features of seed (?P<seed>\d+))?"
)


@dataclass(frozen=True, slots=True)
class AttentionForm:
    """`full`: every position sees all. `local`: each sees those at most `window` away, and the first `globals`
    positions see, and are seen by, all (Beltagy et al. 2020, "Longformer", section 3.1). `linear`: all are seen, by
    products of elu + 1 of queries and keys in the place of their softmax (Katharopoulos et al. 2020, "Transformers are
    RNNs", section 3.2). `performer`: by as many positive orthogonal random `features`, which estimate the softmax
    (Choromanski et al. 2021, "Rethinking Attention with Performers", sections 2.3 and 2.4), drawn by a `seed`.

    Raises ValueError for sizes that the form has not.
    """

    name: FormName = "full"
    window: int = 0
    globals: int = 0
    features: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"`form` {self.name!r} is not known (allowed: {', '.join(NAMES)})")
        if self.name == "local" and (self.window < 1 or self.globals < 0):
            raise ValueError(
                f"`window >= 1` and `globals >= 0` must hold of local attention, got window {self.window} and "
                f"{self.globals} globals"
            )
        if self.name == "performer" and (self.features < 1 or self.seed < 0):
            raise ValueError(
                f"`features >= 1` and `seed >= 0` must hold of a performer, got {self.features} features of seed "
                f"{self.seed}"
            )
        if self.name != "local" and (self.window or self.globals):
            raise ValueError(f"`window` and `globals` belong to local attention, not to {self.name}")
        if self.name != "performer" and (self.features or self.seed):
            raise ValueError(f"`features` and `seed` belong to a performer, not to {self.name}")

    def __str__(self) -> str:
        """`local, window 64, 1 global`."""
        if self.name == "performer":
            return f"{self.name}, {self.features} features of seed {self.seed}"
        if self.name != "local":
            return self.name
        seen = f", {self.globals} global{'' if self.globals == 1 else 's'}" if self.globals else ""
        return f"{self.name}, window {self.window}{seen}"

    @staticmethod
    def of(text: str) -> AttentionForm:
        """The inverse of `str`. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None or found["name"] not in NAMES:
            raise ValueError(f"`form` {text!r} is not known (such as: full; local, window 64, 1 global)")
        (name,) = (one for one in NAMES if one == found["name"])
        return AttentionForm(name, *(int(found[size] or 0) for size in ("window", "globals", "features", "seed")))

    @property
    def timed(self) -> AttentionForm:
        """As far as it takes time: which features were drawn does not."""
        return replace(self, seed=0)

    @property
    def at_the_end(self) -> AttentionForm:
        """What is left of it where the first position alone is computed: it sees all where it is global."""
        return FULL_ATTENTION if self.globals else self

    def work(self, targets: int, sources: int, head_size: int) -> tuple[int, int]:
        """Multiply-accumulates between positions, and numbers alive at once, of one head. Local attention is computed
        in blocks of a window, of which each sees itself and its neighbours, whatever lies outside of the window."""
        if self.name == "full":
            return 2 * targets * sources * head_size, targets * sources
        if self.name in ("linear", "performer"):
            wide, both = self.features or head_size, targets + sources
            projected = both * head_size * self.features
            return projected + both * wide * (head_size + 1), both * wide
        if targets < sources:
            scores = targets * (sources if self.globals else min(sources, self.window + 1))
            return 2 * scores * head_size, scores
        blocks, seen = -(-sources // self.window), 3 * self.window + self.globals
        scores = blocks * self.window * seen + self.globals * sources
        return 2 * scores * head_size, scores + 2 * blocks * seen * head_size


FULL_ATTENTION: Final = AttentionForm()

ALLOWED: Final = ("bert", "roberta", "xlm-roberta", "camembert", "data2vec-text", "electra", "ernie", "distilbert")
"""Families whose attention can take another form. In others positions live inside of the scores, layers have forms of
their own, or nobody tried."""


def why_full(family: str) -> str:
    """What keeps the attention of a family as it is; empty where nothing does."""
    if family in ALLOWED:
        return ""
    return f"the attention of a {family} has no other form (allowed: {', '.join(ALLOWED)})"
