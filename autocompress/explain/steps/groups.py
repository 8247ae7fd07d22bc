"""The steps of a policy as the space asks for them: those that it decides at once are one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from autocompress.core.policy import CompressionPolicy, Setting, Step, canonical_json
from autocompress.core.space import SearchSpace, StepSpace

Key = tuple[str, str, str]
"""Operator, target and settings of a step, to be compared."""


def key_of(step: Step) -> Key:
    return step.operator, step.target, canonical_json(dict(step.settings))


@dataclass(frozen=True, slots=True)
class Group:
    """Equal steps on several targets. `scope` are the targets that whoever decides over them decides over, also where
    this policy leaves them alone; `places` are the steps' in the policy."""

    operator: str
    settings: Mapping[str, Setting]
    targets: tuple[str, ...]
    places: tuple[int, ...]
    scope: frozenset[str]


@final
class Decisions:
    """Who decides over a step: a step of the space that is asked once, or its target's own knobs."""

    def __init__(self, space: SearchSpace | None) -> None:
        """`space` is bound. Without one steps of equal settings are taken for one decision, where they have any."""
        self._space = space

    def factor(self, step: Step) -> str:
        """The name of the decision that a step came from."""
        asked = self._asked(step)
        if asked is None or asked.per == "target":
            return f"{step.operator}/{step.target}"
        return asked.name

    def groups(self, policy: CompressionPolicy) -> list[Group]:
        """In the order of the policy, each where its first step stands."""
        places: dict[tuple[str, str, str], list[int]] = {}
        for place, step in enumerate(policy.steps):
            settings = canonical_json(dict(step.settings))
            places.setdefault((step.operator, self._decided(step), settings), []).append(place)
        return [self._group(policy, some) for some in places.values()]

    def _group(self, policy: CompressionPolicy, places: Sequence[int]) -> Group:
        steps = [policy.steps[place] for place in places]
        asked = self._asked(steps[0])
        at_once = asked.targets if asked is not None and asked.per == "step" else ()
        targets = tuple(step.target for step in steps)
        return Group(steps[0].operator, steps[0].settings, targets, tuple(places), frozenset((*targets, *at_once)))

    def _decided(self, step: Step) -> str:
        if self._space is not None:
            return self.factor(step)
        kind = step.target.rpartition(".")[2]
        if not kind.isdecimal():
            return kind
        return "" if step.settings else step.target

    def _asked(self, step: Step) -> StepSpace | None:
        """The step of the space that it is: of several on one target the one whose fixed settings it has."""
        if self._space is None:
            return None
        found = [one for one in self._space.steps if one.operator == step.operator and step.target in one.targets]
        fitting = [one for one in found if one.settings.items() <= step.settings.items()]
        return next(iter(fitting or found), None)
