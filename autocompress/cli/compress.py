"""`compress`: from a model and data to a verified folder, in one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from autocompress.cli.beginning import (
    Data,
    Device,
    Label,
    MaxDrop,
    MaxLatency,
    Minutes,
    Model,
    Name,
    Pair,
    Set,
    Task,
    Test,
    Text,
    Validation,
    asked_of,
    drop_of,
    shown,
    tell,
)
from autocompress.cli.options import Json, Storage
from autocompress.cli.runs import Log, RayAddress, Workers, resumable
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from autocompress.core.ports import Logger
    from autocompress.exported.folder_check import FolderReport
    from autocompress.report import PickBounds, Settled
    from autocompress.study.beginning import Begun

SCHEMA: Final = "autocompress.compress/1"

UNSURE: Final = 8
"""The exit code where a model was exported that is not sure to keep the bound asked for."""


def compress(
    context: typer.Context,
    model: Model,
    data: Data,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write the model to.")],
    validation: Validation = None,
    test: Test = None,
    task: Task = None,
    text: Text = None,
    pair: Pair = None,
    label: Label = None,
    minutes: Minutes = 20.0,
    max_drop: MaxDrop = None,
    max_latency: MaxLatency = None,
    device: Device = "host",
    name: Name = None,
    settings: Set = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = None,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Make a model smaller and faster by one command.

    Guesses a study as `init` does, runs it, takes the fastest model that is sure (90 %) to keep the bound on the drop
    on rows that nobody has seen, exports it to a folder and verifies that. Called again with the same arguments, it
    goes on where it was stopped.

    Where no model is sure to keep it, the fastest that is expected to is exported, or else the one that loses least,
    which is said; if you gave the bound, the exit code is 8 then.
    """
    from autocompress.loggers import named
    from autocompress.report import PickBounds
    from autocompress.study.beginning import begin

    session = session_of(context)
    check_out(out, storage)
    loggers = [named(one) for one in log or ()]
    asked = asked_of(
        model=model,
        data=data,
        validation=validation,
        test=test,
        kind=task,
        named=(text, pair, label),
        minutes=minutes,
        max_latency=max_latency,
        device=device,
        name=name,
        settings=settings,
    )
    begun = begin(asked, base=Path.cwd())
    drop = drop_of(max_drop, str(begun.spec.task.scored))
    tell(session, begun.reasons)
    session.say(f"{'study':<12}  {begun.spec.name}: kept in the database; the same command goes on with it")
    with resumable(session, begun.spec.name, storage=storage):
        run_begun(session, begun, storage=storage, workers=workers, ray_address=ray_address, loggers=loggers)
        bounds = PickBounds(max_quality_drop=drop, max_latency_ms=asked.max_latency_ms)
        settled, report = taken(session, begun.spec.name, bounds, out, storage)
    if json:
        told = settled.to_json()
        session.json({**told, "schema": SCHEMA, "folder": str(out), "verification": report.to_json()})
    else:
        show_taken(session, settled, report, out)
    if settled.promise != "sure" and max_drop is not None:
        raise typer.Exit(UNSURE)


def check_out(out: Path, storage: str | None) -> None:
    """Before minutes are spent on what could not be written. Raises SpecError."""
    from autocompress.assets import earlier_export
    from autocompress.store import Store

    with Store.open(storage) as store:
        earlier_export(out, keep=store.places)


def run_begun(
    session: Session,
    begun: Begun,
    *,
    storage: str | None,
    workers: int | None,
    ray_address: str | None,
    loggers: Sequence[Logger] = (),
) -> None:
    """A new study, or the stored one of the same settings: it goes on, and is at its end where it was. The
    `loggers` are told of that too."""
    from autocompress.cli.live import watching
    from autocompress.store import Store
    from autocompress.study import study as studies
    from autocompress.study.life import stored_alike

    with Store.open(storage) as store:
        alike = stored_alike(store, begun.spec)
    if alike == "complete":
        session.say(f"study {begun.spec.name!r} is complete already: nothing is run again")
        if not loggers:
            return
    elif alike:
        session.say(f"study {begun.spec.name!r} is there already ({alike}): going on with it")
    with watching(session) as observer:
        if alike:
            studies.resume(
                begun.spec.name,
                storage=storage,
                workers=workers,
                ray_address=ray_address,
                observer=observer,
                loggers=loggers,
            ).close()
            return
        given = {"command": "compress", "study": dict(begun.tree)}
        studies.run(
            begun.spec,
            storage=storage,
            workers=workers,
            ray_address=ray_address,
            observer=observer,
            given=given,
            loggers=loggers,
        ).close()


def taken(
    session: Session, name: str, bounds: PickBounds, out: Path, storage: str | None
) -> tuple[Settled, FolderReport]:
    """What was chosen, in its folder, and what became of that when it was verified. Raises IntegrityError where it does
    not answer as promised."""
    from autocompress.errors import IntegrityError
    from autocompress.exported.folder_check import verify_folder
    from autocompress.report import settle
    from autocompress.store import Store
    from autocompress.study import study as studies

    with Store.open(storage, create=False) as store:
        settled = settle(store, name, bounds)
        session.wrote(studies.export(store, name, settled.picked.digest, out))
    report = verify_folder(out)
    if not report.ok:
        raise IntegrityError("\n".join([*report.lines, f"{out}: not what was verified; export it again"]))
    return settled, report


def show_taken(session: Session, settled: Settled, report: FolderReport, out: Path, *, example: str = "...") -> None:
    """What was chosen, beside what it was chosen from, and what to do with it; `example` is something to ask it."""
    from autocompress.report import as_picked

    session.data(as_picked(settled.picked))
    session.text("\n".join(["", f"verified in {out}:", *report.lines]))
    name = settled.picked.study
    session.say(f"\nanswer with it:   python {shown(out / 'example.py')} {example}", style="dim")
    session.say(f"see the others:   autocompress pareto {name}", style="dim")
