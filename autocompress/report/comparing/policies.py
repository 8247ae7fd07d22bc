"""Where two policies part: what each leaves of a part, and the steps whose settings differ."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.parts import WHOLE, ModelParts, Part
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.storage import PRECISION
from autocompress.core.wording import table_bits
from autocompress.errors import CandidateError
from autocompress.operators import effective
from autocompress.report.policies import layer_bits, units_of

Settings = Mapping[str, Setting]

_NAMED: Final = 3
"""Targets of steps that differ alike are named as far as this, and counted."""


@dataclass(frozen=True, slots=True)
class PartRow:
    """What two policies leave of a part, in words."""

    part: str
    a: str
    b: str

    @property
    def differs(self) -> bool:
        return self.a != self.b

    def to_json(self) -> dict[str, Any]:
        return {"part": self.part, "a": self.a, "b": self.b, "differs": self.differs}


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step that two policies do not share; None for who has none of this operator at this target."""

    operator: str
    target: str
    a: Settings | None
    b: Settings | None

    def to_json(self) -> dict[str, Any]:
        return {
            "operator": self.operator,
            "target": self.target,
            "a": None if self.a is None else dict(self.a),
            "b": None if self.b is None else dict(self.b),
        }


@dataclass(frozen=True, slots=True)
class PolicyDifference:
    """`parts` are all parts of the model, empty where its shape is not known; `steps` those that differ alone."""

    parts: tuple[PartRow, ...] = ()
    steps: tuple[StepRow, ...] = ()

    @property
    def unseen(self) -> list[str]:
        """Steps that differ and that no row of a part shows, in a line each: `distill: temperature 2 -> 4`. Those of
        one operator that differ in the same way are told together, with their targets."""
        shown = {row.part for row in self.parts if row.differs}
        alike: dict[tuple[str, str], list[str]] = {}
        for step in self.steps:
            if not any(_within(step.target, part) for part in shown):
                alike.setdefault((step.operator, _change(step)), []).append(step.target)
        return [f"{operator}{_at(targets)}: {change}" for (operator, change), targets in alike.items()]

    @property
    def differing(self) -> list[PartRow]:
        """Parts that differ; neighbouring layers that do so in the same way are one row: `layers.0 to 4`."""
        rows: list[PartRow] = []
        since = ""
        for row in self.parts:
            if not row.differs:
                since = ""
                continue
            stack, _, place = row.part.rpartition(".")
            if since and rows and (rows[-1].a, rows[-1].b) == (row.a, row.b) and stack == since.rpartition(".")[0]:
                rows[-1] = PartRow(f"{since} to {place}", row.a, row.b)
            else:
                since = row.part
                rows.append(row)
        return rows

    def to_json(self) -> dict[str, Any]:
        return {"parts": [row.to_json() for row in self.parts], "steps": [row.to_json() for row in self.steps]}


def policy_difference(a: CompressionPolicy, b: CompressionPolicy, shape: ModelParts | None) -> PolicyDifference:
    """Between two policies for a model of that shape. What this version cannot apply to it is compared by steps
    alone."""
    steps = tuple(_steps(a, b))
    if shape is None:
        return PolicyDifference(steps=steps)
    try:
        left, right = (effective(policy, shape)[1] for policy in (a, b))
    except (CandidateError, KeyError, ValueError):
        return PolicyDifference(steps=steps)
    return PolicyDifference(tuple(_parts(shape, left, right)), steps)


def _steps(a: CompressionPolicy, b: CompressionPolicy) -> Iterator[StepRow]:
    """In the order of the policies."""
    left, right = (_by_place(policy.steps) for policy in (a, b))
    for place in dict.fromkeys((*left, *right)):
        mine, its = left.get(place), right.get(place)
        if mine != its:
            yield StepRow(place[0], place[1], mine, its)


