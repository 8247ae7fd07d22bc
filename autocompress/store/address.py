"""Where a study database lives: file paths and URLs, as users write them, and as they may be shown."""

from __future__ import annotations

import functools
import os
import re
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_plus

from sqlalchemy import URL, make_url

from autocompress.core.paths import DEFAULT_STORAGE, STORAGE_VARIABLE, expanded
from autocompress.core.secrets import MASK, secrets_in, shows_part
from autocompress.errors import HostError, SpecError, StoreError, did_you_mean

ARTIFACTS_VARIABLE = "AUTOCOMPRESS_ARTIFACTS"

_DRIVERS = {
    "sqlite": "sqlite+pysqlite",
    "sqlite+pysqlite": "sqlite+pysqlite",
    "postgres": "postgresql+psycopg",
    "postgresql": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
}
_ENCODE: Final = (
    "write a file path, sqlite:///FILE or postgresql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters in "
    "the password percent-encoded (@ is %40, / is %2F, : is %3A, # is %23, % is %25, a space is %20)"
)
_SERVER: Final = re.compile(
    r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:/?#@\[\]]*))(?::(?P<port>\d{1,5})?)?"
    r"(?:/(?P<database>[^/?#@]*))?(?:\?(?P<query>[^#]*))?"
)
"""What may follow the `@` of a URL; nothing in it is taken for what it may not be."""
_SHOWN: Final = frozenset(
    {"host", "hostaddr", "port", "dbname", "user", "service", "sslmode", "connect_timeout", "application_name",
     "target_session_attrs", "timeout"}
)  # fmt: skip
_ADAPTERS: Final = frozenset({"prepare_threshold"})
_LONGEST_PATH, _LONGEST_NAME = 4_095, 255


def parse_address(text: str | None) -> URL:
    """The database meant by a path, a URL, $AUTOCOMPRESS_STORAGE or, with none of them, ./autocompress.db.

    Raises SpecError for what is no URL, or may be read in two ways, and HostError for a kind of database that cannot be
    used here. Neither shows any of a text that may hold a password.
    """
    text = text or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    kind, _, rest = text.strip().partition("://")
    if not _ or any(character in kind for character in ":/@ "):
        return _file(text)
    if kind not in _DRIVERS:
        named = kind if re.fullmatch(r"[A-Za-z][\w+.-]{0,31}", kind) and not shows_part(kind, secrets_in(text)) else ""
        if not named:
            raise SpecError(f"storage: the database URL cannot be read; {_ENCODE}")
        near = did_you_mean(named, ("sqlite", "postgresql"))
        raise HostError(f"storage: {named!r} is not a database autocompress can use; {near}")
    if _DRIVERS[kind].startswith("sqlite"):
        return _sqlite_url(rest)
    _require_psycopg()
    return _server_url(rest)


def _file(text: str) -> URL:
    """A path. One that looks like a URL with a slash too few, or like a list of `password=...`, is not shown."""
    if re.match(r"\s*(postgres\w*|mysql\w*)[+\w]*:", text, re.IGNORECASE) or secrets_in(text) or "://" in text:
        raise SpecError(f"storage: the database URL cannot be read; {_ENCODE}")
    _refuse_no_path(text)
    return URL.create("sqlite+pysqlite", database=str(expanded(text)))


def _sqlite_url(rest: str) -> URL:
    if rest and not rest.startswith(("/", "?")):
        raise SpecError(f"storage: a SQLite URL has three slashes before its file; {_ENCODE}")
    url = make_url(f"sqlite+pysqlite://{rest}")
    _refuse_memory(url)
    return url


def _server_url(rest: str) -> URL:
    """The one way to read it. Raises SpecError where there is none, or another."""
    readings = [found for place in _ends_of_user(rest) if (found := _reading(rest, place)) is not None]
    if len(readings) != 1:
        how = "can be read in two ways" if readings else "cannot be read"
        raise SpecError(f"storage: the database URL {how}; {_ENCODE}")
    return readings[0]


def _ends_of_user(rest: str) -> list[int]:
    return [-1, *(place for place, character in enumerate(rest) if character == "@")]


