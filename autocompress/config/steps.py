"""Whether the operators can do what a space asks of them: names, order, targets, settings."""

from __future__ import annotations

import fnmatch
import functools
from collections.abc import Mapping
from typing import Final, Protocol

from autocompress.config.document import Place
from autocompress.config.problems import Problems
from autocompress.core.parts import WHOLE
from autocompress.core.policy import Setting
from autocompress.core.ports import Phase, SettingRule
from autocompress.core.space import Choice, Integer, Knob, Real, SearchSpace, Share, StepSpace
from autocompress.errors import did_you_mean
from autocompress.families import FAMILIES


class Ruled(Protocol):
    """What a space is checked by, of an operator. Without `targets` anything may be one."""

    @property
    def name(self) -> str: ...

    @property
    def phase(self) -> Phase: ...

    @property
    def targets(self) -> tuple[str, ...]: ...

    @property
    def rules(self) -> Mapping[str, SettingRule]: ...


_USUAL: Final = "layers"
"""What globs of operators call a stack."""


def check_steps(space: SearchSpace, operators: Mapping[str, Ruled], problems: Problems, *, at: Place = ()) -> None:
    """Reports every step that no operator can carry out; `at` is where the space stands in its document."""
    latest: Ruled | None = None
    for position, step in enumerate(space.steps):
        place = (*at, "steps", position)
        operator = operators.get(step.operator)
        if operator is None:
            nearest = did_you_mean(step.operator, operators)
            problems.add((*place, "operator"), f"no operator is called {step.operator!r}; {nearest}")
            continue
        if latest is not None and operator.phase < latest.phase:
            problems.add((*place, "operator"), _backwards(operator, latest))
        else:
            latest = operator
        if operator.targets and not any(_fits(step.target, glob) for glob in operator.targets):
            problems.add(
                (*place, "target"),
                f"{operator.name!r} cannot work on {step.target!r}; {did_you_mean(step.target, operator.targets)}",
            )
        _check_settings(step, operator, problems, at=place)


def _backwards(operator: Ruled, earlier: Ruled) -> str:
    order = " < ".join(_word(phase) for phase in Phase)
    return (
        f"{operator.name!r} ({_word(operator.phase)}) stands after {earlier.name!r} ({_word(earlier.phase)}); "
        f"move it up, the order is {order}"
    )


def _word(phase: Phase) -> str:
    return phase.name.lower().replace("_", " ")


@functools.cache
def _stacks() -> frozenset[str]:
    """What families call their stacks."""
    return frozenset(stack.name for family in FAMILIES.values() for stack in family.stacks)


def _fits(target: str, glob: str) -> bool:
    """Whether a target is one of those that a glob stands for, in a stack of whichever name a family gives it."""
    if WHOLE in (target, glob):
        return target == glob
    stack, dot, rest = target.partition(".")
    if dot and stack in _stacks():
        target = f"{_USUAL}.{rest}"
    return target.count(".") == glob.count(".") and fnmatch.fnmatchcase(target, glob)


def _check_settings(step: StepSpace, operator: Ruled, problems: Problems, *, at: Place) -> None:
    for name, knob in step.knobs.items():
        place = (*at, "knobs", name)
        if rule := _rule(name, operator, problems, at=place):
            for inside, message in _knob_problems(knob, rule):
                problems.add((*place, *inside), message)
    for name, value in step.settings.items():
        place = (*at, "settings", name)
        rule = _rule(name, operator, problems, at=place)
        if rule and (problem := rule.problem(value)):
            is_share = rule.size and isinstance(value, str) and value.endswith("%")
            hint = f"; a share is written as a knob: {{choices: [{value}]}}" if is_share else ""
            problems.add(place, problem + hint)
    for name, rule in operator.rules.items():
        given = name in step.knobs or name in step.settings
        is_broken = any(problems.knows_inside((*at, part, name)) for part in ("knobs", "settings"))
        if is_broken:
            continue
        if rule.not_with is not None and given:
            _check_place(name, step, operator, problems, at=at)
        if rule.told_by is not None:
            _check_told(name, step, operator, problems, at=at)
        elif rule.default is None and not rule.optional and not given:
            problems.add((*at, "knobs", name), _missing(operator))


