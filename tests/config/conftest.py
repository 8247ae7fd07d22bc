"""The real operators: they import no torch, so reading YAML can be tested against them in milliseconds."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from autocompress.core.ports import Operator
from autocompress.operators import OPERATORS


@pytest.fixture(scope="session")
def operators() -> Mapping[str, Operator]:
    return OPERATORS
