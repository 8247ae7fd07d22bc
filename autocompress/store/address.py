"""Where a study database lives: file paths and URLs, as users write them, and as they may be shown."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from autocompress.errors import HostError, SpecError, StoreError, did_you_mean

STORAGE_VARIABLE = "AUTOCOMPRESS_STORAGE"
ARTIFACTS_VARIABLE = "AUTOCOMPRESS_ARTIFACTS"
DEFAULT_FILE = "autocompress.db"

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_SECRETS_IN_QUERY = ("password", "sslpassword")


def parse_address(text: str | None) -> URL:
    """The database meant by a path, a URL, $AUTOCOMPRESS_STORAGE or, with none of them, ./autocompress.db.

    Raises SpecError for what is no URL and HostError for a kind of database that cannot be used here.
    """
    text = text or os.environ.get(STORAGE_VARIABLE) or DEFAULT_FILE
    if "://" not in text:
        return URL.create("sqlite+pysqlite", database=str(Path(text).expanduser()))
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        # The text may hold a password, in a place that no parser found: it is not shown, nor is the cause.
        raise SpecError(
            "storage: the database URL cannot be read; write a file path, sqlite:///FILE or "
            "postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters in the password percent-encoded"
        ) from None
    if url.drivername not in _DRIVERS:
        near = did_you_mean(url.drivername, ("sqlite", "postgresql"))
        raise HostError(f"storage: {url.drivername!r} is not a database autocompress can use; {near}")
    url = url.set(drivername=_DRIVERS[url.drivername])
    if is_sqlite(url):
        _refuse_memory(url)
    else:
        _require_psycopg()
    if "password" in url.query:  # psycopg takes it from either place, but only this one is masked
        url = url.set(password=str(url.query["password"])).difference_update_query(["password"])
    return url


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def database_file(url: URL) -> Path:
    """The file of a SQLite URL."""
    if not url.database:
        raise StoreError("a SQLite URL names no file")
    return Path(url.database)


def shown(url: URL) -> str:
    """The URL with its secrets masked, and without the driver nobody asked for."""
    for key in _SECRETS_IN_QUERY:
        if key in url.query:
            url = url.update_query_dict({key: "***"})
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def artifact_folder(url: URL) -> Path:
    """Where the files of a database's studies lie: beside a SQLite file, else $AUTOCOMPRESS_ARTIFACTS."""
    if is_sqlite(url):
        file = database_file(url)
        return (file.with_name(f"{file.stem}-artifacts")).absolute()
    return (Path(os.environ.get(ARTIFACTS_VARIABLE) or "autocompress-artifacts")).absolute()


def _refuse_memory(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise SpecError(f"storage: {shown(url)} is no file; a study must outlive its process, so name a file")


def _require_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise HostError(
            "storage: PostgreSQL needs the psycopg driver, which is not installed; "
            "install it with `pip install 'autocompress[postgres]'`"
        ) from error
