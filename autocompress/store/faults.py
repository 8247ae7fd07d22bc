"""Database errors, in words that say what to do."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from autocompress.core.refusals import free_bytes, room_in_words
from autocompress.core.secrets import shows_part
from autocompress.errors import DiskFullError, StoreError
from autocompress.store.address import database_file, is_sqlite, shown, url_secrets

_SQLITE = {
    sqlite3.SQLITE_BUSY: "the database is locked by another process; wait for it to finish, or stop it",
    sqlite3.SQLITE_LOCKED: "the database is locked by another process; wait for it to finish, or stop it",
    sqlite3.SQLITE_FULL: "the disk is full; what was stored before is intact: free some space, then resume",
    sqlite3.SQLITE_IOERR: "the file cannot be read or written (disk fault, quota, or a lost network folder)",
    sqlite3.SQLITE_CORRUPT: "the database is damaged; it was left as it is: restore a backup copy",
    sqlite3.SQLITE_NOTADB: "the file is not a database, or is damaged; it was left as it is: name another file, or "
    "restore a backup copy",
    sqlite3.SQLITE_READONLY: "the database is read-only; make the file and its folder writable, or copy it elsewhere",
    sqlite3.SQLITE_CANTOPEN: "the file cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_PERM: "access is denied; make the file and its folder readable and writable",
    sqlite3.SQLITE_AUTH: "access is denied; make the file and its folder readable and writable",
}
_ALSO_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN)
"""What SQLite says on a full disk: of the file, of its journal, of a journal that cannot be made."""
_NO_ROOM = 1 << 20
"""Bytes; with more than these free, it is a limit of the database's own, or a fault."""
_POSTGRES = {
    "53100": "the server's disk is full; what was stored before is intact: free some space, then resume",
    "55P03": "a row is locked by another process; wait for it to finish, or stop it",
    "53300": "the server has no connection left; close another client, or raise max_connections",
    "42501": "the user may not do this; grant it the right to create and use tables",
    "25006": "the server is read-only; connect to the primary",
}
# 57P01-57P03: shut down, crashed, starting up; 25P03: idle for too long in a transaction; class 08: connections.
_LEFT_OUT = "what it says is left out: it may show a part of the password"
_GONE = ("57P01", "57P02", "57P03", "25P03", "08")


class ConnectionLostError(StoreError):
    """The server went away; the same transaction may be tried again."""


def explain(error: SQLAlchemyError, url: URL) -> StoreError:
    """A StoreError for anything SQLAlchemy raises, without secrets."""
    where = shown(url)
    if not isinstance(error, DBAPIError):
        return StoreError(f"{where}: {_clean(error, url)}")
    if isinstance(error, IntegrityError):
        return StoreError(f"{where}: refused, it contradicts what is stored ({_clean(error.orig, url)})")
    if is_sqlite(url):
        # An extended code keeps the primary one in its low byte: https://sqlite.org/rescode.html
        code = getattr(error.orig, "sqlite_errorcode", 0) & 0xFF
        if code in _ALSO_FULL and free_bytes(file := database_file(url)) < _NO_ROOM:
            return DiskFullError(f"{where}: {_SQLITE[sqlite3.SQLITE_FULL]}{room_in_words(file)}")
        return StoreError(f"{where}: {_SQLITE.get(code, 'SQLite reports an error')} ({_clean(error.orig, url)})")
    state = getattr(error.orig, "sqlstate", None)
    if error.connection_invalidated or (isinstance(error, OperationalError) and (state or "08").startswith(_GONE)):
        cause = _clean(error.orig, url)
        return ConnectionLostError(f"{where}: the server cannot be reached, or refused the login ({cause})")
    meaning = _POSTGRES.get(state or "", "PostgreSQL reports an error")
    return StoreError(f"{where}: {meaning} ({_clean(error.orig, url)})")


def may_be_shown(error: BaseException, url: URL) -> bool:
    """Whether an error, as it stands, shows nothing of the URL's secrets."""
    return not shows_part(str(error), url_secrets(url))


def unreadable(error: Exception, url: URL) -> StoreError:
    """A StoreError for rows that hold what autocompress never wrote."""
    cause = f"{type(error).__name__}: {_clean(error, url)[:200]}"
    return StoreError(
        f"{shown(url)}: holds what autocompress did not write ({cause}); it was left as it is: restore a backup copy, "
        "or remove the study with `autocompress rm`"
    )


def _clean(error: BaseException | None, url: URL) -> str:
    """What a database says. All of it is left out where any of it may be a part of a secret: a password cut in half by
    whoever reads it is no longer found as a whole."""
    text = " ".join(str(error).split())
    return _LEFT_OUT if shows_part(text, url_secrets(url)) else text