def _reading(rest: str, place: int) -> URL | None:
    """The URL when what stands before the `@` at that place is the user and the password; None when it is no URL."""
    user, colon, password = rest[: max(place, 0)].partition(":")
    server = _SERVER.fullmatch(rest[place + 1 :])
    if server is None or re.search(r"[/?#@\s]", user):
        return None
    query = _query(server["query"] or "")
    if query is None or ("password" in query and colon):
        return None
    try:
        return URL.create(
            "postgresql+psycopg",
            username=unquote(user) if place >= 0 else None,
            # psycopg takes it from either place, but only this one is masked
            password=unquote(password) if colon else query.pop("password", None),  # type: ignore[arg-type]
            host=server["ipv6"] or unquote(server["host"]) or None,
            port=int(server["port"]) if server["port"] else None,
            database=unquote(server["database"]) if server["database"] else None,
            query=query,
        )
    except ValueError:
        return None


def _query(text: str) -> dict[str, str | tuple[str, ...]] | None:
    """The options of a URL by their names; None when one is no option of PostgreSQL, or a secret is given twice."""
    found: dict[str, str | tuple[str, ...]] = {}
    known = _options()
    for part in filter(None, text.split("&")):
        name, equals, value = part.partition("=")
        if (
            not equals
            or name not in known.keys() | _ADAPTERS
            or (name in found and (known.get(name) or name != "host"))
        ):
            return None
        given = unquote_plus(value)
        before = found.get(name, ())
        found[name] = (*((before,) if isinstance(before, str) else before), given) if name in found else given
    return found


@functools.cache
def _options() -> dict[str, bool]:
    """Every option of PostgreSQL's own library, and whether it is a secret by what that library says."""
    from psycopg import pq

    return {one.keyword.decode(): one.dispchar == b"*" for one in pq.Conninfo.get_defaults()}


def url_secrets(url: URL) -> set[str]:
    """What of a URL nobody may see."""
    if is_sqlite(url):
        return set()
    secret = {name for name, is_secret in _options().items() if is_secret}
    values = (url.query[name] for name in secret & url.query.keys())
    found = {one for value in values for one in ((value,) if isinstance(value, str) else value)}
    return found | ({str(url.password)} if url.password else set())


def is_sqlite(url: URL) -> bool:
    return url.get_backend_name() == "sqlite"


def database_file(url: URL) -> Path:
    """The file of a SQLite URL."""
    if not url.database:
        raise StoreError("a SQLite URL names no file")
    return Path(url.database)


def shown(url: URL) -> str:
    """The URL without its secrets, without the driver nobody asked for, and with those options alone that tell where it
    is."""
    bare = url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)
    options = [
        f"{name}={one if name in _SHOWN else MASK}"
        for name, value in url.query.items()
        for one in ((value,) if isinstance(value, str) else value)
    ]
    return f"{bare}?{'&'.join(options)}" if options else bare


def artifact_folder(url: URL) -> Path:
    """Where the files of a database's studies lie: beside a SQLite file, else $AUTOCOMPRESS_ARTIFACTS."""
    if is_sqlite(url):
        file = database_file(url)
        return (file.with_name(f"{file.stem}-artifacts")).absolute()
    return (Path(os.environ.get(ARTIFACTS_VARIABLE) or "autocompress-artifacts")).absolute()


def _refuse_memory(url: URL) -> None:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise SpecError(f"storage: {shown(url)} is no file; a study must outlive its process, so name a file")
    _refuse_no_path(url.database)


def _refuse_no_path(text: str) -> None:
    longest = max(len(os.fsencode(part)) for part in text.split("/"))
    if "\0" in text or longest > _LONGEST_NAME or len(text) > _LONGEST_PATH:
        raise SpecError(
            f"storage: {text[:60]!r} is the beginning of what can be no file: a path holds no NUL, at most "
            f"{_LONGEST_PATH:,} bytes, and {_LONGEST_NAME} between two slashes"
        )


def _require_psycopg() -> None:
    try:
        import psycopg  # noqa: F401
    except ImportError as error:
        raise HostError(
            "storage: PostgreSQL needs the psycopg driver, which is not installed; "
            "install it with `pip install 'autocompress[postgres]'`"
        ) from error
