"""Schema versions: a new database is made at the newest, an old one is upgraded on request, a newer one is refused."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, text

from autocompress.errors import NotFoundError, SchemaError, StoreError
from autocompress.store.address import database_file, is_sqlite, parse_address, shown
from autocompress.store.database import Database
from autocompress.store.schema import VERSION_TABLE, metadata

if TYPE_CHECKING:
    from alembic.config import Config

REVISIONS = ("0001",)
"""Every schema version, the oldest first; a test compares it with the files in `migrations/versions/`."""
MIGRATIONS = Path(__file__).parent / "migrations"

_BASE = "base"
"""A database whose version table is empty: its creation was cut short, or undone."""


def prepare(database: Database, *, create: bool) -> None:
    """Create the tables in an empty database; check their version in any other.

    Raises SchemaError for another version or another program's database, NotFoundError for an empty one that is not to
    be filled.
    """
    with database.snapshot() as connection:
        version = _version(connection, database)
    if version is None:
        if not create:
            raise not_found(shown(database.url))
        with database.transaction() as connection:
            database.hold_creation(connection)
            version = _version(connection, database)  # another process may have been faster
            if version is None:
                _migrate(connection)
                return
    check_version(version, shown(database.url))


def check_version(version: str, where: str, *, known: tuple[str, ...] = REVISIONS) -> None:
    """Raises SchemaError unless the version is the newest of those known."""
    if version == known[-1]:
        return
    if version in known or version == _BASE:
        raise SchemaError(
            f"{where}: written by an older autocompress (schema {version}, this one uses {known[-1]}); "
            "run `autocompress db upgrade`, which keeps a backup copy"
        )
    raise SchemaError(
        f"{where}: written by a newer autocompress (schema {version}, this one knows up to {known[-1]}); "
        "install that version or a later one"
    )


def upgrade(url: str | None = None) -> Path | None:
    """Bring a database to the newest schema. Returns the backup copy made first of a SQLite file, if there was
    anything to do. Raises NotFoundError, SchemaError (written by a newer version) or StoreError."""
    address = parse_address(url)
    if is_sqlite(address) and not database_file(address).exists():
        raise not_found(shown(address))
    database = Database(address)
    try:
        with database.snapshot() as connection:
            version = _version(connection, database)
        if version is None:
            raise not_found(shown(address))
        if version == REVISIONS[-1]:
            return None
        if version != _BASE and version not in REVISIONS:
            check_version(version, shown(address))
        copy = _backup(database_file(address), version) if is_sqlite(address) else None
        with database.transaction() as connection:
            database.hold_creation(connection)
            _migrate(connection)
        return copy
    finally:
        database.close()


def not_found(where: str) -> NotFoundError:
    return NotFoundError(
        f"there is no study database at {where}; start one with `autocompress run STUDY.yaml`, or name another with "
        "--storage or $AUTOCOMPRESS_STORAGE"
    )


def alembic_config(connection: Connection) -> Config:
    """Alembic's view of the packaged migrations, bound to a connection."""
    from alembic.config import Config  # 0.1 s, which `autocompress list` must not pay

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _migrate(connection: Connection) -> None:
    from alembic import command

    command.upgrade(alembic_config(connection), "head")


def _version(connection: Connection, database: Database) -> str | None:
    """The schema version, or None for a database without anything of ours."""
    tables = set(inspect(connection).get_table_names())
    if VERSION_TABLE in tables:
        rows = connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalars().all()
        return str(rows[0]) if rows else _BASE
    # A server's database may be shared with other programs; a SQLite file with tables of others is somebody's work.
    if tables and (database.is_sqlite or tables & metadata.tables.keys()):
        raise SchemaError(
            f"{shown(database.url)}: a database, but not one of autocompress (it holds tables named "
            f"{', '.join(sorted(tables)[:3])}); name another"
        )
    return None


def _backup(file: Path, version: str) -> Path:
    copy = file.with_name(f"{file.name}.schema-{version}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.backup")
    try:
        os.close(os.open(copy, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        # SQLite's own copy waits for writers; a copy of the file's bytes could catch half a transaction.
        with closing(sqlite3.connect(file)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
    except (OSError, sqlite3.Error) as error:
        raise StoreError(f"{file}: no backup copy could be made at {copy} ({error}); nothing was upgraded") from error
    return copy
