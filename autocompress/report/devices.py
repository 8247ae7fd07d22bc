"""Device profiles as text: many in a list, one in full."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from autocompress.core.device import (
    Accuracy,
    Block,
    Ceilings,
    Correction,
    CostModel,
    DeviceProfile,
    EnergyModel,
    Estimate,
    KernelRow,
    KernelTable,
)
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.prediction import LatencyPredictor
from autocompress.core.storage import BITS, Bits, Storage
from autocompress.report.ceilings import share_of_ceiling
from autocompress.report.layout import Cell, Column, Fitted, Row
from autocompress.report.plain_text import one_line
from autocompress.report.wording import number

NO_INT8: Final = "no int8 kernel known: counted as fp32"
BLOCKS: Final[Mapping[Block, str]] = {
    "base": "outside of the layers",
    "attention": "attention",
    "feed_forward": "feed-forward",
    "last_attention": "attention, last layer",
    "last_feed_forward": "feed-forward, last layer",
    "gated": "gated feed-forward",
    "cross_attention": "cross-attention",
    "last_gated": "gated feed-forward, last layer",
    "last_cross_attention": "cross-attention, last layer",
}
_USUAL: Final[tuple[Block, ...]] = ("base", "attention", "feed_forward", "last_attention", "last_feed_forward")
"""Those of an encoder's layers."""


def age_days(profile: DeviceProfile, today: datetime.date) -> int | None:
    """Days since the numbers were made; None where the profile gives no date."""
    try:
        return max(0, (today - datetime.date.fromisoformat(profile.measured_on)).days)
    except ValueError:
        return None


def validated(profile: DeviceProfile) -> Accuracy | None:
    """How far predictions of the profile lie off, over all its tables or of its cost model; None where nobody looked.

    Figures that are means over models are weighted by the number of models; the others are the worst of any table.
    """
    found = [table.accuracy for table in profile.tables if table.accuracy is not None]
    if not profile.tables and profile.cost is not None and profile.cost.accuracy is not None:
        found = [profile.cost.accuracy]
    if not found:
        return None
    n = sum(one.n for one in found)

    def mean(name: str) -> float:
        return float(sum(one.n * getattr(one, name) for one in found) / n)

    return Accuracy(
        n=n,
        mape=mean("mape"),
        median=max(one.median for one in found),
        within_5=mean("within_5"),
        within_10=mean("within_10"),
        spearman=min(one.spearman for one in found),
        kendall=min(one.kendall for one in found),
        how="; ".join(dict.fromkeys(one.how for one in found if one.how)),
    )


def as_device_list(rows: Sequence[Mapping[str, Any]]) -> RenderableType:
    """A line for each row of `autocompress devices --json`."""
    columns = [
        Column("name"),
        Column("source"),
        Column("age"),
        Column("error", "right"),
        Column("within 10 %", "right", 2),
    ]
    columns.append(Column("description", folds=True))
    found = []
    for row in rows:
        problem, known = row.get("problem"), row.get("accuracy")
        about = Text(one_line(problem, width=200), style="red") if problem else Text(one_line(row["description"]))
        name, source = one_line(row["name"], width=40), one_line(row.get("source", ""), width=40)
        errors = (_percent(known["mape"]), _whole(known["within_10"])) if known else ("-", "-")
        found.append(Row([Text(name), Text(source), _age(row), *errors, about]))
    return Fitted(columns, found)


def _age(row: Mapping[str, Any]) -> str:
    days = row.get("age_days")
    if days is None:
        return "-"
    if days >= 100:
        return f"{days / 365.25:.1f} years"
    return "today" if days == 0 else f"{days} day{'' if days == 1 else 's'}"


def as_device(profile: DeviceProfile) -> RenderableType:
    """A profile in full: what it is, what was measured or fitted, how well it predicts, what is known of power."""
    title = Text(one_line(profile.name), style="bold")
    title.append(f"  {profile.source}, {one_line(profile.measured_on) or 'no date'}", style="not bold")
    parts: list[RenderableType] = [title]
    if profile.description:
        parts.append(Text(one_line(profile.description), style="dim"))
    parts += [Text(), _facts(_about(profile))]
    if profile.tables:
        parts += [Text(), *_workloads(profile.tables)]
    for table in profile.tables:
        parts += [Text(), *_kernels(table, profile.ceilings)]
    if profile.cost is not None:
        used = "" if not profile.tables else ", not used: there are measured tables"
        parts += [Text(), Text(f"Cost model{used}", style="bold"), _facts(_cost(profile.cost))]
    if profile.energy is not None:
        parts += [Text(), Text("Energy, modelled", style="bold"), _facts(_energy(profile.energy))]
    if profile.notes:
        parts += [Text(), Text("Notes", style="bold"), *(Text(f"- {one_line(note)}") for note in profile.notes)]
    return Group(*parts)


