from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from autocompress.store import Store

from . import given


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Store]:
    """A database without a study."""
    with Store.open(str(tmp_path / "studies.db")) as store:
        yield store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A database with one finished study, `quickstart`."""
    given.write_finished(tmp_path / "studies.db")
    with Store.open(str(tmp_path / "studies.db")) as store:
        yield store
