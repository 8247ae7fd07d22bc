"""A real database for every test: a SQLite file, and a PostgreSQL server of our own."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from autocompress.store import Lease, Store
from tests.postgres import PASSWORD, Server, is_installed, running_server

from . import given

__all__ = ["PASSWORD", "Server"]


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if not is_installed():
        pytest.skip("PostgreSQL's initdb and pg_ctl are not on the PATH")
    with running_server() as server:
        yield server


_numbers = itertools.count()
_emptied: list[str] = []
"""Databases of the server that earlier tests are done with: a new one is a thousand files, to be removed in the end."""


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty database."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'studies.db'}"
        return
    server: Server = request.getfixturevalue("server")
    address = _emptied.pop() if _emptied else server.create(f"test_{next(_numbers)}")
    yield address
    if server.empty(address):
        _emptied.append(address)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Where a SQLite database is to be made."""
    return tmp_path / "studies.db"


@pytest.fixture
def store(address: str) -> Iterator[Store]:
    """A database with one empty study, `trec`."""
    with Store.open(address) as store:
        given.study(store)
        yield store


@pytest.fixture
def lease(store: Store) -> Iterator[Lease]:
    with store.lease("trec") as lease:
        yield lease


@pytest.fixture
def sql(address: str) -> Iterator[Callable[[str], list[Any]]]:
    """Run SQL behind the store's back."""
    engine = sqlalchemy.create_engine(address)

    def run(statement: str) -> list[Any]:
        with engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement))
            return list(result.all()) if result.returns_rows else []

    yield run
    engine.dispose()
