"""`devices`: this machine, and the device profiles that can be named."""

from __future__ import annotations

from typing import Any, Final

import typer

from autocompress.cli.listing import print_named
from autocompress.cli.options import Json
from autocompress.cli.session import session_of

SCHEMA: Final = "autocompress.devices/1"


def devices(context: typer.Context, json: Json = False) -> None:
    """List the devices that a study can name."""
    from autocompress.config import HOST, load_device, named
    from autocompress.devices.host import fingerprint
    from autocompress.errors import AutocompressError

    found = fingerprint()
    about = ", ".join(part for part in (found["cpu"], f"{found['cores']} cores", found["isa"]) if part)
    rows: list[dict[str, Any]] = [{"name": HOST, "source": "measured when a study runs", "description": about}]
    for name, path in named("device").items():
        row: dict[str, Any] = {"name": name, "file": str(path)}
        try:
            profile = load_device(path)
            row |= {"version": profile.version, "source": profile.source, "description": profile.description}
        except AutocompressError as error:  # one broken file must not hide the others
            row["problem"] = str(error)
        rows.append(row)
    print_named(session_of(context), rows, json=json, schema=SCHEMA, key="devices")
