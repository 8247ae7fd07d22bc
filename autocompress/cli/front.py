"""`pareto` and `pick`: what a study found, and the one model to take."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli.completion import maximized, minimized, verified_candidates
from autocompress.cli.options import Force, Json, Storage, StudyName, note_force, reference
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.report import Picked, PickedCascade
    from autocompress.report.files import FormName, TextForm


def pareto(
    context: typer.Context,
    study: StudyName,
    json: Json = False,
    csv: Annotated[bool, typer.Option("--csv", help="Comma-separated values on stdout.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table on stdout.")] = False,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Also write a plot.")] = None,
    html: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write a page with everything.")
    ] = None,
    storage: Storage = None,
) -> None:
    """Show the Pareto front of a study.

    The baseline first, then what is verified, then what is only estimated.
    """
    from autocompress import report as reports
    from autocompress.errors import SpecError
    from autocompress.report.files import check_files, text_of, write_files
    from autocompress.store import Store

    session = session_of(context)
    texts: dict[TextForm, bool] = {"json": json, "csv": csv, "markdown": markdown}
    if sum(texts.values()) > 1:
        raise SpecError(
            "give one of --json, --csv and --markdown: each of them writes to stdout; "
            f"`autocompress report {study}` writes any number of files"
        )
    given: dict[FormName, Path | None] = {"png": png, "html": html}
    files: dict[FormName, Path] = {form: path for form, path in given.items() if path is not None}
    with Store.open(storage, create=False) as store:
        check_files(files, keep=store.places)
        front = reports.with_cascades(store, reports.front_report(store, study))
        if html is not None:
            from autocompress.explain.steps import with_steps  # which reads what operators and devices are

            front = with_steps(store, front)
    for path in write_files(front, files):
        session.wrote(path)
    for form in (form for form, asked in texts.items() if asked):
        session.text(text_of(front, form))
    if not files and not any(texts.values()):
        session.data(reports.as_table(front))


def pick(
    context: typer.Context,
    study: StudyName,
    max_latency_ms: Annotated[float | None, typer.Option(metavar="MS", help="At most this median latency.")] = None,
    min_quality: Annotated[
        str | None, typer.Option(metavar="SHARE", help="At least this score, as 94% or 0.94.")
    ] = None,
    max_quality_drop: Annotated[
        str | None, typer.Option(metavar="SHARE", help="At most this far below the baseline, as 1%, 1pt or 0.01.")
    ] = None,
    max_size_mb: Annotated[float | None, typer.Option(metavar="MB", help="At most this size on disk.")] = None,
    max_energy_mj: Annotated[float | None, typer.Option(metavar="MJ", help="At most this energy an inference.")] = None,
    min_throughput: Annotated[
        float | None, typer.Option(metavar="RATE", help="At least so many inputs a second.")
    ] = None,
    max_memory_mib: Annotated[float | None, typer.Option(metavar="MIB", help="At most this peak memory.")] = None,
    sure: Annotated[
        bool,
        typer.Option("--sure", help="The whole 95 % interval of the drop must be within its bound."),
    ] = False,
    as_seen: Annotated[
        bool,
        typer.Option("--as-seen", help="Judge the drop on validation data alone, which flatters whoever is chosen."),
    ] = False,
    minimize: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Take the one with the lowest, as latency_ms.", autocompletion=minimized),
    ] = None,
    maximize: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Take the one with the highest, as quality.", autocompletion=maximized),
    ] = None,
    knee: Annotated[bool, typer.Option("--knee", help="Take the knee of the front. [default: this rule]")] = False,
    candidate: Annotated[
        str | None,
        typer.Option(
            metavar="CANDIDATE",
            help="Take this one, if it fits: its number, or how its digest begins.",
            autocompletion=verified_candidates,
        ),
    ] = None,
    runtime: Annotated[str | None, typer.Option(metavar="NAME", help="Only models that run in this runtime.")] = None,
    cascade: Annotated[
        bool,
        typer.Option("--cascade/--no-cascade", help="Two models as one: a small one hands on what it is unsure of."),
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Export the model to this folder. [default: nowhere]")
    ] = None,
    force: Force = False,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Pick one verified finalist, and say why.

    By the bounds that are given and one rule. A drop is within its bound if it is so on texts that nobody has seen,
    with 90 % confidence, by all held-out texts; other bounds and the rule look at the validation split.

    Where nothing fits, what comes nearest is named, and the exit code is 3.
    """
    from autocompress import report as reports
    from autocompress.store import Store

    session = session_of(context)
    note_force(session, force)
    bounds = reports.PickBounds(
        max_latency_ms=max_latency_ms,
        min_quality=min_quality,
        max_quality_drop=max_quality_drop,
        max_size_mb=max_size_mb,
        max_energy_mj=max_energy_mj,
        min_throughput=min_throughput,
        max_memory_mib=max_memory_mib,
        sure=sure,
        as_seen=as_seen,
    )
    if cascade:
        _refuse_rules(minimize=minimize, maximize=maximize, knee=knee, candidate=candidate, runtime=runtime)
    picked: reports.Picked | reports.PickedCascade
    with Store.open(storage, create=False) as store:
        if cascade:
            picked = reports.pick_cascade(store, study, bounds=bounds)
            if out:
                from autocompress.study.cascading import export_cascade

                session.wrote(export_cascade(store, picked, out))
            _show(session, picked, json=json)
            return
        picked = reports.pick(
            store,
            study,
            bounds=bounds,
            minimize=minimize,
            maximize=maximize,
            knee=knee,
            candidate=None if candidate is None else reference(candidate),
            runtime=runtime,
        )
        if out:
            from autocompress.study import study as studies

            folder = studies.export(store, study, picked.digest, out)
            session.wrote(folder)
    _show(session, picked, json=json)
    if not out and not json:
        session.say(f"export it with `autocompress export {study} {picked.digest} --out FOLDER`", style="dim")


def _show(session: Session, picked: Picked | PickedCascade, *, json: bool) -> None:
    from autocompress.report import as_picked

    if json:
        session.json(picked.to_json())
    else:
        session.data(as_picked(picked))


def _refuse_rules(*, minimize: str | None, runtime: str | None, **others: object) -> None:
    """A cascade is the one of the lowest mean latency. Raises SpecError for other rules."""
    from autocompress.core.runtimes import DEFAULT_RUNTIME
    from autocompress.errors import SpecError

    given = [name for name, value in others.items() if value]
    given += ["minimize"] if minimize not in (None, "latency_ms") else []
    given += ["runtime"] if runtime not in (None, DEFAULT_RUNTIME) else []
    if given:
        raise SpecError(
            f"--cascade: takes the lowest mean latency within the bounds, in {DEFAULT_RUNTIME}; leave "
            f"{', '.join(f'--{name}' for name in given)} away"
        )
