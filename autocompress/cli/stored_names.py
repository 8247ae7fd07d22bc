"""Names of studies and candidates in the database, for the shell, which asks at every key.

A SQLite file is read with Python's own library, as to load SQLAlchemy takes longer than the whole answer may; it is
opened for reading alone, so nothing is made, upgraded or mended. A server is asked through the store, which says the
same.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from autocompress.core.paths import DEFAULT_STORAGE, STORAGE_VARIABLE, expanded
from autocompress.errors import AutocompressError

_BUSY_SECONDS: Final = 0.2
"""The longest wait for a writer; nobody waits longer for an offer."""
_SQLITE: Final = "sqlite:///"
_CANDIDATES: Final = """
    SELECT CAST(number AS INTEGER), CAST(digest AS TEXT), policy = '[]', finalists.state
    FROM candidates JOIN studies ON studies.id = candidates.study_id
    LEFT JOIN finalists ON finalists.candidate_id = candidates.id
    WHERE studies.name = ?
"""


@dataclass(frozen=True, slots=True)
class Named:
    """A candidate; `state` is that of a finalist, else None."""

    number: int
    digest: str
    is_baseline: bool
    state: str | None

    @property
    def told(self) -> str:
        """What it is, in a word or two."""
        return "baseline" if self.is_baseline else self.state or "of the search"


def studies(storage: str | None) -> list[str]:
    """Every study, the oldest first; none where there is no database, or it cannot be read."""
    if (file := _sqlite_file(storage)) is not None:
        return [str(name) for (name,) in _rows(file, "SELECT name FROM studies ORDER BY id")]
    from autocompress.store import Store

    try:
        with Store.open(storage, create=False) as store:
            return [study.name for study in store.studies()]
    except AutocompressError:
        return []


def candidates(storage: str | None, study: str) -> list[Named]:
    """Every candidate of a study, the verified finalists first; none where there is no such study."""
    found = _candidates(storage, study)
    return sorted(found, key=lambda one: (one.state != "verified", one.number))


def _candidates(storage: str | None, study: str) -> list[Named]:
    if (file := _sqlite_file(storage)) is not None:
        rows = _rows(file, _CANDIDATES, study)
        return [Named(number, digest, bool(baseline), state) for number, digest, baseline, state in rows]
    from autocompress.store import Store

    try:
        with Store.open(storage, create=False) as store:
            states = {one.candidate.number: one.state for one in store.finalists(study)}
            records = [one.candidate for one in store.records(study)]
    except AutocompressError:
        return []
    return [Named(one.number, one.digest, one.policy.is_baseline, states.get(one.number)) for one in records]


def _sqlite_file(storage: str | None) -> Path | None:
    """The file that is meant; None where it is a server, or a URL that only the store can read."""
    text = storage or os.environ.get(STORAGE_VARIABLE) or DEFAULT_STORAGE
    if text.startswith(_SQLITE) and not set("?#") & set(text):
        return Path(text.removeprefix(_SQLITE))
    try:
        return None if "://" in text else expanded(text)
    except AutocompressError:
        return None


def _rows(file: Path, query: str, *values: str) -> list[Any]:
    place = f"file:{quote(os.fsencode(file.absolute()))}?mode=ro"
    try:
        with closing(sqlite3.connect(place, uri=True, timeout=_BUSY_SECONDS)) as connection:
            return connection.execute(query, values).fetchall()
    except (sqlite3.Error, UnicodeError, OSError):
        return []
