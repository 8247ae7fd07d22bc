"""What a step does to the parts of a model, and what that is worth: nothing is built, nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from autocompress.core.outcome import Source
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.errors import CandidateError
from autocompress.explain.steps.groups import Group
from autocompress.explain.steps.prices import Cost, Prices
from autocompress.operators import effective
from autocompress.report.steps import Held, MatrixChange, Taken, Worth


@dataclass(frozen=True, slots=True)
class Found:
    """Of one group: `gone` are the layers and parts that it removes."""

    taken: Taken
    alone: Worth
    last: Worth
    gone: frozenset[str]
    void: bool
    void_by: tuple[int, ...]


def found_of(
    policy: CompressionPolicy, groups: Sequence[Group], shape: ModelParts, prices: Prices
) -> tuple[list[Found], dict[str, Source]]:
    """Of each group, and the source of each metric. Raises CandidateError, KeyError or ValueError for a policy that
    cannot be applied to the shape."""
    taken = _in_order(policy, shape, prices)
    _, left = effective(policy, shape)
    whole, small = prices.worth(shape), prices.worth(left)
    found = []
    for place, group in enumerate(groups):
        own = [taken[one] for one in group.places]
        gone = frozenset(name for one in own for name in one.gone)
        is_void = all(one.void for one in own)
        found.append(
            Found(
                _together([one.taken for one in own]),
                _alone(policy, group, shape, whole, prices),
                _last(_without(policy, groups, place, gone), shape, small, prices),
                gone,
                is_void,
                tuple(_voiding(policy, groups, place, shape)) if is_void else (),
            )
        )
    sources = {metric: one.source for cost in (whole, small) for metric, one in cost.known.items()}
    return found, sources


@dataclass(frozen=True, slots=True)
class _Change:
    taken: Taken
    gone: frozenset[str] = frozenset()
    void: bool = False


def _in_order(policy: CompressionPolicy, shape: ModelParts, prices: Prices) -> list[_Change]:
    """What each step does to what those before it have left."""
    found, model, before = [], shape, prices.counted(shape)
    for step in policy.steps:
        kept, after = effective(CompressionPolicy((step,)), model)
        if kept.is_baseline:
            found.append(_Change(Taken(0, None if before[1] is None else 0, 0), void=True))
            continue
        now = prices.counted(after)
        work = None if now[1] is None or before[1] is None else now[1] - before[1]
        taken = Taken(now[0] - before[0], work, now[2] - before[2], tuple(matrix_changes(model, after)))
        found.append(_Change(taken, frozenset(model.names()) - frozenset(after.names())))
        model, before = after, now
    return found


def matrix_changes(before: ModelParts, after: ModelParts) -> Iterator[MatrixChange]:
    """The matrices and tables that are held otherwise, or are gone; of parts that own them."""
    had, has = _held(before), _held(after)
    for place in dict.fromkeys((*had, *has)):
        if had.get(place) != has.get(place):
            yield MatrixChange(*place, had.get(place), has.get(place))


def _held(model: ModelParts) -> dict[tuple[str, str], Held]:
    found: dict[tuple[str, str], Held] = {}
    for part in model.parts:
        if part.owner is None:
            found |= {(part.name, table.name): Held.of(table) for table in part.tables}
            found |= {(part.name, matrix.name): Held.of(matrix) for matrix in part.matrices}
    return found


def _together(all_taken: Sequence[Taken]) -> Taken:
    """Of several steps; a matrix that several touched counts once, from the first to the last."""
    changes: dict[tuple[str, str], MatrixChange] = {}
    for one in (change for taken in all_taken for change in taken.matrices):
        place = one.part, one.matrix
        before = changes[place].before if place in changes else one.before
        changes[place] = MatrixChange(*place, before, one.after)
    work = [taken.macs for taken in all_taken if taken.macs is not None]
    return Taken(
        sum(taken.parameters for taken in all_taken),
        sum(work) if len(work) == len(all_taken) else None,
        sum(taken.bytes for taken in all_taken),
        tuple(changes.values()),
    )


def _alone(policy: CompressionPolicy, group: Group, shape: ModelParts, whole: Cost, prices: Prices) -> Worth:
    steps = tuple(policy.steps[place] for place in group.places)
    try:
        _, after = effective(CompressionPolicy(steps), shape)
    except CandidateError as error:
        return Worth({}, f"alone it cannot be done: {error}")
    return _less(prices.worth(after), whole)


def _last(without: CompressionPolicy, shape: ModelParts, small: Cost, prices: Prices) -> Worth:
    try:
        _, others = effective(without, shape)
    except CandidateError as error:
        return Worth({}, f"the other steps cannot be done without it: {error}")
    return _less(small, prices.worth(others))


def _without(policy: CompressionPolicy, groups: Sequence[Group], place: int, gone: frozenset[str]) -> CompressionPolicy:
    """The policy without a group. To what comes back with it, other groups do what they do to the rest, as far as they
    are decided for all of it at once: the search dropped such steps as they had nothing left to do."""
    steps: list[Step] = []
    ends = {group.places[-1]: at for at, group in enumerate(groups)}
    left_out = set(groups[place].places)
    for at, step in enumerate(policy.steps):
        if at not in left_out:
            steps.append(step)
        if at in ends and at not in left_out:
            group = groups[ends[at]]
            back = sorted((group.scope - frozenset(group.targets)) & gone)
            steps += (Step(group.operator, target, group.settings) for target in back)
    return CompressionPolicy(tuple(steps))


def _less(having: Cost, lacking: Cost) -> Worth:
    both = [metric for metric in having.known if metric in lacking.known]
    costs = {metric: having.known[metric].value - lacking.known[metric].value for metric in both}
    return Worth(costs, having.why_not or lacking.why_not)


def _voiding(policy: CompressionPolicy, groups: Sequence[Group], place: int, shape: ModelParts) -> Iterator[int]:
    """The numbers, from 1, of the groups without any of which a void one would do something."""
    for other, group in enumerate(groups):
        if other == place:
            continue
        kept = CompressionPolicy(tuple(one for at, one in enumerate(policy.steps) if at not in group.places))
        try:
            steps, _ = effective(kept, shape)
        except CandidateError:
            continue
        if any((step.operator, step.target) in _names(groups[place]) for step in steps.steps):
            yield other + 1


def _names(group: Group) -> set[tuple[str, str]]:
    return {(group.operator, target) for target in group.targets}
