"""`bundle`, `measure` and `import-measurements`: models that are measured on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.options import Force, Json, Storage, StudyName, note_force
from autocompress.cli.session import session_of


def bundle(
    context: typer.Context,
    study: StudyName,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write the bundle to.")],
    force: Force = False,
    storage: Storage = None,
) -> None:
    """Pack the verified finalists for measuring elsewhere.

    The folder holds every verified model, the uncompressed baseline and a `measure.py` that needs onnxruntime and numpy
    alone.
    """
    from autocompress.exported.elsewhere import bundle as pack
    from autocompress.store import Store

    session = session_of(context)
    note_force(session, force)
    with Store.open(storage, create=False) as store:
        folder = pack(store, study, out)
    session.text(str(folder))
    session.say(f"on the device: python {folder.name}/measure.py {folder.name} --json > measurements.json", style="dim")
    session.say(f"then here:     autocompress import-measurements {study} measurements.json", style="dim")


def measure(
    context: typer.Context,
    folder: Annotated[
        Path, typer.Argument(metavar="FOLDER", help="A folder written by `bundle`, `export` or `pick --out`.")
    ],
    json: Json = False,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="Rounds of 3 inferences. [default: 40, within two minutes]")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Also write the JSON document to this file.")
    ] = None,
) -> None:
    """Measure exported models on this machine.

    Models are measured in turns, with onnxruntime. This command also works where nothing but onnxruntime and numpy is
    installed.
    """
    from autocompress.assets import MEASUREMENTS, check_file, write_file
    from autocompress.deploy import measure as program
    from autocompress.errors import HostError, IntegrityError, NotFoundError, SpecError

    session = session_of(context)
    if out is not None:
        check_file(out, MEASUREMENTS)
    try:
        document = program.measure(folder, rounds=rounds)
        if out is not None:
            write_file(out, program.text_of(document), MEASUREMENTS)
            session.wrote(out)
    except program.Refused as refused:
        known = {error.exit_code: error for error in (SpecError, NotFoundError, HostError, IntegrityError)}
        raise known[refused.exit_code](str(refused)) from refused
    session.text(program.text_of(document) if json else "\n".join(program.lines(document)))


def import_measurements(
    context: typer.Context,
    study: StudyName,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `measure --json` printed on the device.")],
    storage: Storage = None,
) -> None:
    """Take over latencies measured elsewhere.

    They replace those of the study's verified models and its baseline, whether predicted or measured.
    """
    from autocompress.exported.elsewhere import import_measurements as take_over
    from autocompress.store import Store

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        found = take_over(store, study, file)
    session.text("\n".join(found.lines))
