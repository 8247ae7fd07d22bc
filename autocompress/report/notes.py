"""What a reader of the front must know besides its numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autocompress.core.device import HOST
from autocompress.core.lowering import FORMS_FACT, FormChoice
from autocompress.core.scores import score_named
from autocompress.core.trust import NO_ELASTIC_FACT, Trust, tau_in_words
from autocompress.core.wording import BITS_NOT_FASTER, NOT_FASTER
from autocompress.operators import in_unpacked_bits
from autocompress.operators.prune_weights import PruneWeights
from autocompress.report.front import FrontReport
from autocompress.report.prediction import Pace, Prediction
from autocompress.report.ties import Tie
from autocompress.report.wording import label, listed, number, quality_unit

_NOTICED: Final = 0.05
"""A pace that differs by less is not worth a line."""


def notes(report: FrontReport) -> list[str]:
    """One sentence each: the knee, ties, what an estimate is, how predictions did, constraints, hypervolume, what to do
    next."""
    known = report.baseline.metrics if report.baseline else {}
    digests = {member.number: member.digest[:8] for member in report.members}
    lines = []
    if any(member.knee for member in report.members):
        lines.append("◆ is the knee of the front: the nearest to the best of every objective at once.")
    lines += [_tied(tie, digests, label(tie.metric, known)) for tie in report.ties]
    lines += _expected(report)
    if report.estimates:
        lines.append("Estimates were not trained: quality is that of inherited weights, ~ marks a prediction.")
    if why := report.facts.get(NO_ELASTIC_FACT):
        lines.append(f"There is no elastic model ({why}): candidates are slices of the teacher as it is.")
    if report.trust is not None:
        lines.append(_trusted(report.trust, label("quality", known)))
    if report.promotion and report.promotion["promoted"]:
        lines.append(_promoted(report.promotion))
    lines += _latencies(report)
    if any(step.operator == PruneWeights.name for member in report.members for step in member.policy.steps):
        lines.append(f"{NOT_FASTER.capitalize()}.")
    if any(in_unpacked_bits(member.policy) for member in report.members):
        lines.append(f"{BITS_NOT_FASTER.capitalize()}.")
    for which, choice in report.facts.get(FORMS_FACT, {}).items():
        lines.append(f"Graphs ({which}) are {FormChoice(**choice)}.")
    for metric, bound in report.constraints.items():
        ends = listed([f"{'>=' if end == 'min' else '<='} {value:g}" for end, value in bound.items()])
        lines.append(f"Constraint: {metric} {ends}.")
    volume = report.hypervolume
    if volume.verified is not None and volume.reference:
        of = quality_unit(known)
        at = ", ".join(f"{metric} {number(metric, value, of)}" for metric, value in volume.reference.items())
        lines.append(f"Hypervolume of the verified front: {volume.verified:.4g} (reference point: {at}).")
    if not report.verified and report.state != "complete":
        lines.append(f"Nothing is verified yet; go on with `autocompress resume {report.study}`.")
    return lines


def _tied(found: Tie, digests: Mapping[int, str], metric: str) -> str:
    """`Tied with da67702d, the best in accuracy, as 95 % intervals of their differences hold 0: 033e1679.`"""
    names = listed([digests[number] for number in found.others])
    told = "differences hold 0" if found.paired else "values overlap"
    return f"Tied with {digests[found.best]}, the best in {metric}, as 95 % intervals of their {told}: {names}."


def _expected(report: FrontReport) -> list[str]:
    """What is expected on unseen rows, and why it is another number than what was seen."""
    found = report.expectations
    if found.damaged:
        return [f"Warning: no losses on unseen rows can be told: {found.why}"]
    if not found.found:
        return []
    rows = next(iter(found.found.values())).rows
    folded = {one.digest[:8]: one.expected.folds for one in report.verified if one.expected and one.expected.folds[0]}
    shown = listed([f"{digest} on {done} of {of}" for digest, (done, of) in folded.items()])
    return [
        f"Expected (exp.): on rows nobody has seen, by {rows:,} held-out ones; the best seen is partly luck.",
        *([f"Certified by folds of the training rows too: {shown}."] if folded else []),
    ]


def _trusted(found: Trust, quality: str) -> str:
    """`Accuracy of 4 finalists before training against after it: Kendall's tau 0.67, +4.1 points by training.`"""
    return (
        f"{quality.capitalize()} of {found.n} finalists before training against after it: {tau_in_words(found.tau)}, "
        f"{_gained(found.gain, quality)} by training."
    )


def _gained(gain: float, quality: str) -> str:
    kind = score_named(quality)
    return f"{100 * gain:+.1f} points" if kind.share else f"{gain:+.{kind.digits}f}"


def _promoted(found: Mapping[str, Any]) -> str:
    """`Search scores ranked the first 5 finalists badly (Kendall's tau 0.20): 2 more were trained.`"""
    more, order = len(found["promoted"]), tau_in_words(found["tau"])
    were = "was" if more == 1 else "were"
    return f"Search scores ranked the first {found['n']} finalists badly ({order}): {more} more {were} trained."


def _latencies(report: FrontReport) -> list[str]:
    """How far predicted latencies can be believed."""
    device = report.facts.get("device") or {}
    name, here = str(device.get("name", "the device")), device.get("here", True)
    lines = []
    latencies = [member.metrics["latency_ms"] for member in report.verified if "latency_ms" in member.metrics]
    if any(latency.source == "predicted" for latency in latencies):
        lines.append(f"Where latency reads predicted, the finalist was not timed on `{name}`; the interval holds 95 %.")
    if report.pace is not None and abs(report.pace.value - 1) > _NOTICED:
        lines.append(_paced(report.pace, name))
    if report.prediction is not None:
        lines.append(in_words(report.prediction))
        if report.prediction.is_far:
            lines.append(f"Warning: {_far(report, report.prediction, name, here=here)}")
    return lines


def _paced(pace: Pace, name: str) -> str:
    """`This machine took 1.14 times as long as when it was profiled: predictions are read at that pace.`"""
    machine = "This machine" if name == HOST else f"`{name}`"
    told = "its reference model, timed beside" if pace.told_by == "reference" else "all finalists alike"
    return (
        f"{machine} took {pace.value:.2f} times as long as when it was profiled ({told}): predictions are read at that "
        "pace."
    )


def in_words(found: Prediction) -> str:
    """`Predicted against measured latency of 6 finalists: error 2.1 % (worst 4.0 %), rank correlation 1.00.`"""
    finalists = "1 finalist" if found.n == 1 else f"{found.n} finalists"
    worst = "" if found.n == 1 else f" (worst {100 * found.worst:.1f} %)"
    rank = "" if found.spearman is None else f", rank correlation {found.spearman:.2f}"
    outside = f", {found.outside_interval} outside of their intervals" if found.outside_interval > found.n / 2 else ""
    return f"Predicted against measured latency of {finalists}: error {100 * found.mape:.1f} %{worst}{rank}{outside}."


def _far(report: FrontReport, found: Prediction, name: str, *, here: bool) -> str:
    """What is wrong with the profile, and what helps."""
    wrong = f"the profile of `{name}` is off by {100 * found.median:.0f} %, so the search chose by wrong latencies"
    if name == HOST:
        again = "It was set aside: the next study here measures it anew"
        return f"{wrong}. {again}, and `autocompress retarget {report.study} --device {HOST}` reads this one by it."
    where = "" if here else " on that machine"
    anew = f"Measure it anew{where} with `autocompress profile --out {name}.yaml`"
    return f"{wrong}. {anew}; `autocompress retarget {report.study} --device {name}.yaml` reads this study by it."
