"""`devices`: this machine, and the device profiles that can be named."""

from __future__ import annotations

import dataclasses
import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autocompress.cli.completion import named_devices
from autocompress.cli.options import Json
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.core.device import DeviceProfile

SCHEMA: Final = "autocompress.devices/1"
ONE_SCHEMA: Final = "autocompress.device/1"


def devices(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME", help="Show this profile in full: a name or a file.", autocompletion=named_devices
        ),
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Write a plot of the profile.")] = None,
    json: Json = False,
) -> None:
    """List the devices that a study can name, or show one.

    The error of a device is that of its latency predictions on models that its fit had not seen.
    """
    from autocompress.errors import SpecError

    session = session_of(context)
    if name is not None:
        _show(session, name, png=png, json=json)
    elif png is not None:
        raise SpecError("--png: a plot shows one device; name it: `autocompress devices NAME --png FILE`")
    else:
        _list(session, json=json)


def _list(session: Session, *, json: bool) -> None:
    from autocompress.config import HOST, load_device, named
    from autocompress.devices.host import fingerprint
    from autocompress.errors import AutocompressError

    found = fingerprint()
    about = ", ".join(part for part in (found["cpu"], f"{found['cores']} cores", found["isa"]) if part)
    host = f"this machine, measured when a study runs: {about}"
    rows: list[dict[str, Any]] = [{"name": HOST, "source": "host", "description": host}]
    for name, path in named("device").items():
        row: dict[str, Any] = {"name": name, "file": str(path)}
        try:
            row |= _row(load_device(path))
        except AutocompressError as error:  # one broken file must not hide the others
            row["problem"] = str(error)
        rows.append(row)
    if json:
        session.json({"schema": SCHEMA, "devices": rows})
        return
    from autocompress.report.devices import as_device_list

    session.data(as_device_list(rows))


def _row(profile: DeviceProfile) -> dict[str, Any]:
    from autocompress.report.devices import age_days, validated

    accuracy = validated(profile)
    return {
        "version": profile.version,
        "source": profile.source,
        "description": profile.description,
        "measured_on": profile.measured_on,
        "age_days": age_days(profile, datetime.datetime.now(datetime.UTC).date()),
        "accuracy": dataclasses.asdict(accuracy) if accuracy else None,
    }


def _show(session: Session, name: str, *, png: Path | None, json: bool) -> None:
    from autocompress.config import HOST, device_to_json, load_device, locate, named
    from autocompress.errors import NotFoundError

    if name == HOST and HOST not in named("device"):
        raise NotFoundError(
            f"`{HOST}` is this machine, which is measured when a study runs on it and has no profile by that name; "
            "make one with `autocompress profile --out FILE`, and show that file"
        )
    profile = load_device(locate("device", name))
    if png is not None:
        from autocompress.report.device_png import as_device_png

        as_device_png(profile, png)
        session.wrote(png)
    if json:
        session.json({"schema": ONE_SCHEMA, "profile": device_to_json(profile)})
    elif png is None:
        from autocompress.report.devices import as_device

        session.data(as_device(profile))
