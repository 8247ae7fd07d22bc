"""SQLite files in trouble: said plainly, never overwritten, whole again once the trouble is over."""

from __future__ import annotations

import os
import random
import sqlite3
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from autocompress.errors import NotFoundError, SchemaError, StoreError
from autocompress.store import Store

from . import given


def filled(file: Path, candidates: int = 20) -> Store:
    store = Store.open(str(file))
    given.study(store)
    with store.lease("trec") as lease:
        for heads in range(1, candidates + 1):
            given.finished(store, lease, heads, given.evaluated(given.value_of(heads), heads))
    return store


@contextmanager
def _pages_at_most(pages: int) -> Iterator[None]:
    def limit(connection: Any, _record: Any) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")

    event.listen(Engine, "connect", limit)
    try:
        yield
    finally:
        event.remove(Engine, "connect", limit)


@contextmanager
def _as_somebody_else() -> Iterator[None]:
    """Root may write anywhere, so it steps down for a moment."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def test_only_the_owner_can_read_a_new_file(file: Path) -> None:
    with Store.open(str(file)):
        assert file.stat().st_mode & 0o777 == 0o600


def test_a_short_lock_is_waited_for_and_a_long_one_is_named(file: Path) -> None:
    filled(file).close()
    with (
        closing(sqlite3.connect(file, isolation_level=None, check_same_thread=False)) as other,
        Store.open(f"sqlite:///{file}?timeout=1.5") as store,
        store.lease("trec") as lease,
    ):
        other.execute("BEGIN EXCLUSIVE")
        threading.Timer(0.5, other.rollback).start()
        started = time.monotonic()
        store.set_state(lease, "searching")
        assert time.monotonic() - started > 0.4

        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match=r"studies\.db.*locked by another process.*wait for it"):
            store.set_state(lease, "failed")
        other.rollback()
        assert store.study("trec").state == "searching"


def test_a_reader_keeps_no_reader_out(file: Path) -> None:
    with (
        filled(file) as store,
        closing(sqlite3.connect(file, isolation_level=None)) as other,
    ):
        other.execute("BEGIN")
        other.execute("SELECT * FROM studies").fetchall()
        assert len(store.records("trec")) == 20
        other.rollback()


def test_a_full_disk_is_named_and_what_was_stored_stays(file: Path) -> None:
    filled(file).close()
    before = file.stat().st_size // 4096
    stored = 20
    refused = ""
    with _pages_at_most(before + 4), Store.open(str(file)) as store, store.lease("trec") as lease:
        while not refused:
            try:
                given.finished(store, lease, stored + 1, given.evaluated(0.5, 5.0))
                stored += 1
            except StoreError as error:
                refused = str(error)
    assert "disk is full; what was stored before is intact: free some space, then resume" in refused
    with Store.open(str(file)) as store, store.lease("trec") as lease:
        assert store.counts("trec").evaluated == stored
        assert store.check("trec") == []
        given.finished(store, lease, 1000, given.evaluated(0.5, 5.0))


def test_a_file_that_is_no_database_is_left_alone(file: Path) -> None:
    file.write_bytes(random.Random(0).randbytes(8192))
    before = file.read_bytes()
    with pytest.raises(StoreError, match=r"not a database.*left as it is.*backup"):
        Store.open(str(file))
    assert file.read_bytes() == before


def _read_everything(file: Path) -> None:
    with Store.open(str(file)) as store:
        store.studies()
        store.records("trec")


@pytest.mark.parametrize("damage", ["overwritten", "cut short"])
def test_a_damaged_file_is_named_and_left_alone(file: Path, damage: str) -> None:
    filled(file, 60).close()
    content = bytearray(file.read_bytes())
    if damage == "cut short":
        del content[len(content) // 2 :]
    else:
        content[4096:] = random.Random(0).randbytes(len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(StoreError, match="damaged; it was left as it is: restore a backup"):
        _read_everything(file)
    assert file.read_bytes() == content


def test_damage_that_no_reader_meets_is_found_by_the_check(file: Path) -> None:
    filled(file).close()
    with closing(sqlite3.connect(file)) as other:
        other.execute("PRAGMA writable_schema = ON")
        other.execute("DELETE FROM sqlite_master WHERE name = 'ix_candidates_study_id_state'")
        other.commit()
    with Store.open(str(file)) as store:
        assert len(store.records("trec")) == 20
        assert all(line.startswith("database file: ") for line in store.check("trec"))
        assert store.check("trec") != []


def test_somebody_elses_database_is_left_alone(file: Path) -> None:
    with closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE recipes (id INTEGER)")
    before = file.read_bytes()
    with pytest.raises(SchemaError, match=r"not one of autocompress.*recipes"):
        Store.open(str(file))
    assert file.read_bytes() == before


def test_a_read_only_folder_is_named() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = Path(name)
        filled(folder / "studies.db").close()
        (folder / "studies.db").chmod(0o444)
        folder.chmod(0o555)
        with _as_somebody_else():
            with pytest.raises(StoreError, match=r"new\.db: .*Permission denied.*--storage"):
                Store.open(str(folder / "new.db"))
            with Store.open(str(folder / "studies.db")) as store:
                assert len(store.records("trec")) == 20
                with pytest.raises(StoreError, match="read-only; make the file and its folder writable"):
                    given.study(store, "second")
        folder.chmod(0o755)


def test_a_folder_or_a_missing_one_is_named(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="a folder, not a study database"):
        Store.open(str(tmp_path))
    with pytest.raises(StoreError, match=r"No such file or directory.*check that its folder exists"):
        Store.open(str(tmp_path / "missing" / "studies.db"))


def test_a_database_that_is_not_there_is_not_made_by_reading(file: Path) -> None:
    with pytest.raises(NotFoundError, match=r"no study database at .*studies\.db; start one with `autocompress run"):
        Store.open(str(file), create=False)
    assert not file.exists()
    file.touch()
    with pytest.raises(NotFoundError, match="start one with"):
        Store.open(str(file), create=False)
    assert file.stat().st_size == 0
