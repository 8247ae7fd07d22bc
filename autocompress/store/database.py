"""One database: its connections, its transactions, and patience with a server that restarts."""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, final

from sqlalchemy import URL, Connection, Engine, create_engine, event, func, select
from sqlalchemy.exc import SQLAlchemyError, StatementError

from autocompress.core.interruption import shielded
from autocompress.core.refusals import is_full
from autocompress.errors import DiskFullError, StoreError
from autocompress.store.address import database_file, is_sqlite
from autocompress.store.faults import ConnectionLostError, explain, may_be_shown, unreadable

log = logging.getLogger(__name__)
T = TypeVar("T")

BUSY_SECONDS = 30.0
"""How long a transaction waits for another process's lock on a SQLite file (`?timeout=` in the URL overrides it)."""
PATIENCE_SECONDS = 30.0
"""How long a PostgreSQL server may be away in the middle of a study."""
_LOCK_SECONDS = 30.0
"""How long a statement waits for another process's lock on a PostgreSQL server."""
_IDLE_SECONDS = 20.0
"""After so many the server ends a transaction of ours in which nothing happens: that of a process which was stopped, or
whose machine is gone. Else its locks would keep everybody out for as long as it sleeps."""
_CREATION_LOCK = 0x6175746F  # any constant will do; all of autocompress must agree on it

_SNAPSHOT = {"autocompress_snapshot": True}


@final
class Database:
    """Connections to one database. Its errors are StoreErrors."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.is_sqlite = is_sqlite(url)
        self._engine, self._is_away = _engine(url), False
        # A reader of several tables must see one moment: REPEATABLE READ does that on PostgreSQL.
        isolation = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ"}
        self._snapshots = self._engine.execution_options(**_SNAPSHOT, **isolation)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Everything written inside is stored at the end, or nothing is. On SQLite there is one writer at a time."""
        with shielded(), self._explained(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """For reading: one consistent state, and no writer is kept out."""
        with shielded(), self._explained(), self._snapshots.begin() as connection:
            yield connection

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` on a snapshot, again if the server restarts meanwhile."""

        def once() -> T:
            try:
                with self.snapshot() as connection:
                    return work(connection)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                # What the database holds is outside input, too: somebody edited it, or another program did.
                raise unreadable(error, self.url) from error

        return self.patiently(once)

    def patiently(self, work: Callable[[], T]) -> T:
        """Run `work` until the server answers, for at most PATIENCE_SECONDS; at once it is given up while the server is
        known to be away for longer: what else a run has to store at its end must not wait as long each time."""
        deadline = time.monotonic() + (0.0 if self._is_away else PATIENCE_SECONDS)
        level = logging.WARNING
        while True:
            try:
                done = work()
            except ConnectionLostError as error:
                if time.monotonic() >= deadline:
                    self._is_away = True
                    raise
                log.log(level, "%s; trying again for %g s", error, PATIENCE_SECONDS)
                level = logging.DEBUG  # said once
                time.sleep(0.25)
            else:
                self._is_away = False
                return done

    def hold_creation(self, connection: Connection) -> None:
        """Keep other processes from creating the tables at the same time; SQLite's one writer needs no more."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(_CREATION_LOCK)))

    def clock(self, connection: Connection) -> float:
        """Seconds on a clock that nobody steps: the server's, or the machine's monotonic one (one for all processes
        since boot). Comparable between processes of one server or of one boot."""
        if self.is_sqlite:
            return time.monotonic()
        return float(connection.execute(select(func.extract("epoch", func.clock_timestamp()))).scalar_one())

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            if isinstance(error, StatementError) and isinstance(error.orig, (ValueError, TypeError)):
                raise error.orig from None  # a value that is no JSON, e.g. NaN: the caller's mistake
            raise explain(error, self.url) from (error if may_be_shown(error, self.url) else None)


def create_file(url: URL) -> None:
    """An empty SQLite file that only its owner may read: studies name private paths and data."""
    file = database_file(url)
    try:
        os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        kind = DiskFullError if is_full(error.errno) else StoreError
        raise kind(
            f"{file}: the study database cannot be created ({error.strerror}); "
            "check that its folder exists and is writable, or name another with --storage"
        ) from error


def _engine(url: URL) -> Engine:
    arguments: dict[str, Any] = {}
    if not is_sqlite(url):
        arguments = {} if "connect_timeout" in url.query else {"connect_timeout": 10}
    elif "timeout" not in url.query:
        arguments = {"timeout": BUSY_SECONDS}
    engine = create_engine(
        url,
        connect_args=arguments,
        # NaN is no JSON, and PostgreSQL would refuse what SQLite swallows.
        json_serializer=functools.partial(json.dumps, allow_nan=False, separators=(",", ":")),
        hide_parameters=True,
    )
    if is_sqlite(url):
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgres)
    return engine


def _prepare_postgres(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"SET lock_timeout = {int(1000 * _LOCK_SECONDS)}")
        cursor.execute(f"SET idle_in_transaction_session_timeout = {int(1000 * _IDLE_SECONDS)}")
    connection.commit()


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own idea of when a transaction begins would make "SELECT, then UPDATE" two transactions:
    # https://docs.sqlalchemy.org/en/21/dialects/sqlite.html#enabling-non-legacy-sqlite-transactional-modes
    connection.isolation_level = None
    cursor = connection.cursor()
    # Rollback journal, not WAL: SQLite before 3.51.3 can corrupt a WAL under two writers, and WAL needs shared memory,
    # which network folders do not have (https://sqlite.org/wal.html).
    for pragma in ("journal_mode=TRUNCATE", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock first; a deferred writer would fail half-way, where waiting cannot help.
    reading = connection.get_execution_options().get("autocompress_snapshot", False)
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")
