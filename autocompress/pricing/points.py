"""Where in a space a policy lies."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from autocompress import operators
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy, Setting
from autocompress.core.space import Choice, Integer, Knob, SearchSpace
from autocompress.errors import CandidateError
from autocompress.pricing.ranges import Point

_TOGETHER: Final = 256
"""So many values of the knobs of one step are tried together; of more, one knob after the other."""
_WANTED: Final = 1000
"""What a missing part of the policy weighs beside one too many."""


def point_of(space: SearchSpace, shape: ModelParts, policy: CompressionPolicy, hint: Point) -> Point | None:
    """A point of a bound space at which it has this policy, whose idle steps are left out; None where none is found.

    It is looked for from `hint`, a point of another space: its values stay where the knob of that name offers them. The
    knobs of each other step take the values that bring the policy nearest, one step after the other, so that every
    policy is found whose steps do not stand in each other's way.
    """
    knobs, wanted = space.knobs(), _tokens(policy)
    point = {name: hint[name] if _offers(knob, hint.get(name)) else _whole(name, knob) for name, knob in knobs.items()}

    def distance(at: Mapping[str, Setting]) -> float:
        found = _policy(space, shape, at)
        if found is None:
            return math.inf
        tokens = _tokens(found)
        return _WANTED * len(wanted - tokens) + len(tokens - wanted)

    best = distance(point)
    for names in _groups(space):
        if best == 0:
            break
        if all(_offers(knobs[name], hint.get(name)) for name in names):
            continue
        for values in _tried(knobs, names):
            tried = {**point, **values}
            known = distance(tried)
            if known < best:
                point, best = tried, known
    found = _policy(space, shape, point)
    return point if found is not None and found.digest == policy.digest else None


def _policy(space: SearchSpace, shape: ModelParts, point: Mapping[str, Setting]) -> CompressionPolicy | None:
    """Without its idle steps; None where they cannot be applied."""
    try:
        return operators.effective(space.policy(lambda name, _: point[name]), shape)[0]
    except CandidateError:
        return None


def _tokens(policy: CompressionPolicy) -> set[tuple[Any, ...]]:
    """Its steps and their settings, each by itself."""
    return {
        token
        for step in policy.steps
        for token in (
            (step.operator, step.target),
            *((step.operator, step.target, *one) for one in step.settings.items()),
        )
    }


def _groups(space: SearchSpace) -> Iterator[Sequence[str]]:
    """The names of the knobs that decide over one step at one place."""
    for step in space.steps:
        names = [name for name, _ in step.asked()]
        each = len(step.knobs) + step.optional
        yield from (names[start : start + each] for start in range(0, len(names), each) if each)


def _tried(knobs: Mapping[str, Knob], names: Sequence[str]) -> Iterator[dict[str, Setting]]:
    values = [_values(knobs[name]) for name in names]
    if math.prod(map(len, values)) <= _TOGETHER:
        yield from (dict(zip(names, one, strict=True)) for one in itertools.product(*values))
    else:
        yield from ({name: value} for name, some in zip(names, values, strict=True) for value in some)


def _values(knob: Knob) -> Sequence[Setting]:
    """Those of a knob; the ends of a real one."""
    if isinstance(knob, Choice):
        return [value for value in knob.choices if isinstance(value, bool | int | float | str)]
    if isinstance(knob, Integer):
        return range(knob.low, knob.high + 1, knob.step)
    return [knob.low, knob.high]


def _offers(knob: Knob, value: Setting | None) -> bool:
    if value is None:
        return False
    if isinstance(knob, Choice):
        return any(value == one and type(value) is type(one) for one in knob.choices)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return knob.low <= value <= knob.high and (not isinstance(knob, Integer) or (value - knob.low) % knob.step == 0)


def _whole(name: str, knob: Knob) -> Setting:
    """The value that takes least away: no step, the largest number."""
    values = _values(knob)
    if name.endswith("/apply"):
        return False
    return max(values) if all(isinstance(one, int | float) for one in values) else values[0]
