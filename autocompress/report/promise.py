"""What a pick promises, in words: what it is expected to lose, whether that keeps a bound, and what would show it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from autocompress.certainty import CONFIDENCE
from autocompress.core.scores import score_named
from autocompress.report.bounds import Bounded, PickBounds
from autocompress.report.expectation import Expectations, Expected
from autocompress.report.front import FrontReport, Member
from autocompress.report.wording import label, quality_unit

_ROUNDING: Final = 1e-9
_EVEN: Final = 0.5
_FOLDS: Final = 5
"""That are spoken of where a study certified nothing."""


def in_words(chosen: Bounded, bounds: PickBounds, expected: Expectations) -> list[str]:
    """Sentences about the drop of what was picked."""
    known, allowed = chosen.expected, bounds.drop
    said = []
    if known is not None:
        said.append(f"On rows that nobody has seen it is expected to lose {_loss(known, chosen)}.")
        if allowed is not None:
            said.append(f"It keeps the bound with {percent(known.kept(allowed))}, by {_by(known)}.")
    elif allowed is not None and not bounds.sure and not bounds.as_seen:
        said.append(f"The drop is taken as it was seen: {expected.why}.")
    if bounds.sure or (allowed is not None and (known is None or bounds.as_seen)):
        said.append(_doubt(chosen, allowed))
    return said


def is_likely(member: Member, allowed: float) -> bool:
    """Whether it is more likely than not to keep a bound on the drop."""
    return member.expected is not None and member.expected.kept(allowed) > _EVEN


def less_sure(member: Member, shown: str, allowed: float) -> str:
    """Of a better one that is likely to keep the bound, and not sure."""
    expected = member.expected
    assert expected is not None, "what is likely to keep a bound was judged"
    return (
        f"Likely to keep it ({percent(expected.kept(allowed))}) is {member.digest[:8]} with {shown}, expected to lose "
        f"{_loss(expected, member)}; ask for it by its digest."
    )


def certified_in_words(member: Member, allowed: float) -> str:
    """`1a2b3c4d: certified on 3 of 5 folds; expected to lose 0.6 points (0 to 1.1), keeps a drop <= 0.01 with 91 %`."""
    expected = member.expected
    assert expected is not None, "what was judged on folds is expected to lose something"
    done, of = expected.folds
    return (
        f"{member.digest[:8]}: certified on {done} of {of} folds; expected to lose {_loss(expected, member)}, keeps a "
        f"drop <= {allowed:g} with {percent(expected.kept(allowed))}"
    )


def not_sure(report: FrontReport, offered: Sequence[Member], allowed: float, *, of: int) -> str:
    """Why no finalist is offered within a bound on the drop, and what would help."""
    known = [(one.expected, one) for one in offered if one.expected is not None]
    expected, nearest = min(known, key=lambda pair: pair[0].at_most)
    quality = label("quality", nearest.metrics)
    none = "the one finalist asked for is not" if of == 1 else f"none of the {of} verified finalists is"
    return (
        f"{none} sure ({percent(CONFIDENCE)}) to keep {quality} drop <= {allowed:g}. The next best of study "
        f"{report.study!r} is {nearest.digest} ({nearest.summary}): expected to lose {_loss(expected, nearest)}, it "
        f"keeps the bound with {percent(expected.kept(allowed))}; {what_would_help(report, nearest, allowed)}. "
        f"`--as-seen` takes drops as validation shows them; see them all with "
        f"`autocompress pareto {report.study}`."
    )


def what_would_help(report: FrontReport, nearest: Member, allowed: float) -> str:
    """What would make a finalist that is not sure to keep a bound sure, or others keep it; and what it would keep."""
    expected = nearest.expected
    assert expected is not None, "whether it keeps the bound was judged"
    needed = expected.rows_for(allowed)
    if needed is None:
        help_ = (
            f"it is expected to break the bound, so rows would not help: train more finalists "
            f"(`autocompress resume {report.study} --finalists N`), or longer, or allow more"
        )
    else:
        more = max(needed - expected.rows, 1)
        help_ = f"some {_rounded(more)} more labelled rows in validation and test would show that it does, if it does"
        help_ += _by_folds(report, nearest, allowed)
    return f"{help_}. It would keep {_bound(expected, nearest)}"


def _minutes(report: FrontReport, folds: int) -> str:
    """`, 12 minutes or more`: how long cross-fitting of one member takes by what stages of the study took; what was
    found in the cache took no time, so it is the least. Empty where nothing is known."""
    timings, trained = report.facts.get("timings") or {}, max(len(report.verified), 1)
    each = {"teacher": 1.0, "importance": 1.0, "elastic model": 1.0, "finalists": 1 / trained}
    seconds = folds * sum(share * float(timings.get(stage, 0.0)) for stage, share in each.items())
    return f", {math.ceil(seconds / 60)} minutes or more" if seconds else ""


def _by_folds(report: FrontReport, nearest: Member, allowed: float) -> str:
    """What cross-fitting would do for a member, or has done; empty where nobody can tell."""
    expected, training = nearest.expected, (report.facts.get("task") or {}).get("texts", {}).get("train", 0)
    assert expected is not None, "whether it keeps the bound was judged"
    done, of = expected.folds
    if done:
        left = ": a new study with more `certify.minutes` judges it on the others" if done < of else ""
        return f"; it was certified on {done} of {of} folds of the training rows{left}"
    then = report.expectations.after_folds(nearest.number, rows=training, of=_FOLDS) if training >= _FOLDS else None
    if then is None:
        return ""
    asked = f"`finalists: {{certify: {{folds: {_FOLDS}}}}}`{_minutes(report, _FOLDS)}"
    would = "would show it too, where the teacher is trained here" if then.at_most <= allowed else "would not be enough"
    return f"; {_FOLDS} folds of the {training:,} training rows ({asked}) {would}"


def _by(known: Expected) -> str:
    """`800 held-out rows and 3 of 5 folds of the training rows`."""
    done, of = known.folds
    return f"{known.rows:,} held-out rows" + (f" and {done} of {of} folds of the training rows" if done else "")


def loss_in_words(one: Bounded) -> str:
    """`0.6 points (-0.2 to 1.4)`, of what is expected."""
    return _loss(one.expected, one) if one.expected is not None else "nobody knows what"


def _doubt(chosen: Bounded, allowed: float | None) -> str:
    """Whether the validation texts are enough to say that the bound on the drop is kept."""
    within = chosen.relative.quality_drop_interval
    if allowed is None or within is None or within[1] <= allowed + _ROUNDING:
        return ""
    return f"The validation texts cannot rule out a drop of up to {within[1]:.2g} (95 %); with `--sure` they must."


def _loss(known: Expected, of: Bounded) -> str:
    """`0.6 points (-0.2 to 1.4)`."""
    kind = score_named(quality_unit(of.metrics))
    scale, digits = (100, 1) if kind.points else (1, kind.digits)
    ends = (known.value, *known.interval)
    value, low, high = (f"{round(scale * one, digits) + 0.0:.{digits}f}" for one in ends)  # 0.0: no -0.0
    return f"{value}{' points' if kind.points else ''} ({low} to {high})"


def _bound(known: Expected, of: Member) -> str:
    """The least bound that it keeps: `--max-quality-drop 2.3%`."""
    kind = score_named(quality_unit(of.metrics))
    if kind.points:
        return f"`--max-quality-drop {100 * known.at_most + 0.05:.1f}%`"
    return f"`--max-quality-drop {known.at_most + 0.5 * 10**-kind.digits:.{kind.digits}f}`"


def percent(share: float) -> str:
    """Never 100 %, nor 0: nobody is that sure."""
    return f"{100 * min(max(share, 0.01), 0.99):.0f} %"


def _rounded(count: int) -> str:
    """To two digits: a standard error says no more."""
    scale = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // scale) * scale:,}"