def _by_place(steps: Sequence[Step]) -> dict[tuple[str, str, int], Settings]:
    """An operator may be applied to a target twice."""
    found: dict[tuple[str, str, int], Settings] = {}
    for step in steps:
        times = sum((step.operator, step.target) == place[:2] for place in found)
        found[step.operator, step.target, times] = step.settings
    return found


def _parts(shape: ModelParts, left: ModelParts, right: ModelParts) -> Iterator[PartRow]:
    """The model as a whole, the embeddings, then every layer of the uncompressed model."""
    if (wholes := (_whole(shape, left), _whole(shape, right))) != ("", ""):
        yield PartRow("model", *(told or "as it was" for told in wholes))
    yield PartRow("embeddings", *(PRECISION[table_bits(one)] for one in (left, right)))
    for stack in shape.stacks:
        for layer in shape.layers(stack):
            before = shape.of_layer(stack, layer)
            yield PartRow(f"{stack}.{layer}", *(_layer(before, one.of_layer(stack, layer)) for one in (left, right)))


def _whole(shape: ModelParts, model: ModelParts) -> str:
    """What is no layer's: `hidden 192 of 384, 12,000 of 30,522 words, in openvino`."""
    told = []
    if model.width != shape.width:
        told.append(f"hidden {model.width} of {shape.width}")
    if model.vocabulary != shape.vocabulary:
        told.append(f"{model.vocabulary:,} of {shape.vocabulary:,} words")
    if model.runtime != shape.runtime:
        told.append(f"in {model.runtime}")
    return ", ".join(told)


def _layer(before: Sequence[Part], after: Sequence[Part]) -> str:
    """`heads 6 of 12, ffn 1536, int8, rank 48, 50 % zeros (2:4), attention local, window 64`."""
    if not after:
        return "removed"
    had, has = units_of(before), units_of(after)
    told = [
        f"{name} {has[axis]}" + (f" of {had[axis]}" if had[axis] != has[axis] else "")
        for axis, name in (("heads", "heads"), ("channels", "ffn"))
        if axis in has and axis in had
    ]
    matrices = [one for part in after for one in part.matrices]
    told.append(layer_bits(after))
    if any(one.storage.activations == "static" for one in matrices):
        told.append("static")
    if ranks := sorted({one.rank for one in matrices if one.rank is not None}):
        told.append(f"rank {' to '.join(dict.fromkeys(map(str, (ranks[0], ranks[-1]))))}")
    zeros = {(100 * one.sparsity.share, one.sparsity.pattern) for one in matrices if one.sparsity is not None}
    told += [f"{share:.3g} % zeros ({pattern})" for share, pattern in sorted(zeros)]
    forms = {part.mixing.form for part in after if part.mixing is not None} - {FULL_ATTENTION}
    told += [f"attention {form}" for form in sorted(map(str, forms))]
    return ", ".join(told)


def _within(target: str, part: str) -> bool:
    """Whether a step's target is what a row is about. Some steps about the whole model leave no trace in its parts, so
    all of these are told."""
    return target == part or target.startswith(f"{part}.")


def _change(step: StepRow) -> str:
    if step.a is None or step.b is None:
        own, word = (step.b, "added") if step.a is None else (step.a, "left out")
        return f"{word}{f' ({_told(own)})' if own else ''}"
    names = [name for name in dict.fromkeys((*step.a, *step.b)) if step.a.get(name) != step.b.get(name)]
    return ", ".join(f"{name} {step.a.get(name, 'unset')} -> {step.b.get(name, 'unset')}" for name in names)


def _told(settings: Settings) -> str:
    return ", ".join(f"{name} {value}" for name, value in settings.items())


def _at(targets: Sequence[str]) -> str:
    """` at layers.0, layers.1 and 4 more`; nothing for the model as a whole."""
    named = [target for target in targets if target != WHOLE]
    if not named:
        return ""
    more = f" and {len(named) - _NAMED} more" if len(named) > _NAMED else ""
    return f" at {', '.join(named[:_NAMED])}{more}"
