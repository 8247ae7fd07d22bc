"""How answers are scored: the metrics a task may be judged by, what is known of each, and how a study names one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from autocompress.core.functions import GIVEN, is_path
from autocompress.core.metrics import Direction
from autocompress.errors import did_you_mean

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class ScoreKind:
    """What is known of a metric. A quality is always larger where it is better, so one of which less is better is
    taken negative and called so, as scikit-learn does: `-rmse`. `worst` is the least that a quality can be, or as good
    as that. What lies between -1 and 1 may be given in hundredths (`points`); differences are told so (`share`) where
    it is a share of something, which a correlation is not."""

    name: str
    direction: Direction
    worst: float
    meaning: str
    points: bool = True
    digits: int = 3
    share: bool = True

    @property
    def quality(self) -> str:
        """What a quality by it is called."""
        return self.name if self.direction == "maximize" else f"-{self.name}"


_ENDLESS: Final = -1e6
_OWN: Final = re.compile(r"[A-Za-z][\w-]{0,39}")

SCORES: Final[Mapping[str, ScoreKind]] = {
    kind.name: kind
    for kind in (
        ScoreKind("accuracy", "maximize", 0.0, "the share of right answers"),
        ScoreKind("f1", "maximize", 0.0, "the F1 score of one class, which `label` names"),
        ScoreKind("macro-f1", "maximize", 0.0, "the F1 score averaged over classes"),
        ScoreKind("micro-f1", "maximize", 0.0, "the F1 score of all decisions together"),
        ScoreKind("mcc", "maximize", -1.0, "Matthews' correlation of answers and labels", share=False),
        ScoreKind("roc-auc", "maximize", 0.0, "how often a text of a class scores above one of another"),
        ScoreKind("spearman", "maximize", -1.0, "the correlation of ranks", share=False),
        ScoreKind("pearson", "maximize", -1.0, "the linear correlation", share=False),
        ScoreKind(
            "rmse", "minimize", _ENDLESS, "the root of the mean squared error", points=False, digits=4, share=False
        ),
        ScoreKind("span-f1", "maximize", 0.0, "the F1 score of whole spans of words, by the rule of conlleval"),
        ScoreKind("recall", "maximize", 0.0, "how often the right one is among the `k` nearest"),
    )
}


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """The metric of a study, with what it needs to be told."""

    name: str
    """Which one."""
    label: str | None = None
    """The class that `f1` and `roc-auc` are of."""
    k: int | None = None
    """How many of the nearest `recall` looks at."""
    function: str | None = None
    """A function of your own that scores, as `module:name`: it is given outputs and targets as arrays with a row each,
    and returns a number, larger where it is better. `name` is what you call it. `given` stands for one that came from
    Python, `autocompress.run(..., score=...)`."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.function is not None:
            self._check_own(self.function)
            return
        if self.name not in SCORES:
            raise ValueError(f"no metric is called {self.name!r}; {did_you_mean(self.name, SCORES)}")
        if (self.name == "f1") != bool(self.label) and self.name != "roc-auc":
            wants = "`label` must name the class of f1" if self.name == "f1" else "`label` belongs to f1 and roc-auc"
            raise ValueError(f"{wants}; for all classes together there are macro-f1 and micro-f1")
        if (self.name == "recall") != (self.k is not None):
            raise ValueError("`k` belongs to recall, which needs it: {name: recall, k: 10}")
        if self.k is not None and self.k < 1:
            raise ValueError(f"`k >= 1` must hold, got {self.k}")

    def _check_own(self, function: str) -> None:
        """Raises ValueError."""
        if function != GIVEN and not is_path(function):
            raise ValueError(f"`function` must read `module:name`, got {function!r}")
        if not _OWN.fullmatch(self.name) or self.name in SCORES:
            raise ValueError(
                "`name` must be a word of letters, digits, '-' and '_' that is no metric of ours where there is a "
                f"`function`, got {self.name!r}"
            )
        if self.label is not None or self.k is not None:
            raise ValueError("`label` and `k` belong to metrics of ours; a `function` knows by itself")

    @property
    def kind(self) -> ScoreKind:
        """What is known of it. A function of the user's may have any value; differences are told in hundredths."""
        return SCORES[self.name] if self.function is None else ScoreKind(self.name, "maximize", _ENDLESS, "your own")

    def __str__(self) -> str:
        """As a measurement's unit has it: `accuracy`, `f1 of spam`, `recall@10`, `-rmse`."""
        if self.function is not None:
            return self.name
        tail = f" of {self.label}" if self.label else f"@{self.k}" if self.k else ""
        return SCORES[self.name].quality + tail


def above_chance(quality: float, chance: float) -> float:
    """What a model knows: its quality above that of an answer that is always the same. What counts as much or little is
    said in shares of it, so that it means the same by every metric; 0 where there is nothing."""
    return max(quality - chance, 0.0)


def least_quality(metric: MetricSpec, chance: float | None) -> float:
    """Where the hypervolume begins: at 0 where a metric lies between -1 and 1, else at what chance has."""
    kind = SCORES.get(metric.name)
    return 0.0 if kind is None or kind.points or chance is None else chance


def score_named(unit: str) -> ScoreKind:
    """That of a measurement's unit. One that nobody here knows, of a task from elsewhere, is taken for a share."""
    name = unit.removeprefix("-").partition(" of ")[0].partition("@")[0]
    return SCORES.get(name, ScoreKind(unit, "maximize", 0.0, ""))


def parsed_metric(unit: str) -> MetricSpec:
    """The metric by what `str` made of it."""
    name, _, label = unit.removeprefix("-").partition(" of ")
    name, _, k = name.partition("@")
    return MetricSpec(name, label or None, int(k) if k else None)
