"""Forms of attention: which positions are mixed with which, and by what, as numbers. What each computes stands in
`anatomy.attention_form` as torch and in `deploy.blocks.attention_form` as nodes of a graph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, get_args

FormName = Literal["full", "local", "sparse", "pooled", "linear", "performer"]
NAMES: Final[tuple[FormName, ...]] = get_args(FormName)

WINDOWS: Final = (16, 32, 64, 128, 256)
"""Positions to either side that a local attention may see, or those of a block. Each is measured by itself, so there
are few of them."""
GLOBALS: Final = (0, 1, 2, 4, 8, 16, 32)
"""How many first positions may see, and be seen by, all."""
FEATURES: Final = (32, 64, 128, 256)
"""How many random features may stand for a softmax."""
BLOCKS: Final = (1, 2, 4)
"""How many blocks each block may see beside its neighbours."""

_TEXT: Final = re.compile(
    r"(?P<name>\w+)(, window (?P<window>\d+))?(, (?P<globals>\d+) globals?)?"
    r"(, (?P<features>\d+) features| and (?P<blocks>\d+) blocks?)?( of seed (?P<seed>\d+))?"
)
_SIZES: Final[Mapping[FormName, Mapping[str, int]]] = {
    "local": {"window": 1, "globals": 0},
    "sparse": {"window": 1, "globals": 1, "blocks": 1, "seed": 0},
    "pooled": {"window": 1},
    "performer": {"features": 1, "seed": 0},
}
"""The sizes that a form has, and the least that each may be."""


@dataclass(frozen=True, slots=True)
class AttentionForm:
    """`full`: every position sees all. `local`: each sees those at most `window` away, and the first `globals`
    positions see, and are seen by, all (Beltagy et al. 2020, "Longformer", section 3.1). `sparse`: blocks of a window
    see themselves, their two neighbours, so many `blocks` that are drawn by a `seed`, and the global positions (Zaheer
    et al. 2020, "Big Bird", section 2). `pooled`: all are seen, as means over windows (Wang et al. 2020, "Linformer",
    section 4, with mean pooling for the projections). `linear`: all are seen, by
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
    blocks: int = 0

    def __post_init__(self) -> None:
        if self.name not in NAMES:
            raise ValueError(f"`form` {self.name!r} is not known (allowed: {', '.join(NAMES)})")
        least = _SIZES.get(self.name, {})
        if any(getattr(self, size) < value for size, value in least.items()):
            asked = ", ".join(f"`{size} >= {value}`" for size, value in least.items())
            got = ", ".join(f"{size} {getattr(self, size)}" for size in least)
            raise ValueError(f"{asked} must hold of {self.name} attention, got {got}")
        for size in ("window", "globals", "features", "blocks", "seed"):
            if getattr(self, size) and size not in least:
                having = " and ".join(name for name, sizes in _SIZES.items() if size in sizes)
                raise ValueError(f"`{size}` belongs to {having} attention, not to {self.name}")

    def __str__(self) -> str:
        """`local, window 64, 1 global`."""
        if self.name == "performer":
            return f"{self.name}, {self.features} features of seed {self.seed}"
        if not self.window:
            return self.name
        seen = f", {self.globals} global{'' if self.globals == 1 else 's'}" if self.globals else ""
        drawn = f" and {self.blocks} block{'' if self.blocks == 1 else 's'} of seed {self.seed}" if self.blocks else ""
        return f"{self.name}, window {self.window}{seen}{drawn}"

    @staticmethod
    def of(text: str) -> AttentionForm:
        """The inverse of `str`. Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None or found["name"] not in NAMES:
            raise ValueError(f"`form` {text!r} is not known (such as: full; local, window 64, 1 global)")
        (name,) = (one for one in NAMES if one == found["name"])
        sizes = ("window", "globals", "features", "seed", "blocks")
        return AttentionForm(name, *(int(found[size] or 0) for size in sizes))

    @property
    def timed(self) -> AttentionForm:
        """As far as it takes time: which features or blocks were drawn does not."""
        return replace(self, seed=0)

    @property
    def at_the_end(self) -> AttentionForm:
        """What is left of it where the first position alone is computed: it sees all where it is global."""
        return FULL_ATTENTION if self.globals else self

    def work(self, targets: int, sources: int, head_size: int) -> tuple[int, int]:
        """Multiply-accumulates between positions, and numbers alive at once, of one head. Local and sparse attention
        are computed in blocks of a window, of which each sees itself and its neighbours, whatever lies outside of the
        window, and what is drawn."""
        if self.name == "full":
            return 2 * targets * sources * head_size, targets * sources
        if self.name in ("linear", "performer"):
            wide, both = self.features or head_size, targets + sources
            projected = both * head_size * self.features
            return projected + both * wide * (head_size + 1), both * wide
        if self.name == "pooled":
            means = -(-sources // self.window)
            return 2 * (sources + targets * means) * head_size, (targets + 2 * head_size) * means
        if targets < sources:
            scores = targets * (sources if self.globals else min(sources, self.window + 1))
            return 2 * scores * head_size, scores
        blocks, seen = -(-sources // self.window), (3 + self.blocks) * self.window + self.globals
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
