"""A PostgreSQL server of our own, in a folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

PASSWORD = "s3cret/of:the@test"
_ESCAPED = "s3cret%2Fof%3Athe%40test"
_LOOKS = 30
_OTHERS = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"


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

    def empty(self, address: str) -> bool:
        """Takes everything out of a database. False where that cannot be, as somebody is still connected to it."""
        with contextlib.suppress(psycopg.Error), psycopg.connect(address, autocommit=True) as connection:
            for _ in range(_LOOKS):  # a session ends a moment after its connection
                if connection.execute(_OTHERS).fetchone() == (0,):
                    connection.execute("DROP SCHEMA public CASCADE")
                    connection.execute("CREATE SCHEMA public")
                    return True
                time.sleep(0.01)
        return False


def is_installed() -> bool:
    return bool(shutil.which("initdb") and shutil.which("pg_ctl"))


@contextmanager
def running_server() -> Iterator[Server]:
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