def _check_told(name: str, step: StepSpace, operator: Ruled, problems: Problems, *, at: Place) -> None:
    """A setting that another one tells for some of its values: it is given for the others, and is never another one
    than it is told."""
    told_by = operator.rules[name].told_by
    assert told_by is not None, "asked for such settings alone"
    teller, known = told_by
    if any(problems.knows_inside((*at, part, teller)) for part in ("knobs", "settings")):
        return
    is_knob, given = name in step.knobs, name in step.knobs or name in step.settings
    place = (*at, "settings" if given and not is_knob else "knobs", name)
    for other in _offered(teller, step, operator):
        if not given and other not in known:
            problems.add(place, f"{_missing(operator)}, as `{teller}: {other}` does not tell it")
        elif given and other in known and not _may_be(step.knobs.get(name, step.settings.get(name)), known[other]):
            told = f"`{teller}: {other}` is a `{name}` of {known[other]}"
            problems.add(place, f"{told}, which is not offered; offer it too, or leave it out where it is told")


def _check_place(name: str, step: StepSpace, operator: Ruled, problems: Problems, *, at: Place) -> None:
    """A setting that has no place beside some values of another: where none but these are offered."""
    not_with = operator.rules[name].not_with
    assert not_with is not None, "asked for such settings alone"
    other, values = not_with
    offered = _offered(other, step, operator)
    if offered and all(value in values for value in offered):
        place = (*at, "knobs" if name in step.knobs else "settings", name)
        told = f"has no place beside `{other}` of {', '.join(map(str, offered))}"
        left = [str(value) for value in operator.rules[other].values if value not in values]
        problems.add(place, f"{told}; leave it out, or offer `{other}` of {', '.join(left)}")


def _offered(name: str, step: StepSpace, operator: Ruled) -> tuple[Setting, ...]:
    """The values that a setting may take, as far as they can be listed."""
    knob, default = step.knobs.get(name), operator.rules[name].default
    if isinstance(knob, Choice):
        return tuple(value for value in knob.choices if not isinstance(value, Share))
    fixed = step.settings.get(name, None if knob else default)
    return () if fixed is None else (fixed,)


def _may_be(given: Knob | Setting | None, value: Setting) -> bool:
    if isinstance(given, Choice):
        return value in given.choices
    return given.low == given.high == value if isinstance(given, Integer | Real) else given == value


def _missing(operator: Ruled) -> str:
    return f"is missing: {operator.name!r} needs it, under `knobs` or fixed under `settings`"


def _rule(name: str, operator: Ruled, problems: Problems, *, at: Place) -> SettingRule | None:
    rule = operator.rules.get(name)
    if rule is None:
        problems.add(at, f"{operator.name!r} has no setting {name!r}; {did_you_mean(name, operator.rules)}")
    return rule


def _knob_problems(knob: Knob, rule: SettingRule) -> list[tuple[Place, str]]:
    match knob:
        case Choice():
            found = ((("choices", i), _choice_problem(value, rule)) for i, value in enumerate(knob.choices))
            return [(place, problem) for place, problem in found if problem]
        case Real() if not rule.values and not rule.real:
            return [((), "must be whole numbers; write `low` and `high` without a decimal point and no `log`")]
        case Integer() | Real() if not rule.values:
            ends = [("low", rule.problem(knob.low)), ("high", rule.problem(knob.high))]
            if isinstance(knob, Integer) and knob.step % rule.multiple:
                ends.append(("step", f"{knob.step} is no multiple of {rule.multiple}"))
            return [((end,), problem) for end, problem in ends if problem]
        case _:
            offered = ", ".join(map(str, rule.values))
            return [((), f"must be one of {offered}, not a range; write {{choices: [{offered}]}}")]


def _choice_problem(value: Setting | Share, rule: SettingRule) -> str | None:
    if not isinstance(value, Share):
        return rule.problem(value)
    if rule.size:
        return None
    allowed = f" (allowed: {', '.join(map(str, rule.values))})" if rule.values else ""
    return f"{value.fraction:.4g} of what? A share is for sizes, and this setting is none{allowed}"
