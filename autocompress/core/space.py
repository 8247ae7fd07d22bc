"""Search spaces: knobs, the steps that hold them, and how a point of the space becomes a policy.

A space is written for no model in particular: targets are globs (`layers.*.attention`) and sizes may be shares
(`50%`). `SearchSpace.bind` resolves both against a model's parts; only a bound space can be sampled.
"""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from autocompress.core.parts import WHOLE
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.errors import did_you_mean

_FORBID = {"extra": "forbid"}


@dataclass(frozen=True, slots=True)
class Share:
    """A size as a share of what the model has; resolved to a whole number when the space is bound."""

    fraction: float

    def __post_init__(self) -> None:
        if not 0 < self.fraction <= 1:
            raise ValueError(f"a share must lie in (0 %, 100 %], got {self.fraction:.6g}")

    def __str__(self) -> str:
        return f"{100 * self.fraction:g}%"

    def of(self, size: int, multiple: int = 1) -> int:
        """The nearest multiple; the whole is the whole."""
        if self.fraction == 1:
            return size
        return min(size, max(1, round(self.fraction * size / multiple)) * multiple)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of several values."""

    choices: tuple[Setting | Share, ...]
    """The values: numbers, words, true or false, or shares of what the model has, such as `50%`."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError("`choices` must hold at least one value")
        if len(set(map(repr, self.choices))) < len(self.choices):
            raise ValueError(f"`choices` must be distinct, got {', '.join(map(str, self.choices))}")

    @property
    def size(self) -> float:
        return len(self.choices)


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number, both ends included."""

    low: int
    """The least."""
    high: int
    """The most."""
    step: int = 1
    """The distance between neighbours, counted from `low`."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"`low <= high` must hold, got low={self.low}, high={self.high}")
        if self.step < 1:
            raise ValueError(f"`step >= 1` must hold, got step={self.step}")

    @property
    def size(self) -> float:
        return (self.high - self.low) // self.step + 1


@dataclass(frozen=True, slots=True)
class Real:
    """A real number, both ends included."""

    low: float
    """The least."""
    high: float
    """The most."""
    log: bool = False
    """Spread over orders of magnitude instead of evenly."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError(f"`low` and `high` must be finite, got low={self.low}, high={self.high}")
        if self.low > self.high:
            raise ValueError(f"`low <= high` must hold, got low={self.low}, high={self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithmic range needs `low > 0`, got low={self.low}")

    @property
    def size(self) -> float:
        return 1 if self.low == self.high else math.inf


Knob = Choice | Integer | Real
Suggest = Callable[[str, Knob], Setting]
SizeOf = Callable[[str, str, str], int | None]
"""(operator, target, knob) -> the size the model has there, or None where a share means nothing."""
MultipleOf = Callable[[str, str], int]
"""(operator, knob) -> what its sizes are multiples of."""
Suits = Callable[[str, str], bool]
"""(operator, target) -> whether the operator can work there."""


@dataclass(frozen=True, slots=True)
class StepSpace:
    """One step of every policy of the space."""

    operator: str
    """What is done: the name of an operator, such as `prune_heads`."""
    target: str
    """The parts that it is done to, as a glob: `layers.*`, `layers.*.attention`, `layers.*.feed_forward`, `embeddings`,
    or `*` for the model as a whole."""
    knobs: Mapping[str, Knob] = field(default_factory=dict)
    """The operator's settings that are searched: `choices`, or a range from `low` to `high`, whole or real."""
    settings: Mapping[str, Setting] = field(default_factory=dict)
    """The operator's settings that are fixed."""
    name: str = ""
    """What the step is called in the names of its knobs; by default as its operator. Steps have distinct names."""
    per: Literal["target", "step"] = "target"
    """`target`: the knobs are asked anew for every part that the glob matches. `step`: once for all."""
    optional: bool = False
    """Adds a knob, `apply`, that switches the step on or off."""
    when: Mapping[str, tuple[Setting, ...]] = field(default_factory=dict)
    """Keeps the step only where other knobs of earlier steps, named `step.knob` and asked once, have one of the listed
    values."""
    targets: tuple[str, ...] = ()
    """The parts that the glob matched; filled in when the space is bound to a model."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", self.operator)
        both = sorted(set(self.knobs) & set(self.settings))
        if both:
            raise ValueError(f"{', '.join(both)}: a setting is either a knob or fixed, not both")

    def asked(self) -> list[tuple[str, Knob]]:
        """The knobs of this bound step under the names a sampler sees."""
        knobs = ([("apply", Choice((True, False)))] if self.optional else []) + list(self.knobs.items())
        places = dict.fromkeys(self.place(target) for target in self.targets) if self.per == "target" else ("",)
        return [(knob_name(self.name, place, knob), space) for place in places for knob, space in knobs]

    def place(self, target: str) -> str:
        """The target as part of its knobs' names: none where they are asked once."""
        return target if self.per == "target" and target != WHOLE else ""


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Every policy that may be tried."""

    name: str
    """What reports call the space."""
    version: int
    """Yours to raise when the space changes: a study that goes on refuses another one."""
    steps: tuple[StepSpace, ...]
    """What is done to a model, in this order."""
    description: str = ""
    """A sentence for lists."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not self.steps:
            raise ValueError("a search space must hold at least one step")
        names = [step.name for step in self.steps]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"steps must have distinct names, got {', '.join(twice)} twice: set `name`")
        asked_once = {f"{s.name}.{knob}": s for s in self.steps if s.per == "step" for knob in (*s.knobs, "apply")}
        for position, step in enumerate(self.steps):
            for key in step.when:
                if key not in asked_once:
                    raise ValueError(
                        f"steps[{position}].when: {key!r} is no knob asked once; {did_you_mean(key, asked_once)}"
                    )
                if self.steps.index(asked_once[key]) >= position:
                    raise ValueError(f"steps[{position}].when: {key!r} must belong to an earlier step")

    def bind(
        self,
        names: tuple[str, ...],
        size_of: SizeOf,
        *,
        suits: Suits = lambda _, __: True,
        multiple_of: MultipleOf = lambda _, __: 1,
    ) -> SearchSpace:
        """Resolve globs and shares against the names of a model's layers and parts, as far as they suit the operators.

        Raises ValueError when a target matches nothing, or when a size is larger than the model's own.
        """
        return SearchSpace(
            self.name,
            self.version,
            tuple(
                _bind_step(step, position, names, size_of, suits, multiple_of)
                for position, step in enumerate(self.steps)
            ),
            self.description,
        )

    def knobs(self) -> dict[str, Knob]:
        """Every knob of a bound space by the name a sampler sees, in the order in which they are asked."""
        return {name: knob for step in self.steps for name, knob in step.asked()}

    def size(self) -> float:
        """How many points the bound space has; infinite with a real knob."""
        return math.prod(knob.size for knob in self.knobs().values())

    def policy(self, suggest: Suggest) -> CompressionPolicy:
        """The policy at one point. Every knob is asked, also of steps that end up left out, so that samplers see a
        space of fixed dimension; the point's repeated policies are found by their digest."""
        values = {name: suggest(name, knob) for name, knob in self.knobs().items()}
        steps = []
        for step in self.steps:
            if not all(values[_when_name(key)] in allowed for key, allowed in step.when.items()):
                continue
            for target in step.targets:
                place = step.place(target)
                if step.optional and not values[knob_name(step.name, place, "apply")]:
                    continue
                chosen = {knob: values[knob_name(step.name, place, knob)] for knob in step.knobs}
                steps.append(Step(step.operator, target, {**step.settings, **chosen}))
        return CompressionPolicy(tuple(steps))


