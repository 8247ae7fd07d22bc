"""Attention of another form: fewer positions are mixed, so that long inputs cost less."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast, final

from autocompress.core.attention_form import (
    BLOCKS,
    FEATURES,
    FULL_ATTENTION,
    GLOBALS,
    NAMES,
    WINDOWS,
    AttentionForm,
    FormName,
    why_full,
)
from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.space import Choice, SearchSpace, Share, StepSpace
from autocompress.errors import CandidateError

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance


@final
class ReplaceAttention:
    """Gives the attention of a layer another `form`, with the weights that it has. In `local` attention a position sees
    those at most `window` away, and the first `globals` positions see, and are seen by, all: what a head reads at the
    first position stays informed of all of a text. In `sparse` attention blocks of a `window` see themselves, their
    neighbours, so many `blocks` drawn by a `seed`, and the `globals`, of which there is one at least. In `pooled`
    attention all see the means of every `window` positions. In `linear` attention, and in a `performer` of so many
    `features` drawn by a `seed`, all see all, by sums over positions in the place of a softmax of every pair. They pay
    from some 500 tokens on. `full` leaves the layer as it is; so does any form whose answer would be the same: in a
    last layer of which the first position alone is read, that of a global position."""

    name: Final = "replace_attention"
    phase: Final = Phase.ATTENTION_PATTERN
    elastic: Final = True
    targets: Final = ("layers.*.attention",)
    rules: Final[Mapping[str, SettingRule]] = {
        "form": SettingRule(values=NAMES),
        "window": SettingRule(values=WINDOWS, default=64, only_with=("form", ("local", "sparse", "pooled"))),
        "globals": SettingRule(values=GLOBALS, default=1, only_with=("form", ("local", "sparse"))),
        "blocks": SettingRule(values=BLOCKS, default=2, only_with=("form", ("sparse",))),
        "features": SettingRule(values=FEATURES, default=64, only_with=("form", ("performer",))),
        "seed": SettingRule(low=0, high=2**31 - 1, default=0, only_with=("form", ("sparse", "performer"))),
    }

    def fits(self, part: Part) -> bool:
        return part.kind == "attention" and part.owner is None

    def size_of(self, part: Part, setting: str) -> int | None:
        return None

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        (part,) = model.targeted(step.target) or (None,)
        form = form_asked(step.settings)
        if part is None or part.mixing is None or form == FULL_ATTENTION:
            return None
        if why := why_full(model.family):
            raise CandidateError(f"{self.name} on {part.name}: {why}")
        if part.mixing.keeps is not None:
            raise CandidateError(
                f"{self.name} on {part.name}: it keeps {part.mixing.keeps} by the map of full attention, and "
                f"{form.name} attention has none; give another layer this `form`"
            )
        if part.mixing.form != FULL_ATTENTION:
            raise CandidateError(
                f"{self.name} on {part.name}: its attention is {part.mixing.form} already; let one step say its `form`"
            )
        if model.read is not None and part.layer == model.layers(part.stack)[-1]:
            form = form.at_the_end
        if form == FULL_ATTENTION:
            return None
        mixing = replace(part.mixing, form=form)
        return model.with_part(part.name, lambda one: replace(one, mixing=mixing))

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        if self.reshape(anatomy.shape(), step) is not None:
            anatomy.take_form(anatomy.layer_of(step.target), form_asked(step.settings))


_DEFAULTS: Final = {name: rule.default for name, rule in ReplaceAttention.rules.items() if rule.default is not None}


def form_asked(settings: Mapping[str, Setting]) -> AttentionForm:
    """The form that a step's settings say."""
    name, whole = cast(FormName, settings["form"]), {**_DEFAULTS, **settings}
    sizes = (size for size, rule in ReplaceAttention.rules.items() if rule.only_with and name in rule.only_with[1])
    asked = {size: int(whole[size]) for size in sizes}
    if name == "sparse":
        asked["globals"] = max(1, asked["globals"])
    return AttentionForm(name, **asked)


def forms_in(space: SearchSpace) -> tuple[AttentionForm, ...]:
    """The forms beside the full one that policies of a space may have, as far as they take other times, in the order of
    their names."""
    found = set()
    for step in space.steps:
        if step.operator != ReplaceAttention.name:
            continue
        asked = {name: _values(step, name) for name in ReplaceAttention.rules}
        for values in itertools.product(*asked.values()):
            found.add(form_asked(dict(zip(asked, values, strict=True))).timed)
    return tuple(sorted(found - {FULL_ATTENTION}, key=str))


def _values(step: StepSpace, name: str) -> Sequence[Setting]:
    """That a setting may have."""
    rule, knob = ReplaceAttention.rules[name], step.knobs.get(name)
    if knob is None:
        return [value] if (value := step.settings.get(name, rule.default)) is not None else []
    if not isinstance(knob, Choice):  # seeds; ranges are refused where single values are offered
        return [int(knob.low)]
    return [value for value in knob.choices if not isinstance(value, Share)]
