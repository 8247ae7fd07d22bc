"""Who may write to a study: one process at a time, and never one that was replaced without noticing.

A lease names its holder and runs out unless renewed. Whoever takes it over raises its `generation`, and every write
first bumps a counter on the lease row of its own generation: a holder that was paused for an hour and wakes up finds no
such row, so none of its writes is stored. This is a fencing token:
https://martin.kleppmann.com/2016/02/08/how-to-do-distributed-locking.html.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar, final

from sqlalchemy import Connection, Row, select, update

from autocompress.core.interruption import shielded
from autocompress.core.process import Process
from autocompress.errors import NotFoundError, StoreError, StudyLockedError
from autocompress.store.database import Database
from autocompress.store.schema import candidates, leases

log = logging.getLogger(__name__)
T = TypeVar("T")


@final
@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write to one study."""

    study: str
    study_id: int
    owner: str
    generation: int
    seconds: float
    _database: Database = field(repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def renew(self) -> None:
        """Hold on for another `seconds`. Raises StudyLockedError when another process took the study over."""
        with self._database.transaction() as connection:
            held = connection.execute(
                update(leases).where(*self._mine()).values(**_until(self._database, connection, self.seconds))
            ).rowcount
            if not held:
                raise _lost(connection, self)

    def write(self, database: Database, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction, exactly once, also when the server restarts in the middle of its commit.

        Raises StudyLockedError, and stores nothing, when this lease is no longer the valid one.
        """
        sent: tuple[int, T] | None = None

        def once() -> T:
            nonlocal sent
            with database.transaction() as connection:
                turn = self._take_turn(connection)
                # The counter moved since our last try: that commit landed, only its acknowledgement was lost.
                if sent is not None and turn > sent[0]:
                    return sent[1]
                sent = (turn, work(connection))
                return sent[1]

        with self._turn:  # two threads at once could not tell whose commit moved the counter
            return database.patiently(once)

    def _take_turn(self, connection: Connection) -> int:
        turn = connection.execute(
            update(leases)
            .where(*self._mine())
            .values(writes=leases.c.writes + 1, written_at=datetime.now(UTC))
            .returning(leases.c.writes)
        ).scalar_one_or_none()
        if turn is None:
            raise _lost(connection, self)
        return int(turn)

    def _mine(self) -> tuple[Any, ...]:
        return (
            leases.c.study_id == self.study_id,
            leases.c.owner == self.owner,
            leases.c.generation == self.generation,
        )


@contextmanager
def hold(
    database: Database, name: str, find: Callable[[Connection], int], *, seconds: float, takeover: bool = False
) -> Iterator[Lease]:
    """The lease of the study that `find` finds, or makes, in the same transaction; renewed by a thread while the body
    runs and given back after it."""
    ended, lease, renewer = threading.Event(), None, None
    try:
        with shielded():  # interrupted in between, it would be held by nobody who gives it back
            lease = _acquire(database, name, find, seconds=seconds, takeover=takeover)
            renewer = threading.Thread(target=_renew_until, args=(lease, ended), name=f"lease of {name}", daemon=True)
            renewer.start()
        yield lease
    finally:
        with shielded():
            ended.set()
            if renewer is not None and renewer.ident is not None:
                renewer.join()
            if lease is not None:
                _release(database, lease)


def holder(connection: Connection, study_id: int) -> Row[Any] | None:
    """The lease row of a study that somebody holds, locked against change; None when it is free."""
    row = connection.execute(select(leases).where(leases.c.study_id == study_id).with_for_update()).one_or_none()
    return row if row is not None and row.owner is not None else None


def held(database: Database, connection: Connection, study_ids: Iterable[int]) -> set[int]:
    """Those of some studies that a live process holds."""
    rows = connection.execute(select(leases).where(leases.c.study_id.in_(list(study_ids)), leases.c.owner.is_not(None)))
    return {row.study_id for row in rows.all() if not _is_over(database, connection, row)}


def refuse_if_held(database: Database, connection: Connection, name: str, study_id: int) -> None:
    """Raises StudyLockedError, naming the holder, while a live process holds the study."""
    row = holder(connection, study_id)
    if row is None or _is_over(database, connection, row):
        return
    raise StudyLockedError(
        f"study {name!r} is being run by process {row.pid} on {row.host}, for {_age(row.acquired_at)}; wait for it or "
        f"stop it. If it cannot be reached, its hold ends by itself soon, or at once with `autocompress resume {name} "
        "--takeover`, or `autocompress rm --takeover`"
    )


def _acquire(
    database: Database, name: str, find: Callable[[Connection], int], *, seconds: float, takeover: bool
) -> Lease:
    me = Process.current()
    owner = uuid.uuid4().hex
    with database.transaction() as connection:
        study_id = find(connection)
        before = holder(connection, study_id)
        if not takeover:
            refuse_if_held(database, connection, name, study_id)
        generation = connection.execute(
            update(leases)
            .where(leases.c.study_id == study_id)
            .values(
                generation=leases.c.generation + 1, owner=owner, host=me.host, pid=me.pid, kernel=me.kernel,
                started=me.started, acquired_at=datetime.now(UTC), **_until(database, connection, seconds),
            )
            .returning(leases.c.generation)
        ).scalar_one_or_none()  # fmt: skip
        if generation is None:
            raise NotFoundError(f"study {name!r} was deleted")
        _put_back(connection, study_id, name)
    if before is not None:
        log.warning("study %s: taken over from process %d on %s", name, before.pid, before.host)
    return Lease(name, study_id, owner, int(generation), seconds, database)


def _release(database: Database, lease: Lease) -> None:
    """Never raises: the body's own error matters more, and the lease runs out by itself."""
    try:
        with database.transaction() as connection:
            free = dict.fromkeys(("owner", "host", "pid", "kernel", "started", "expires", "expires_at"))
            if connection.execute(update(leases).where(*lease._mine()).values(**free)).rowcount:
                _put_back(connection, lease.study_id, lease.study)
    except StoreError as error:
        log.warning("study %s: the lease could not be given back and will run out: %s", lease.study, error)


def _renew_until(lease: Lease, ended: threading.Event) -> None:
    while not ended.wait(lease.seconds / 3):
        try:
            lease.renew()
        except StudyLockedError as error:
            log.error("%s", error)
            return
        except StoreError as error:
            log.warning("study %s: the lease could not be renewed, trying again: %s", lease.study, error)


def _put_back(connection: Connection, study_id: int, name: str) -> None:
    """Nobody runs what an earlier holder was running: it waits to be restarted."""
    left = connection.execute(
        update(candidates)
        .where(candidates.c.study_id == study_id, candidates.c.state == "running")
        .values(state="pending")
    ).rowcount
    if left:
        log.info("study %s: %d interrupted candidate(s) wait to be evaluated again", name, left)


def _until(database: Database, connection: Connection, seconds: float) -> dict[str, Any]:
    return {
        "expires": database.clock(connection) + seconds,
        "expires_at": datetime.now(UTC) + timedelta(seconds=seconds),
    }


def _is_over(database: Database, connection: Connection, row: Row[Any]) -> bool:
    if Process(row.host, row.pid, row.kernel, row.started).is_gone():
        return True
    kernel = Process.current().kernel
    if not database.is_sqlite or (kernel is not None and row.kernel == kernel):
        return bool(database.clock(connection) >= row.expires)
    # Another boot or another machine on a shared SQLite file: the wall clock is all that both have.
    return bool(datetime.now(UTC) >= row.expires_at)


def _lost(connection: Connection, lease: Lease) -> StudyLockedError:
    row = connection.execute(select(leases).where(leases.c.study_id == lease.study_id)).one_or_none()
    if row is None:
        happened = "was deleted"
    elif row.owner is None or row.generation == lease.generation:
        happened = "is no longer held by this process"
    else:
        happened = f"was taken over by process {row.pid} on {row.host}, {_age(row.acquired_at)} ago"
    return StudyLockedError(f"study {lease.study!r} {happened}; nothing of this write was stored")


def _age(since: datetime) -> str:
    seconds = max(0, int((datetime.now(UTC) - since).total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    return f"{seconds // 60} min" if seconds < 7200 else f"{seconds // 3600} h"
