"""A real database for every test: a SQLite file, and a PostgreSQL server of our own."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sqlalchemy

from autocompress.store import Lease, Store

from . import given

PASSWORD = "s3cret/of:the@test"
_ESCAPED = "s3cret%2Fof%3Athe%40test"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL server in a folder, reached through a socket in it."""

    folder: Path
    user: str | None

    def run(self, *command: str) -> None:
        # PostgreSQL refuses to run as root.
        prefix = ["runuser", "-u", self.user, "--"] if self.user else []
        done = subprocess.run(
            [*prefix, *command], cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, timeout=60
        )
        assert done.returncode == 0, done.stderr.decode()

    def start(self) -> None:
        options = f"-F -k {self.folder} -c listen_addresses='' -c shared_buffers=16MB -c max_connections=40"
        self._control("-l", str(self.folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        self._control("-m", "immediate", "stop")

    def _control(self, *command: str) -> None:
        self.run("pg_ctl", "-D", str(self.folder / "data"), "-w", *command)

    def address(self, database: str) -> str:
        return f"postgresql://autocompress:{_ESCAPED}@/{database}?host={self.folder}"

    def create(self, database: str) -> str:
        with psycopg.connect(
            host=str(self.folder), user="autocompress", password=PASSWORD, dbname="postgres", autocommit=True
        ) as connection:
            connection.execute(f"CREATE DATABASE {database}")
        return self.address(database)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    if not (shutil.which("initdb") and shutil.which("pg_ctl")):
        pytest.skip("PostgreSQL's initdb and pg_ctl are not on the PATH")
    folder = Path(tempfile.mkdtemp(prefix="autocompress-pg-", dir="/tmp"))  # a socket's path has at most 107 bytes
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
    password = folder / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    server = Server(folder, user)
    try:
        server.run(
            "initdb", "-D", str(folder / "data"), "-U", "autocompress", "-A", "scram-sha-256",
            f"--pwfile={password}", "--no-sync", "-E", "UTF8",
        )  # fmt: skip
        server.start()
        yield server
        server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


_numbers = itertools.count()


@pytest.fixture(params=["sqlite", "postgresql"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'studies.db'}"
    server: Server = request.getfixturevalue("server")
    return server.create(f"test_{next(_numbers)}")


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
