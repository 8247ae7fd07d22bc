"""`retarget`: a stored study solved again for another device."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from autocompress.cli.completion import named_devices
from autocompress.cli.options import Json, Storage, StudyName
from autocompress.cli.session import session_of

SCHEMA: Final = "autocompress.retarget/1"


def retarget(
    context: typer.Context,
    study: StudyName,
    device: Annotated[
        str,
        typer.Option(
            metavar="DEVICE", help="A hardware profile: its name, its file, or `host`.", autocompletion=named_devices
        ),
    ],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name of the new study. [default: STUDY-DEVICE]")
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option(metavar="MS", help="At most this latency there.")] = None,
    max_energy_mj: Annotated[float | None, typer.Option(metavar="MJ", help="At most this energy an inference.")] = None,
    max_size_mb: Annotated[float | None, typer.Option(metavar="MB", help="At most this size on disk.")] = None,
    min_quality: Annotated[
        str | None, typer.Option(metavar="SHARE", help="At least this score, as 94% or 0.94.")
    ] = None,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Solve a stored study again for another device.

    From the qualities it has: no candidate is evaluated again; costs are predicted from the device's profile. `resume`
    of the new study trains and verifies its finalists.
    """
    from autocompress import report as reports
    from autocompress.core.scores import score_named
    from autocompress.core.shares import amount
    from autocompress.core.spec import Bound
    from autocompress.errors import SpecError
    from autocompress.store import Store
    from autocompress.study.retarget import retarget as solve

    session = session_of(context)
    given = {"latency_ms": max_latency_ms, "energy_mj": max_energy_mj, "size_mb": max_size_mb}
    try:
        bounds = {metric: Bound(max=value) for metric, value in given.items() if value is not None}
    except ValueError as error:
        raise SpecError(str(error)) from error
    with Store.open(storage, create=False) as store:
        try:
            if min_quality is not None:
                unit = str(store.study(study).facts.get("task", {}).get("metric", ""))
                bounds["quality"] = Bound(min=amount(min_quality, points=score_named(unit).points))
        except ValueError as error:
            raise SpecError(f"--min-quality: {error}") from error
        found = solve(store, study, device=device, new_name=name, bounds=bounds)
        report = reports.front_report(store, found.name)
    if json:
        session.json({**report.to_json(), "schema": SCHEMA, "retargeted": found.to_json(study)})
        return
    session.data(reports.as_table(report))
    for metric in found.dropped:
        session.say(f"the bound on {metric} belonged to the other device and was dropped", style="dim")
    session.say(
        f"{found.kept} candidates of {study!r} priced for {found.device.name!r} ({found.device.source}), none evaluated"
        f" again; train and verify its finalists with `autocompress resume {found.name}`",
        style="dim",
    )
