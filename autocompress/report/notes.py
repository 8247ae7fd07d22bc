"""What a reader of the front must know besides its numbers."""

from __future__ import annotations

from autocompress.report.front import FrontReport
from autocompress.report.wording import label, listed, number


def notes(report: FrontReport) -> list[str]:
    """One sentence each: the knee, ties, what an estimate is, constraints, hypervolume, what to do next."""
    known = report.baseline.metrics if report.baseline else {}
    digests = {member.number: member.digest[:8] for member in report.members}
    lines = []
    if any(member.knee for member in report.members):
        lines.append("◆ is the knee of the front: the nearest to the best of every objective at once.")
    for tie in report.ties:
        names = listed([digests[n] for n in tie.numbers])
        lines.append(f"Tied in {label(tie.metric, known)}, as their 95 % intervals overlap: {names}.")
    if report.estimates:
        lines.append("Estimates were not trained: quality is that of inherited weights, ~ marks a prediction.")
    for metric, bound in report.constraints.items():
        ends = listed([f"{'>=' if end == 'min' else '<='} {value:g}" for end, value in bound.items()])
        lines.append(f"Constraint: {metric} {ends}.")
    volume = report.hypervolume
    if volume.verified is not None and volume.reference:
        at = ", ".join(f"{metric} {number(metric, value)}" for metric, value in volume.reference.items())
        lines.append(f"Hypervolume of the verified front: {volume.verified:.4g} (reference point: {at}).")
    if not report.verified and report.state != "complete":
        lines.append(f"Nothing is verified yet; go on with `autocompress resume {report.study}`.")
    return lines
