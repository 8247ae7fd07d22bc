from __future__ import annotations

from collections.abc import Iterator

import pytest

from autocompress.store import Store

from . import given


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A finished study of two models, read by the tests of a file and never written to."""
    with given.write_pair(tmp_path_factory.mktemp("pair")) as store:
        yield store