def knob_name(step: str, target: str, knob: str) -> str:
    """`prune_heads/layers.3.attention/heads`, or `prune_heads/heads` for a knob asked once."""
    return "/".join(part for part in (step, target, knob) if part)


def _when_name(key: str) -> str:
    step, _, knob = key.rpartition(".")
    return knob_name(step, "", knob)


def _bind_step(
    step: StepSpace, position: int, names: tuple[str, ...], size_of: SizeOf, suits: Suits, multiple_of: MultipleOf
) -> StepSpace:
    where = f"steps[{position}] ({step.name})"
    matched = (name for name in (WHOLE, *names) if _is_target(name, step.target))
    targets = tuple(name for name in matched if suits(step.operator, name))
    if not targets:
        raise ValueError(
            f"{where}.target: {step.target!r} fits no part of the model; {did_you_mean(step.target, names)}"
        )
    knobs = {
        name: _bind_knob(knob, f"{where}.{name}", step.operator, targets, name, size_of, multiple_of)
        for name, knob in step.knobs.items()
    }
    return StepSpace(
        step.operator, step.target, knobs, step.settings, step.name, step.per, step.optional, step.when, targets
    )


def _is_target(name: str, pattern: str) -> bool:
    """`layers.*` names layers, not what lies inside them or before the first; a bare `*` names the model as a whole."""
    if WHOLE in (name, pattern):
        return name == pattern
    if pattern.endswith(".*") and not name.rpartition(".")[2].isdecimal():
        return False
    return fnmatch.fnmatchcase(name, pattern) and name.count(".") == pattern.count(".")


def _bind_knob(
    knob: Knob,
    where: str,
    operator: str,
    targets: tuple[str, ...],
    name: str,
    size_of: SizeOf,
    multiple_of: MultipleOf,
) -> Knob:
    sizes = {size for target in targets if (size := size_of(operator, target, name)) is not None}
    if isinstance(knob, Choice):
        shares = [value for value in knob.choices if isinstance(value, Share)]
        if shares and len(sizes) != 1:
            raise ValueError(
                f"{where}: a share needs one size to be a share of, the model has {sorted(sizes) or 'none'}"
            )
        multiple = multiple_of(operator, name)
        resolved = [
            value.of(next(iter(sizes)), multiple) if isinstance(value, Share) else value for value in knob.choices
        ]
        knob = Choice(tuple(dict.fromkeys(resolved)))
        largest = max((v for v in resolved if isinstance(v, int) and not isinstance(v, bool)), default=0)
    else:
        largest = int(knob.high)
    if sizes and largest > min(sizes):
        raise ValueError(f"{where}: {largest} is more than the model has ({min(sizes)}); offer at most that")
    return knob
