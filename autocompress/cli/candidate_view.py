"""How `show` lays out one candidate."""

from __future__ import annotations

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocompress.core.outcome import Failed, Infeasible, Measurements, Record
from autocompress.core.storage import PRECISION
from autocompress.report import Explained
from autocompress.report.plain_text import one_line, plain
from autocompress.report.wording import interval, label, with_unit
from autocompress.store import Finalist


def candidate_view(
    record: Record, explained: Explained, finalist: Finalist | None, steps: RenderableType, *, own: bool = False
) -> RenderableType:
    """What it is, what was measured, what is left of each layer, what each of its steps did, where its files are."""
    candidate, outcome = record.candidate, record.outcome
    title = Text(candidate.digest, style="bold")
    title.append(f"  candidate {candidate.number}  {explained.summary}", style="not bold")
    parts: list[RenderableType] = [title]
    if isinstance(outcome, Failed):
        parts += [Text(f"failed in {outcome.stage}: {outcome.error}: {plain(outcome.message)}", style="red")]
        parts += [Text(plain(outcome.traceback), style="dim")]
    elif isinstance(outcome, Infeasible):
        parts.append(Text(f"infeasible: it breaks {one_line(outcome.constraint)}", style="yellow"))
    elif outcome is None:
        parts.append(Text("not finished yet", style="cyan"))
    if candidate.policy.is_baseline:
        told = ": its stock fp32 export was measured beside the finalists" if finalist is not None else ""
        parts.append(Text(f"the baseline, the uncompressed model{told}"))
    elif finalist is not None:
        reason = f": {one_line(finalist.reason)}" if finalist.reason else ""
        parts.append(Text(f"finalist, {finalist.state}{reason}"))
    if finalist is not None and "graph" in finalist.provenance:
        parts.append(Text(f"graph: {one_line(finalist.provenance['graph'])}"))
    judged = () if outcome is None or isinstance(outcome, Failed) else outcome.measurements
    exported = finalist.measurements if finalist else ()
    searched = "as your evaluation told" if own else "in the search, before training"
    for heading, measurements in (("exported file", exported), (searched, judged)):
        if measurements:
            parts.append(_measurements(heading, measurements))
    if explained.layers:
        parts.append(_layers(explained))
    if not candidate.policy.is_baseline:
        parts.append(steps)
    if finalist is not None and finalist.artifacts:
        parts += [Text(f"{one.path}  {one.bytes:,} bytes  sha256 {one.sha256[:16]}…") for one in finalist.artifacts]
    return Group(*parts)


def _measurements(heading: str, measurements: Measurements) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(heading)
    table.add_column("value", justify="right")
    for column in ("95 % interval", "source"):
        table.add_column(column)
    for one in measurements:
        samples = f", n = {len(one.samples)}" if one.samples else ""
        row = (
            label(one.metric, {one.metric: one}),
            with_unit(one.metric, one.value, one.unit),
            interval(one.metric, one),
        )
        table.add_row(*row, f"{one.source}{samples}")
    return table


def _layers(explained: Explained) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("layer", "heads", "feed-forward"):
        table.add_column(column, justify="right")
    table.add_column("precision")
    for row in explained.layers:
        if row.heads is None:
            table.add_row(str(row.layer), "–", "–", "removed", style="dim")
        else:
            heads, channels = f"{row.heads} of {row.heads_before}", f"{row.channels} of {row.channels_before}"
            table.add_row(str(row.layer), heads, channels, row.bits)
    if explained.embedding_bits:
        table.add_row("embeddings", "", "", PRECISION[explained.embedding_bits])
    return table
