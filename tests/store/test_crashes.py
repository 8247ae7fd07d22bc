"""Crashes: what was acknowledged is there, once, whenever the writer was killed or the server went away."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import sqlalchemy
from sqlalchemy import event

from autocompress.core.outcome import Evaluated, values
from autocompress.store import Store
from tests.fresh import FRESH

from . import given
from .conftest import Server

KILLS = 12


def test_a_writer_killed_at_any_moment_loses_nothing_it_acknowledged(
    address: str, store: Store, tmp_path: Path
) -> None:
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()
    seed = random.randrange(2**32)
    moments = random.Random(seed)
    for _ in range(KILLS):
        before = acknowledged.stat().st_size
        writer = FRESH.Process(target=given.write_until_killed, args=(address, acknowledged), daemon=True)
        writer.start()
        deadline = time.monotonic() + 20
        while acknowledged.stat().st_size == before and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(moments.uniform(0, 0.3))
        writer.kill()
        writer.join(10)
        _assert_everything_acknowledged_is_stored(store, acknowledged, f"seed {seed}")
    with store.lease("trec"):
        counts = store.counts("trec")
        assert (counts.running, counts.pending <= 1) == (0, True)
        assert store.check("trec") == [], f"seed {seed}"
    assert len(acknowledged.read_text().splitlines()) > KILLS


def _assert_everything_acknowledged_is_stored(store: Store, acknowledged: Path, seed: str) -> None:
    lines = [tuple(map(int, line.split())) for line in acknowledged.read_text().splitlines()]
    records = {record.candidate.number: record for record in store.records("trec")}
    assert max(Counter(number for number, _, _ in lines).values(), default=1) == 1, seed
    for number, heads, attempt in lines:
        record = records[number]
        assert record.candidate.policy == given.policy(heads), seed
        assert record.attempt == attempt, seed
        assert isinstance(record.outcome, Evaluated), seed
        assert values(record.outcome.measurements)["quality"] == given.value_of(heads), seed


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_server_that_restarts_is_waited_for(store: Store, server: Server) -> None:
    ended = threading.Event()

    def restart_now_and_then() -> None:
        for _ in range(3):
            time.sleep(0.3)
            server.stop()
            server.start()
        ended.set()

    restarting = threading.Thread(target=restart_now_and_then)
    with store.lease("trec", seconds=5) as lease:
        restarting.start()
        number = 0
        while not ended.is_set() or number < 20:
            given.finished(store, lease, number, given.evaluated(given.value_of(number), number))
            number += 1
        restarting.join()
        assert len(store.records("trec")) == len(store.proposals("trec")) == number
        assert store.check("trec") == []


@contextmanager
def _lost_acknowledgements(times: int) -> Iterator[None]:
    """The next commits reach the server, which then goes away before it can say so."""
    left = times

    def commit_and_lose(connection: sqlalchemy.Connection) -> None:
        nonlocal left
        if left:
            left -= 1
            connection.connection.commit()
            gone = psycopg.OperationalError("server closed the connection unexpectedly")
            raise sqlalchemy.exc.OperationalError("COMMIT", {}, gone, connection_invalidated=True)

    event.listen(sqlalchemy.Engine, "commit", commit_and_lose)
    try:
        yield
    finally:
        event.remove(sqlalchemy.Engine, "commit", commit_and_lose)
        assert left == 0


@pytest.mark.parametrize("address", ["postgresql"], indirect=True)
def test_a_commit_whose_acknowledgement_was_lost_is_not_done_again(store: Store) -> None:
    with store.lease("trec") as lease:
        with _lost_acknowledgements(1):
            proposed = store.propose(lease, given.proposal(0), given.policy(1))
        assert proposed.is_new
        with _lost_acknowledgements(2):
            assert given.finish(store, lease, proposed.candidate.number, given.evaluated(0.9, 3.0))
        assert len(store.proposals("trec")) == 1
        assert store.restart(lease, store.insert_baseline(lease).number) == 1
        with _lost_acknowledgements(1):
            assert store.restart(lease, 0) == 2
