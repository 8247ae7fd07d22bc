"""Databases that are none, or not ours, or cannot be reached."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from tests.broken.given import a_folder, written
from tests.broken.table import Broken, nothing

DB = "autocompress.db"


def sql(*statements: str) -> object:
    """Statements that somebody ran on the database by hand."""

    def build(folder: Path) -> None:
        with closing(sqlite3.connect(folder / DB)) as connection:
            for statement in statements:
                connection.execute(statement)
            connection.commit()

    return build


def _cut(folder: Path) -> None:
    path = folder / DB
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _scribbled(folder: Path) -> None:
    content = bytearray((folder / DB).read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    (folder / DB).write_bytes(bytes(content))


def _read(title: str, build: object, *says: str, code: int = 5, command: str = "list", given: str = "stored") -> Broken:
    return Broken(title, build, command, code, (DB, *says), given=given)  # type: ignore[arg-type]


def _url(title: str, url: str, code: int, *says: str, command: str = "list") -> Broken:
    return Broken(title, nothing, f"{command} --storage {url}", code, says, given="nothing")


def _made(title: str, place: str, *says: str) -> Broken:
    return Broken(title, nothing, f"run mine.yaml --workers 0 --storage {place}", 5, says)


ROWS = (
    _read(
        "text in the place of a database",
        written(DB, "not a database at all, but some text\n" * 40),
        "is not a database",
    ),
    _read("a database cut in half", _cut, "damaged", command="pareto quickstart"),
    _read("a database scribbled over", _scribbled, "damaged", command="pareto quickstart"),
    _read("a folder in the place of a database", a_folder(DB), "a folder, not a study database"),
    _read("an empty file", written(DB, ""), "there is no study database", code=3),
    _read("somebody else's tables", sql("DROP TABLE autocompress_version"), "not one of autocompress"),
    _read(
        "a newer schema", sql("UPDATE autocompress_version SET version_num = '9999'"), "written by a newer autocompress"
    ),
    _read("no version", sql("DELETE FROM autocompress_version"), "autocompress db upgrade"),
    _read(
        "a newer schema, upgraded",
        sql("UPDATE autocompress_version SET version_num = '9999'"),
        "newer",
        command="db upgrade",
    ),
    _read("no database", nothing, "there is no study database", "--storage", code=3, given="nothing"),
    _read(
        "no database to upgrade", nothing, "there is no study database", code=3, command="db upgrade", given="nothing"
    ),
    _read(
        "no database to remove from",
        nothing,
        "there is no study database",
        code=3,
        command="rm x --yes",
        given="nothing",
    ),
    _read(
        "no database to go on with", nothing, "there is no study database", code=3, command="resume x", given="nothing"
    ),
    _read(
        "a study edited by hand",
        sql('UPDATE studies SET resolved = \'{"constraints": {"size_mb": "\\u001b[31m60"}}\''),
        "quickstart",
        command="pareto quickstart",
        code=5,
    ),
    _read(
        "a study that is no JSON",
        sql("UPDATE studies SET resolved = '{nope'"),
        "holds what autocompress did not write",
        command="pareto quickstart",
    ),
    _read(
        "a study that is a list", sql("UPDATE studies SET resolved = '[]'"), "quickstart", command="pareto quickstart"
    ),
    _read("a policy that is no JSON", sql("UPDATE candidates SET policy = '{nope'"), command="pareto quickstart"),
    _read("a policy of other steps", sql("UPDATE candidates SET policy = '[{\"x\": 1}]'"), command="trials quickstart"),
    _read("a moment that is none", sql("UPDATE studies SET created_at = 'yesterday'"), command="list"),
    _read(
        "a folder that is not there", nothing, code=3, command="list --storage nowhere/autocompress.db", given="nothing"
    ),
    _url(
        "a dialect nobody has",
        "mysql://me@here/studies",
        4,
        "'mysql' is not a database autocompress can use",
        "postgresql",
    ),
    _url("a dialect misspelt", "postgre://me@here/studies", 4, "did you mean 'postgresql'"),
    _url("a driver nobody has", "postgresql+asyncpg://me@here/studies", 4, "postgresql"),
    _url(
        "a server that is not there", "postgres://me:Tr0ub4dor@127.0.0.1:9/studies", 5, "the server cannot be reached"
    ),
    _url("a port that is none", "postgresql://me:Tr0ub4dor@127.0.0.1:port/studies", 2, "percent-encoded"),
    _url(
        "a port beyond all", "postgresql://me:Tr0ub4dor@127.0.0.1:999999/studies", 2, "the database URL cannot be read"
    ),
    _url("a URL without a host", "://x", 2, "the database URL cannot be read"),
    _url("a web page", "https://example.org/studies.db", 4, "'https' is not a database"),
    _url("memory alone", "sqlite://", 2, "is no file"),
    _url("memory by name", "sqlite:///:memory:", 2, "is no file"),
    _url(
        "an option nobody has", "postgresql://me@127.0.0.1:9/studies?colour=red", 2, "the database URL cannot be read"
    ),
    _url("a timeout in words", "sqlite:///x.db?timeout=long", 3, "there is no study database"),
    _url("a nul in a path", "sqlite:///x%00y.db", 2, "storage", "holds no NUL"),
    _url("a database in a file", "/etc/hostname/x.db", 3, "/etc/hostname/x.db"),
    _url("a device", "/dev/null", 3, "/dev/null"),
    _url("a path of 5,000 letters", "a/" * 2500, 2, "storage", "at most 4,095 bytes"),
    _url("a name of 300 letters", "x" * 300, 2, "storage", "255 between two slashes"),
    _made("a folder that is not there, to be made", "nowhere/x.db", "nowhere/x.db", "--storage"),
    _made("a file for a folder, to be made", "/etc/hostname/x.db", "/etc/hostname/x.db", "--storage"),
    _made("a place without room", "/proc/x.db", "/proc/x.db", "--storage"),
    _made("a device to be made", "/dev/full", "/dev/full"),
    _made("a folder to be made", ".", "a folder, not a study database"),
)