_LAYERS: Final = 6


def largest_models(table: KernelTable) -> dict[Bits, Estimate]:
    """Predicted milliseconds of an inference of six layers of the largest blocks measured, in either precision; none
    in a precision that was not measured for every block."""
    found: dict[Bits, Estimate] = {}
    for bits in BITS:
        curves = {block: table.curve(block, bits) for block in _USUAL}
        if all(curves.values()):
            heads, channels = (max(size for size, _ in curves[block]) for block in _USUAL[1:3])
            layers = (
                encoder_layer(
                    index,
                    table.hidden,
                    heads=heads,
                    head_size=table.head_size,
                    channels=channels,
                    held=Storage(bits),
                )
                for index in range(_LAYERS)
            )
            found[bits] = LatencyPredictor(table)(encoder(table.hidden, layers, words=1, words_in=Storage(bits)))
    return found


def _workloads(tables: Sequence[KernelTable]) -> Iterator[RenderableType]:
    """Latency and throughput of the same two models under every workload."""
    shown = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("batch", "length", "threads", "fp32 ms", "inputs/s", "int8 ms", "inputs/s"):
        shown.add_column(heading, justify="right", no_wrap=True)
    for table in tables:
        load, models = table.workload, largest_models(table)
        cells = [str(load.batch), str(load.length), str(load.threads)]
        for bits in (32, 8):
            milliseconds = models[bits].value if bits in models else None
            cells += ["-", "-"] if not milliseconds else [
                number("latency_ms", milliseconds), number("throughput", 1e3 * load.batch / milliseconds)
            ]  # fmt: skip
        shown.add_row(*cells)
    yield Text("Workloads", style="bold")
    yield shown
    yield Text(f"Predicted for {_LAYERS} layers of the largest blocks below; inputs a second, one batch after another.")


def _facts(facts: Sequence[tuple[str, str]]) -> Table:
    table = Table.grid(padding=(0, 2))
    for name, value in facts:
        table.add_row(Text(name, style="dim"), Text(value))
    return table


def _about(profile: DeviceProfile) -> list[tuple[str, str]]:
    found = [(one_line(name), one_line(value)) for name, value in profile.fingerprint.items()]
    runtime = f"{profile.runtime.name} {profile.runtime.version}"
    switches = ", ".join(f"{name} {value}" for name, value in profile.runtime.options.items())
    found.append(("runtime", one_line(f"{runtime} ({switches})" if switches else runtime)))
    found.append(("version", str(profile.version)))
    if profile.tables:
        found.append(("workloads", "; ".join(dict.fromkeys(str(table.workload) for table in profile.tables))))
    if profile.ceilings is not None:
        found.append(("ceilings of a core", ceilings_in_words(profile.ceilings)))
    return found


def ceilings_in_words(ceilings: Ceilings) -> str:
    fp32, int8 = ceilings.gflops_fp32 / 2, ceilings.gops_int8 / 2
    return f"fp32 {_rate(fp32)} GMAC/s, int8 {_rate(int8)} GMAC/s, memory {ceilings.gbytes_per_second:.3g} GB/s"


def _kernels(table: KernelTable, ceilings: Ceilings | None) -> Iterator[RenderableType]:
    yield Text(f"{_upper(str(table.workload))} · hidden {table.hidden}, heads of {table.head_size}", style="bold")
    by_place: dict[tuple[Block, int], dict[Bits, KernelRow]] = {}
    for row in table.rows:
        by_place.setdefault((row.block, row.size), {})[row.bits] = row
    order = list(BLOCKS)
    columns = [Column("block"), Column("size", "right")]
    precisions: tuple[tuple[Bits, str], ...] = ((32, "fp32"), (8, "int8"))
    for _, name in precisions:
        columns += [Column(f"{name} ms", "right"), Column("quartiles", "right", rank=2)]
        columns += [Column("of ceiling", "right", rank=1)] if ceilings else []
    shown: list[Row] = []
    last = None
    for (block, size), rows in sorted(by_place.items(), key=lambda item: (order.index(item[0][0]), item[0][1])):
        if last not in (None, block):
            shown[-1] = replace(shown[-1], ends_section=True)
        last = block
        cells: list[Cell] = [BLOCKS[block], _size(block, size)]
        for bits, _ in precisions:
            cells += _kernel(table, ceilings, rows.get(bits))
        shown.append(Row(cells))
    yield Fitted(columns, shown)
    known = {*_USUAL, *(row.block for row in table.rows)}
    missing = [BLOCKS[block] for block in order if block in known and not table.curve(block, 8)]
    if missing:
        yield Text(f"Not measured in int8: {', '.join(missing)}.")
    yield Text(lowering_in_words(table))
    yield Text(correction_in_words(table.correction))
    yield Text(accuracy_in_words(table.accuracy))


