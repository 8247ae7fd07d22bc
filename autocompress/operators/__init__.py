"""The compression operators, and what a policy does to a model, as numbers and as tensors.

To add one: write its file, pass `autocompress.testing.operator_contract`, add a line to `OPERATORS`; or let a package
of yours declare it (`core.extensions`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from autocompress.core.attention_form import why_full
from autocompress.core.extensions import Registry
from autocompress.core.kept_tokens import why_all_positions
from autocompress.core.narrowing import why_whole
from autocompress.core.parts import WHOLE, ModelParts
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.ports import Operator, Phase
from autocompress.core.space import Choice, Knob, SearchSpace, Share, StepSpace
from autocompress.core.storage import FEW_BITS
from autocompress.core.vocabulary import why_all_words
from autocompress.operators.choose_runtime import ChooseRuntime
from autocompress.operators.distill import Distill
from autocompress.operators.keep_tokens import KeepTokens, why_not_said
from autocompress.operators.low_rank import LowRank
from autocompress.operators.operator import LiveOperator
from autocompress.operators.part_operator import PartOperator
from autocompress.operators.prune_channels import PruneChannels
from autocompress.operators.prune_heads import PruneHeads
from autocompress.operators.prune_hidden import PruneHidden
from autocompress.operators.prune_vocabulary import USED, PruneVocabulary, kept_rows, rows_of, too_few
from autocompress.operators.prune_weights import PruneWeights
from autocompress.operators.quantize import Quantize
from autocompress.operators.remove_block import RemoveBlock, why_whole_layers
from autocompress.operators.remove_layer import RemoveLayer
from autocompress.operators.replace_attention import ReplaceAttention

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance

_OURS: Final[tuple[LiveOperator, ...]] = (
    RemoveLayer(),
    RemoveBlock(),
    PruneHeads(),
    PruneChannels(),
    PruneHidden(),
    PruneVocabulary(),
    LowRank(),
    PruneWeights(),
    ReplaceAttention(),
    KeepTokens(),
    Distill(),
    Quantize(),
    ChooseRuntime(),
)
_SOCKET: Final = ("apply", "elastic", "fits", "name", "phase", "reshape", "rules", "size_of", "targets")
OPERATORS: Final[Mapping[str, LiveOperator]] = Registry(
    "operators", _OURS, needs=_SOCKET, name_of=lambda operator: operator.name
)

__all__ = [
    "OPERATORS",
    "LiveOperator",
    "PartOperator",
    "apply",
    "bound",
    "cuts_words",
    "effective",
    "elastic",
    "in_few_bits",
    "in_many_bits",
    "in_unpacked_bits",
    "kept_rows",
    "only_rounded",
]


def bound(space: SearchSpace, model: ModelParts) -> SearchSpace:
    """A space over the parts of one model, its shares and words as numbers. Raises ValueError where it does not fit."""

    def size_of(operator: str, target: str, knob: str) -> int | None:
        parts = model.parts if target == WHOLE else [model[target]] if target in model else []
        sizes = (OPERATORS[operator].size_of(part, knob) for part in parts if OPERATORS[operator].fits(part))
        return next((size for size in sizes if size is not None), None)

    def multiple_of(operator: str, knob: str) -> int:
        rule = OPERATORS[operator].rules.get(knob)
        return rule.multiple if rule else 1

    def suits(operator: str, target: str) -> bool:
        return _suits(OPERATORS[operator], model, target)

    if any(step.operator == PruneHidden.name for step in space.steps) and (why := why_whole(model)):
        raise ValueError(f"{PruneHidden.name}: {why}")
    if any(step.operator == ReplaceAttention.name for step in space.steps) and (why := why_full(model.family)):
        raise ValueError(f"{ReplaceAttention.name}: {why}")
    if any(step.operator == RemoveBlock.name for step in space.steps) and (why := why_whole_layers(model.family)):
        raise ValueError(f"{RemoveBlock.name}: {why}")
    for step in space.steps:
        if step.operator == KeepTokens.name and (why := why_all_positions(model) or why_not_said(step)):
            raise ValueError(f"{KeepTokens.name}: {why}")
    if cuts_words(space):
        space = _with_rows(space, model)
    return space.bind(model.names(), size_of, suits=suits, multiple_of=multiple_of)


def cuts_words(space: SearchSpace) -> bool:
    """Whether a space may take rows from the table of words."""
    return any(step.operator == PruneVocabulary.name for step in space.steps)


def _with_rows(space: SearchSpace, model: ModelParts) -> SearchSpace:
    """Numbers of rows in the place of the words that mean them. Raises ValueError for a model that needs all of its
    words, and where a step would leave too few whatever is chosen."""
    if why := why_all_words(model):
        raise ValueError(f"{PruneVocabulary.name}: {why}")
    table = next(table for part in model.parts for table in part.tables)

    def numbered(step: StepSpace) -> StepSpace:
        if step.operator != PruneVocabulary.name:
            return step
        knobs, settings = dict(step.knobs), dict(step.settings)
        if isinstance(knob := knobs.get("rows"), Choice):
            values = (value if isinstance(value, Share) else rows_of(table, value) for value in knob.choices)
            knobs["rows"] = Choice(tuple(dict.fromkeys(values)))
        elif "rows" not in knobs:
            settings["rows"] = rows_of(table, settings.get("rows", USED))
        most = _most_rows(knobs.get("rows"), settings, table.rows)
        if table.uses is not None and most < table.uses.least:
            raise ValueError(f"{PruneVocabulary.name}: {too_few(table, most)}")
        return replace(step, knobs=knobs, settings=settings)

    return replace(space, steps=tuple(map(numbered, space.steps)))


def _most_rows(knob: Knob | None, settings: Mapping[str, Setting], rows: int) -> int:
    if knob is None:
        return int(settings["rows"])
    if isinstance(knob, Choice):
        return max(value.of(rows) if isinstance(value, Share) else int(value) for value in knob.choices)
    return int(knob.high)


def _suits(operator: Operator, model: ModelParts, target: str) -> bool:
    """Whether a step of an operator may name this: the model, a layer that has a part for it, or such a part."""
    if target == WHOLE:
        return WHOLE in operator.targets
    is_layer = target not in model
    if not any(_is_layer_glob(glob) == is_layer for glob in operator.targets if glob != WHOLE):
        return False
    return any(operator.fits(part) for part in model.targeted(target))


def _is_layer_glob(glob: str) -> bool:
    """Whether it names whole layers: `layers.*`."""
    return glob.endswith(".*")


def effective(policy: CompressionPolicy, model: ModelParts) -> tuple[CompressionPolicy, ModelParts]:
    """The policy without the steps that change nothing, and the model it leads to.

    A step on a removed layer, or one that keeps all heads, leaves no trace: policies that do the same to the model get
    the same digest and are evaluated once. Raises CandidateError when a step cannot be applied.
    """
    kept = []
    for step in policy.steps:
        whole = _numbered(_with_defaults(step), model)
        after = OPERATORS[step.operator].reshape(model, whole)
        if after is not None:
            kept.append(whole)
            model = after
    return CompressionPolicy(tuple(kept)), model


def elastic(steps: Iterable[Step | StepSpace]) -> bool:
    """Whether the elastic model learns to be cut by any of these steps: then students start from it."""
    return any(OPERATORS[step.operator].elastic for step in steps)


def only_rounded(policy: CompressionPolicy) -> bool:
    """Whether a policy changes how the model is stored and run, and nothing that training could heal."""
    known = (OPERATORS.get(step.operator) for step in policy.steps)
    return not in_few_bits(policy) and all(one is not None and one.phase > Phase.RECOVERY for one in known)


def in_few_bits(policy: CompressionPolicy, target: str | None = None) -> bool:
    """Whether a policy holds anything, or this, in so few bits that it has to be trained with its roundings."""
    rounded = (step for step in policy.steps if step.operator == Quantize.name and target in (None, step.target))
    return any(step.settings.get("bits") in FEW_BITS for step in rounded)


def in_unpacked_bits(policy: CompressionPolicy) -> bool:
    """Whether a policy holds layers in fewer bits than they are computed in, or anything in few."""
    rounded = (step for step in policy.steps if step.operator == Quantize.name)
    return in_few_bits(policy) or any(
        step.settings.get("bits") == 4 and step.target != "embeddings" for step in rounded
    )


def in_many_bits(space: SearchSpace) -> SearchSpace:
    """A space without the choices that need training, where there are others."""

    def without(step: StepSpace) -> StepSpace:
        bits = step.knobs.get("bits")
        if step.operator != Quantize.name or not isinstance(bits, Choice):
            return step
        left = tuple(value for value in bits.choices if value not in FEW_BITS)
        return replace(step, knobs={**step.knobs, "bits": Choice(left)}) if left else step

    return replace(space, steps=tuple(map(without, space.steps)))


def apply(
    policy: CompressionPolicy,
    anatomy: Anatomy,
    importance: Importance,
    *,
    since: Phase = Phase.DEPTH,
    before: Phase | None = None,
    elastic_alone: bool = False,
) -> None:
    """Shrink a model in place by an effective policy, or by those of its steps that belong to the phases from `since`
    to just before `before`: training happens between two of them. Of these, by those that the elastic model learns
    alone where only they are asked for."""
    for step in policy.steps:
        operator = OPERATORS[step.operator]
        if operator.phase < since or (before is not None and operator.phase >= before):
            continue
        if operator.elastic or not elastic_alone:
            operator.apply(anatomy, step, importance)


def _numbered(step: Step, model: ModelParts) -> Step:
    """With a number of rows in the place of the word that means it."""
    if step.operator != PruneVocabulary.name:
        return step
    table = next(table for part in model.parts for table in part.tables)
    return replace(step, settings={**step.settings, "rows": rows_of(table, step.settings["rows"])})


def _with_defaults(step: Step) -> Step:
    rules = OPERATORS[step.operator].rules
    defaults = {name: rule.default for name, rule in rules.items() if rule.default is not None}
    settings = {**defaults, **step.settings}
    for name, rule in rules.items():
        if rule.told_by is not None and name not in settings:
            teller, known = rule.told_by
            told = next((value for other, value in known.items() if settings.get(teller) == other), None)
            settings |= {} if told is None else {name: told}
        if rule.only_with is not None and settings.get(rule.only_with[0]) not in rule.only_with[1]:
            settings.pop(name, None)
    return Step(step.operator, step.target, settings)
