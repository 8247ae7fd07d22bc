"""What a pick promises, in words: what it is expected to lose, whether that keeps a bound, and what would show it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autocompress.certainty import CONFIDENCE
from autocompress.core.scores import score_named
from autocompress.report.bounds import PickBounds
from autocompress.report.expectation import Expectations, Expected
from autocompress.report.front import FrontReport, Member
from autocompress.report.wording import label, quality_unit

_ROUNDING: Final = 1e-9
_EVEN: Final = 0.5


def in_words(chosen: Member, bounds: PickBounds, expected: Expectations) -> list[str]:
    """Sentences about the drop of what was picked."""
    known, allowed = chosen.expected, bounds.drop
    said = []
    if known is not None:
        said.append(f"On rows that nobody has seen it is expected to lose {_loss(known, chosen)}.")
        if allowed is not None:
            said.append(f"It keeps the bound with {_percent(known.kept(allowed))}, by {known.rows:,} held-out rows.")
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
        f"Likely to keep it ({_percent(expected.kept(allowed))}) is {member.digest[:8]} with {shown}, expected to lose "
        f"{_loss(expected, member)}; ask for it by its digest."
    )


def not_sure(report: FrontReport, offered: Sequence[Member], allowed: float, *, of: int) -> str:
    """Why no finalist is offered within a bound on the drop, and what would help."""
    known = [(one.expected, one) for one in offered if one.expected is not None]
    expected, nearest = min(known, key=lambda pair: pair[0].at_most)
    quality = label("quality", nearest.metrics)
    none = "the one finalist asked for is not" if of == 1 else f"none of the {of} verified finalists is"
    needed = expected.rows_for(allowed)
    if needed is None:
        help_ = (
            f"it is expected to break the bound, so rows would not help: train more finalists "
            f"(`autocompress resume {report.study} --finalists N`), or longer, or allow more"
        )
    else:
        more = max(needed - expected.rows, 1)
        help_ = f"some {_rounded(more)} more labelled rows in validation and test would show that it does, if it does"
    return (
        f"{none} sure ({_percent(CONFIDENCE)}) to keep {quality} drop <= {allowed:g}. The next best of study "
        f"{report.study!r} is {nearest.digest} ({nearest.summary}): expected to lose {_loss(expected, nearest)}, it "
        f"keeps the bound with {_percent(expected.kept(allowed))}; {help_}. It would keep "
        f"{_bound(expected, nearest)}. `--as-seen` takes drops as validation shows them; see them all with "
        f"`autocompress pareto {report.study}`."
    )


def _doubt(chosen: Member, allowed: float | None) -> str:
    """Whether the validation texts are enough to say that the bound on the drop is kept."""
    within = chosen.relative.quality_drop_interval
    if allowed is None or within is None or within[1] <= allowed + _ROUNDING:
        return ""
    return f"The validation texts cannot rule out a drop of up to {within[1]:.2g} (95 %); with `--sure` they must."


def _loss(known: Expected, of: Member) -> str:
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


def _percent(share: float) -> str:
    """Never 100 %, nor 0: nobody is that sure."""
    return f"{100 * min(max(share, 0.01), 0.99):.0f} %"


def _rounded(count: int) -> str:
    """To two digits: a standard error says no more."""
    scale = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // scale) * scale:,}"
