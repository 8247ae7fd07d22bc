"""`doctor`: can this machine do what autocompress needs?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from autocompress.cli.options import Json, Storage
from autocompress.cli.session import session_of
from autocompress.core.refusals import WHOLE
from autocompress.core.versions import PACKAGES, installed
from autocompress.errors import AutocompressError, HostError

if TYPE_CHECKING:
    from autocompress.store import Store

SCHEMA: Final = "autocompress.doctor/1"
_PYTHON: Final = (3, 11)
_FREE_GB: Final = 4.0  # a study keeps its teacher, checkpoints and exported models
_LIGHT: Final = "studies are read and models run without it, and `pip install autocompress` brings what runs studies"
_OPTIONAL: Final = {"matplotlib": "plots", "optuna-dashboard": "dashboard", "psycopg": "postgres"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at."""

    name: str
    verdict: Literal["ok", "note", "bad"]
    text: str


def doctor(
    context: typer.Context,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also load every runtime, and start and stop Ray: some seconds.")
    ] = False,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Can this machine do what is needed?

    Looks at Python, libraries, processor, memory, disk and the study database, whose rules are checked; exit code 4
    when something is bad.
    """
    session = session_of(context)
    looks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        lambda: _runtimes(deep=deep),
        _machine,
        _disk,
        _left_by_ray,
        lambda: _database(storage),
    ]
    if deep:
        looks.append(_ray)
    found = [finding for look in looks for finding in look()]
    if json:
        session.json({"schema": SCHEMA, "findings": [asdict(finding) for finding in found]})
    else:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        styles = {"ok": "green", "note": "yellow", "bad": "bold red"}
        for finding in found:
            table.add_row(Text(finding.verdict, style=styles[finding.verdict]), finding.name, Text(finding.text))
        session.data(table)
    bad = [finding.name for finding in found if finding.verdict == "bad"]
    if bad:
        raise HostError(f"this machine is not ready: {', '.join(bad)}")


def _python() -> list[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= _PYTHON
    needed = "" if good else f"; autocompress needs {'.'.join(map(str, _PYTHON))} or later"
    return [Finding("python", "ok" if good else "bad", f"{version}, {sys.executable}{needed}")]


def _packages() -> list[Finding]:
    found = []
    for name in (*PACKAGES[1:], "onnx", "sqlalchemy", "tokenizers", "safetensors"):
        version = installed(name)
        if version or name not in WHOLE:
            missing = "not installed; run `pip install autocompress`"
            found.append(Finding(name, "ok" if version else "bad", version or missing))
        else:
            found.append(Finding(name, "note", f"not installed; {_LIGHT}"))
    for name, extra in _OPTIONAL.items():
        version = installed(name)
        missing = f"not installed; `pip install 'autocompress[{extra}]'` brings it"
        found.append(Finding(name, "ok" if version else "note", version or missing))
    return found


def _runtimes(*, deep: bool) -> list[Finding]:
    """Those that models can be deployed in: by the packages that are there, or, which loads them, by asking each."""
    from autocompress.core.runtimes import RUNTIMES

    found = []
    for name, kind in RUNTIMES.items():
        version, lack = installed(kind.install), f"{kind.install} is not installed; {kind.fix}"
        if deep and version:
            from autocompress.deploy.session import runtime

            try:
                version = runtime(name).version
            except (HostError, ImportError) as error:
                version, lack = None, str(error).removeprefix(f"runtime {name!r}: ")
        found.append(Finding(f"runtime {name}", "ok" if version else "note", version or lack))
    return found


def _machine() -> list[Finding]:
    import psutil

    from autocompress.core.cores import usable_cores
    from autocompress.devices.host import fingerprint

    about = fingerprint()
    cores, memory = usable_cores(), psutil.virtual_memory()
    free, total = memory.available / 2**30, memory.total / 2**30
    return [
        Finding("processor", "ok", about["cpu"]),
        Finding("cores", "ok" if cores > 1 else "note", f"{cores} usable of {about['cores']}"),
        Finding("instructions", "ok" if about["isa"] else "note", about["isa"] or "none that speed up int8"),
        Finding("memory", "ok" if free >= 2 else "note", f"{free:.1f} of {total:.1f} GiB free"),
        _energy(),
    ]


def _energy() -> Finding:
    from autocompress.devices.energy import find_meter, why_no_meter

    meter = find_meter()
    if meter is None:
        return Finding("energy meter", "note", f"none, so energy is modelled: {why_no_meter()}")
    return Finding("energy meter", "ok", meter.name)


def _disk() -> list[Finding]:
    found = []
    for name, folder in (("disk here", Path.cwd()), ("disk for temporary files", Path(tempfile.gettempdir()))):
        free = shutil.disk_usage(folder).free / 1e9
        found.append(Finding(name, "ok" if free >= _FREE_GB else "note", f"{free:.0f} GB free in {folder}"))
    return found


def _left_by_ray() -> list[Finding]:
    """Ends what drivers that were killed left running, and deletes their folders."""
    from autocompress.runners.sessions import abandoned, remove_abandoned

    folders = abandoned()
    if not folders:
        return [Finding("left by Ray", "ok", "nothing")]
    ended = remove_abandoned()
    named = ", ".join(map(str, folders))
    return [Finding("left by Ray", "note", f"removed {named} of drivers that were killed, and ended {ended} processes")]


def _database(storage: str | None) -> list[Finding]:
    """Writes to a database beside the study database, and opens that one if it is there."""
    from autocompress.store import Store
    from autocompress.store.address import database_file, is_sqlite, parse_address, shown

    found = [Finding("sqlite", "ok", sqlite3.sqlite_version)]
    try:
        address = parse_address(storage)
        where = shown(address)
        if not is_sqlite(address):
            with Store.open(storage, create=False) as store:
                return [*found, *_content(store, where)]
        file = database_file(address)
        _write_beside(file)
        if not file.exists():
            return [*found, Finding("database", "ok", f"{file} can be made")]
        with Store.open(storage, create=False) as store:
            return [*found, *_content(store, str(file))]
    except (AutocompressError, OSError, sqlite3.Error) as error:
        return [*found, Finding("database", "bad", str(error))]


def _content(store: Store, where: str) -> Iterator[Finding]:
    """Whether every study keeps the store's rules, and what lies among the artifacts that is no study's."""
    from autocompress.study.leftovers import orphans

    studies = store.studies()
    yield Finding("database", "ok", f"{where}: {len(studies)} studies")
    for study in studies:
        for broken in store.check(study.name):
            yield Finding("database", "bad", f"{study.name}: {broken}")
    for one in orphans(store):
        told = f"{one.path}: {one.bytes / 1e6:,.1f} MB of no study in this database; `autocompress gc --orphans`"
        yield Finding("artifacts", "note", told)


def _write_beside(file: Path) -> None:
    folder = file.absolute().parent
    while not folder.exists():  # `Store.open` makes the folder; its nearest ancestor tells whether it can
        folder = folder.parent
    handle, name = tempfile.mkstemp(prefix=".autocompress-doctor-", suffix=".db", dir=folder)
    os.close(handle)
    try:
        connection = sqlite3.connect(name)
        try:
            connection.executescript("CREATE TABLE t (x); INSERT INTO t VALUES (1);")
        finally:
            connection.close()
    finally:
        Path(name).unlink(missing_ok=True)


def _ray() -> list[Finding]:
    from autocompress.runners.cluster import cluster

    try:
        with cluster(workers=1) as ray:
            worker = ray.get(ray.remote(lambda: os.getpid()).remote(), timeout=60)
    except Exception as error:  # noqa: BLE001 - whatever Ray raises is what the user wants to know
        return [Finding("ray start", "bad", f"{type(error).__name__}: {error}")]
    return [Finding("ray start", "ok", f"a worker answered (process {worker})")]
