"""Tokens kept: behind the attention of a layer its most attended tokens go on alone (Goyal et al. 2020, "PoWER-BERT",
section 3.1), so that every layer behind computes fewer rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.kept_tokens import KeptTokens, why_all_positions
from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.space import Choice, SearchSpace, Share, StepSpace
from autocompress.errors import CandidateError

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance

_ALL: Final = 100
"""Percent: nothing is lost."""


@final
class KeepTokens:
    """Lets those tokens of a text go on behind the attention of a layer that receive most of it, the first one always:
    a `share`, in percent of those that come into the layer, or a `count`. One of the two must be said; with a share of
    100 all go on. Every layer behind computes as many fewer rows, so early layers save most, and so do long texts. In
    the last layer, of which the first token alone is read, it does nothing. For models that answer by their first
    token: where a head reads every token none may be lost."""

    name: Final = "keep_tokens"
    phase: Final = Phase.ATTENTION_PATTERN
    elastic: Final = True
    targets: Final = ("layers.*.attention",)
    rules: Final[Mapping[str, SettingRule]] = {
        "share": SettingRule(low=1, high=_ALL, optional=True),
        "count": SettingRule(low=1, optional=True),
    }

    def fits(self, part: Part) -> bool:
        return part.kind == "attention" and part.owner is None

    def size_of(self, part: Part, setting: str) -> int | None:
        return None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        (part,) = model.targeted(step.target) or (None,)
        if why := _not_one(step.settings):
            raise CandidateError(f"{self.name} on {step.target}: {why}")
        kept = kept_asked(step.settings)
        if part is None or part.mixing is None or kept is None:
            return None
        if why := why_all_positions(model):
            raise CandidateError(f"{self.name} on {part.name}: {why}")
        if part.layer == model.layers(part.stack)[-1]:
            return None
        if part.mixing.form != FULL_ATTENTION:
            raise CandidateError(
                f"{self.name} on {part.name}: its attention is {part.mixing.form}, which has no map to rank tokens by "
                f"(allowed: {FULL_ATTENTION}); let another layer keep tokens"
            )
        if part.mixing.keeps is not None:
            raise CandidateError(
                f"{self.name} on {part.name}: it keeps {part.mixing.keeps} already; let one step say how many"
            )
        mixing = replace(part.mixing, keeps=kept)
        return model.with_part(part.name, lambda one: replace(one, mixing=mixing))

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        kept = kept_asked(step.settings)
        if kept is not None and self.reshape(anatomy.shape(), step) is not None:
            anatomy.keep_tokens(anatomy.layer_of(step.target), kept)


def kept_asked(settings: Mapping[str, Setting]) -> KeptTokens | None:
    """What a step's settings say; None where all go on."""
    if "count" in settings:
        return KeptTokens(count=int(settings["count"]))
    share = int(settings["share"])
    return None if share >= _ALL else KeptTokens(percent=share)


def why_not_said(step: StepSpace) -> str:
    """What is wrong with what a step of a space says of how many tokens; empty where nothing is."""
    return _not_one({**step.knobs, **step.settings})


def _not_one(said: Mapping[str, object]) -> str:
    given = [name for name in KeepTokens.rules if name in said]
    if len(given) == 1:
        return ""
    return f"how many tokens go on is said by one of `share` and `count`, got {' and '.join(given) or 'none'}"


def keeps_in(space: SearchSpace) -> bool:
    """Whether policies of a space may keep some of the tokens alone."""
    return any(step.operator == KeepTokens.name for step in space.steps)


def fewest_in(space: SearchSpace, layers: int, length: int) -> int:
    """How many of so many tokens policies of a space may leave to the last layer, at least: a bound from below, as
    shares are rounded up layer by layer."""
    left, least = float(length), length
    for step in (one for one in space.steps if one.operator == KeepTokens.name):
        times = layers - 1 if "*" in step.target or "?" in step.target or "[" in step.target else 1
        left *= min((share / _ALL for share in _numbers(step, "share")), default=1.0) ** times
        least = min(least, *_numbers(step, "count"), length)
    return max(1, math.floor(left * least / length))


def _numbers(step: StepSpace, name: str) -> Iterator[int]:
    """The ends of what a setting may be."""
    knob = step.knobs.get(name)
    if knob is None:
        if name in step.settings:
            yield int(step.settings[name])
    elif isinstance(knob, Choice):
        yield from (int(value) for value in knob.choices if not isinstance(value, Share))
    else:
        yield from (int(knob.low), int(knob.high))