def _size(block: Block, size: int) -> str:
    if block == "base":
        return ""
    return f"{size} head{'' if size == 1 else 's'}" if block.endswith("attention") else f"{size} wide"


def _kernel(table: KernelTable, ceilings: Ceilings | None, row: KernelRow | None) -> list[Cell]:
    if row is None:
        return ["-", "", *([""] if ceilings else [])]
    share = share_of_ceiling(table, ceilings, row)
    quartiles = Text(f"{number('latency_ms', row.low)}–{number('latency_ms', row.high)}", style="dim")
    cells: list[Cell] = [number("latency_ms", row.milliseconds), quartiles]
    return [*cells, *([_whole(share) if share else "-"] if ceilings else [])]


def lowering_in_words(table: KernelTable) -> str:
    """In which form graphs are written, and what every other form took."""
    if not table.tried:
        return "Graphs are written plainly: no other form was compared."
    found = "; ".join(
        f"{'fp32' if one.bits == 32 else 'int8'} with {' + '.join(one.choices)} {_percent(one.share)}"
        for one in table.tried
    )
    return f"Graphs are written as measured: {table.lowering}. Time of what was tried, against plain: {found}."


def correction_in_words(found: Correction | None) -> str:
    if found is None:
        return "Not corrected by whole models: their blocks are added up, and ±10 % is assumed."
    weights = ", ".join(
        f"{name} {weight:+.3g} ms each" if name == "layers" else f"{name} ×{weight:.3g}"
        for name, weight in found.weights.items()
    )
    return f"Corrected by {_models(found.models)}, ±{_percent(found.spread)} (95 %): {weights}."


def accuracy_in_words(found: Accuracy | None) -> str:
    if found is None:
        return "Never compared with whole models that the fit had not seen."
    how = f" ({one_line(found.how)})" if found.how else ""
    return (
        f"Against {_models(found.n)} that the fit had not seen{how}: error {_percent(found.mape)} (median "
        f"{_percent(found.median)}), {_whole(found.within_5)} within 5 %, {_whole(found.within_10)} within 10 %, rank "
        f"correlation {found.spearman:.3f}."
    )


def _cost(cost: CostModel) -> list[tuple[str, str]]:
    return [
        ("fp32", f"{_rate(cost.gmacs_fp32)} GMAC/s with {cost.threads} thread{'' if cost.threads == 1 else 's'}"),
        ("int8", NO_INT8 if cost.gmacs_int8 is None else f"{_rate(cost.gmacs_int8)} GMAC/s"),
        ("memory", f"{_rate(cost.gbytes_per_second)} GB/s of weights"),
        ("fixed", f"{cost.ms_base:.3g} ms an inference, {cost.ms_per_layer:.3g} ms a layer"),
        ("interval", f"±{_percent(cost.spread)} (95 %)"),
        ("accuracy", accuracy_in_words(cost.accuracy)),
    ]


def _energy(energy: EnergyModel) -> list[tuple[str, str]]:
    cores = "its core" if energy.cores == 1 else f"all {energy.cores} cores"
    return [
        ("power", f"{energy.idle_watts:.3g} W at rest, {energy.active_watts:.3g} W with {cores} busy"),
        ("arithmetic", f"{energy.pj_per_mac_fp32:.3g} pJ a MAC in fp32, {energy.pj_per_mac_int8:.3g} pJ in int8"),
        ("memory", f"{energy.pj_per_byte:.3g} pJ a byte"),
        ("interval", f"±{_percent(energy.spread)} (95 %)"),
        ("source", one_line(energy.source)),
    ]


def _rate(value: float) -> str:
    return f"{value:.4g}" if value < 9999.5 else f"{value:,.0f}"


def _models(count: int) -> str:
    return "1 whole model" if count == 1 else f"{count} whole models"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _whole(share: float) -> str:
    return f"{100 * share:.0f} %"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
