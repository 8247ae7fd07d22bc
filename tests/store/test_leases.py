"""Leases: one controller per study, dead ones replaced, replaced ones fenced off."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

import pytest
from sqlalchemy import event

from autocompress.core.interruption import interruptible
from autocompress.core.outcome import RUNG_FINALIST, RUNG_SLICED
from autocompress.core.process import Process
from autocompress.errors import SpecError, StudyLockedError
from autocompress.store import Lease, Store, database
from tests.fresh import FRESH

from . import given


def _hold(address: str, seconds: float, pipe: Connection) -> None:
    """Take the study, say so, and write once for every word received."""
    logging.disable(logging.CRITICAL)
    try:
        with Store.open(address) as store, store.lease("trec", seconds=seconds) as lease:
            store.propose(lease, given.proposal(lease.generation), given.policy(lease.generation))
            pipe.send("holding")
            while pipe.recv():
                store.set_state(lease, "failed")
                pipe.send("written")
    except StudyLockedError as error:
        pipe.send(f"refused: {error}")


@contextmanager
def another_controller(address: str, *, seconds: float = 60) -> Iterator[tuple[BaseProcess, Connection]]:
    ours, theirs = FRESH.Pipe()
    process = FRESH.Process(target=_hold, args=(address, seconds, theirs), daemon=True)
    process.start()
    try:
        yield process, ours
    finally:
        process.kill()
        process.join(10)
        ours.close()


def test_a_new_study_is_held_from_its_first_moment(address: str) -> None:
    """Seen between its making and its lease, another `run` would take it for one that never began, and delete it."""
    about: dict[str, Any] = {"given": {}, "resolved": {}, "fingerprint": {}, "objectives": given.OBJECTIVES}
    with Store.open(address) as ours, Store.open(address) as theirs:
        with ours.new_study("sst2", **about) as lease:
            with pytest.raises(StudyLockedError, match="study 'sst2' is being run by process"):
                theirs.delete_study("sst2")
            with (
                pytest.raises(SpecError, match="a study named 'sst2' exists already"),
                theirs.new_study("sst2", **about),
            ):
                pass
            ours.set_fact(lease, "seen", 1)
        assert theirs.fact("sst2", "seen") == 1
        theirs.delete_study("sst2")


def test_a_second_controller_is_refused_and_told_who_holds_the_study(store: Store, lease: Lease) -> None:
    me = Process.current()
    with (
        pytest.raises(StudyLockedError, match=rf"process {me.pid} on {me.host}, for \d+ s.*--takeover"),
        store.lease("trec"),
    ):
        pass
    store.set_state(lease, "searching")


def test_of_controllers_that_start_together_exactly_one_proceeds(address: str, store: Store) -> None:
    rounds = 3
    for _ in range(rounds):
        with (
            another_controller(address) as (_, first),
            another_controller(address) as (_, second),
            another_controller(address) as (_, third),
        ):
            said = [pipe.recv() for pipe in (first, second, third) if pipe.poll(20)]
        assert sorted(word.partition(":")[0] for word in said) == ["holding", "refused", "refused"]
    assert len(store.records("trec")) == rounds
    with store.lease("trec"):
        assert store.check("trec") == []


def test_a_study_given_back_can_be_taken_at_once(store: Store) -> None:
    with store.lease("trec") as first:
        pass
    with store.lease("trec") as second:
        assert second.generation == first.generation + 1


def test_a_killed_holder_is_replaced_at_once(address: str, store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", logger="autocompress")  # a quiet command in the same process leaves errors only
    with another_controller(address) as (process, pipe):
        assert pipe.recv() == "holding"
        process.kill()
        process.join(10)
        with store.lease("trec"):
            assert store.counts("trec").pending == 1
            assert store.check("trec") == []
    assert f"taken over from process {process.pid}" in caplog.text


def test_a_holder_whose_process_number_was_given_to_another_is_replaced(
    store: Store, sql: Callable[[str], list[Any]]
) -> None:
    with store.lease("trec"):
        sql("UPDATE leases SET started = started - 1")
        with store.lease("trec") as second:
            store.set_state(second, "failed")
    assert store.study("trec").state == "failed"


def test_a_holder_elsewhere_is_replaced_only_after_its_lease(store: Store, sql: Callable[[str], list[Any]]) -> None:
    """`kernel` differs: another machine, or this one before its last boot."""
    with store.lease("trec", seconds=60):
        sql("UPDATE leases SET kernel = 'elsewhere', pid = 999999999")
        with pytest.raises(StudyLockedError, match="process 999999999"), store.lease("trec"):
            pass
        sql("UPDATE leases SET expires = 0, expires_at = '2020-01-01 00:00:00'")
        with store.lease("trec"):
            pass


@pytest.mark.parametrize("moment", ["2001-01-01 00:00:00", "2099-01-01 00:00:00"])
def test_a_stepped_wall_clock_ends_no_lease_and_extends_none(
    store: Store, sql: Callable[[str], list[Any]], moment: str
) -> None:
    """To a lease, a clock put forward and a lease written by a slow clock look the same."""
    with store.lease("trec", seconds=60):
        sql(f"UPDATE leases SET expires_at = '{moment}', acquired_at = '{moment}', written_at = '{moment}'")
        with pytest.raises(StudyLockedError, match=r"for \d+ "), store.lease("trec"):
            pass
        sql("UPDATE leases SET expires = 0")
        with store.lease("trec"):
            pass


def test_a_paused_holder_is_replaced_after_its_lease_and_fenced_off(address: str, store: Store) -> None:
    with another_controller(address, seconds=1) as (process, pipe):
        assert pipe.recv() == "holding"
        assert process.pid is not None
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(StudyLockedError), store.lease("trec"):
            pass
        time.sleep(1.2)
        with store.lease("trec") as lease:
            os.kill(process.pid, signal.SIGCONT)
            pipe.send("write")
            assert pipe.poll(10)
            assert f"taken over by process {os.getpid()}" in pipe.recv()
            store.set_state(lease, "failed")
    assert store.study("trec").state == "failed"


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_holder_that_falls_asleep_inside_of_a_transaction_keeps_nobody_out_for_long(
    address: str, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "_IDLE_SECONDS", 0.5)

    def asleep(_: Any) -> None:
        with store.lease("trec", takeover=True) as second:
            store.set_state(second, "failed")

    refused = pytest.raises(StudyLockedError, match="nothing of this write was stored")
    with Store.open(address) as first, first.lease("trec") as lease, refused:
        first._write(lease, asleep)
    assert store.study("trec").state == "failed"


def test_a_held_lease_is_renewed_while_its_process_is_busy(store: Store) -> None:
    with store.lease("trec", seconds=0.9):
        time.sleep(1.5)
        with pytest.raises(StudyLockedError), store.lease("trec"):
            pass


def test_no_write_under_a_lost_lease_is_stored(store: Store, sql: Callable[[str], list[Any]]) -> None:
    tables = ("studies", "facts", "leases", "candidates", "proposals", "measurements", "finalists", "front")
    with store.lease("trec") as old:
        number = store.propose(old, given.proposal(0), given.policy(1)).candidate.number
        given.finished(store, old, 2, given.evaluated(0.5, 5.0))
        with store.lease("trec", takeover=True) as new:
            assert store.restart(new, number) == 2
            before = [sql(f"SELECT * FROM {table}") for table in tables]
            writes: list[Callable[[], object]] = [
                old.renew,
                lambda: store.set_state(old, "failed"),
                lambda: store.set_fact(old, "a", 1),
                lambda: store.propose(old, given.proposal(3), given.policy(3)),
                lambda: store.insert_baseline(old),
                lambda: store.restart(old, number),
                lambda: given.finish(store, old, number, given.evaluated(0.9, 1.0), attempt=2),
                lambda: store.nominate(old, [2]),
                lambda: store.conclude(
                    old, 2, verified=True, reason="", measurements=(), artifacts=[], provenance={}
                ),
            ]  # fmt: skip
            for write in writes:
                with pytest.raises(StudyLockedError, match="nothing of this write was stored"):
                    write()
            assert [sql(f"SELECT * FROM {table}") for table in tables] == before
            assert given.finish(store, new, number, given.evaluated(0.9, 1.0), attempt=2)
    assert store.front("trec", rung=RUNG_SLICED) == [number]
    assert store.front("trec", rung=RUNG_FINALIST) == []


def test_a_lease_given_back_is_worth_nothing(store: Store) -> None:
    with store.lease("trec") as lease:
        store.propose(lease, given.proposal(0), given.policy(1))
    with pytest.raises(StudyLockedError, match="no longer held by this process"):
        store.set_state(lease, "failed")
    assert store.counts("trec").pending == 1


def test_interrupted_while_it_is_taken_a_study_is_free_again(store: Store) -> None:
    """The wish to stop is acted on when the transaction has ended, and the lease is ours."""
    sent: list[str] = []

    def interrupt(*given: Any) -> None:
        if not sent and given[2].startswith("UPDATE leases"):
            sent.append(given[2])
            signal.raise_signal(signal.SIGINT)

    event.listen(store._database._engine, "before_cursor_execute", interrupt)
    with interruptible():
        with pytest.raises(KeyboardInterrupt), store.lease("trec"):
            pass
        assert sent
        with store.lease("trec") as lease:
            store.set_state(lease, "interrupted")
    assert store.study("trec").state == "interrupted"


def test_a_study_whose_process_was_killed_is_told_as_interrupted(address: str, store: Store) -> None:
    with another_controller(address) as (process, pipe):
        assert pipe.recv() == "holding"
        with store.lease("trec", takeover=True) as lease:
            store.set_state(lease, "searching")
            assert [one.state for one in store.studies()] == ["searching"], "somebody alive does so"
        assert store.study("trec").state == "interrupted", "and now nobody"
        process.kill()
    with another_controller(address) as (process, pipe):
        assert pipe.recv() == "holding"
        assert store.study("trec").state == "searching"
        process.kill()
        process.join()
        assert store.study("trec").state == "interrupted"
        assert [one.state for one in store.studies()] == ["interrupted"]
