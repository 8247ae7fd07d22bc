"""Searches over a user's own evaluation: their spaces, and the JSON they are stored as."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.config.document import Document, read_document
from autocompress.config.problems import Problems
from autocompress.config.spaces import STAND_IN as SPACE_STAND_IN
from autocompress.config.spaces import space_of
from autocompress.config.steps import Ruled
from autocompress.config.validation import adapter, validated
from autocompress.core.names import locate
from autocompress.core.own_spec import OwnSpec
from autocompress.core.space import SearchSpace
from autocompress.errors import SpecError

_STAND_IN: dict[str, Any] = {
    "name": "x",
    "space": SPACE_STAND_IN,
    "objectives": {"x": "minimize"},
    "budget": {"trials": 1},
    "evaluate": "x",
}


def own_space(
    space: SearchSpace | Mapping[str, Any] | str | Path,
    *,
    operators: Mapping[str, Ruled],
    defaults: Mapping[str, Any],
) -> SearchSpace:
    """A space from a file, its name or a mapping, which need not be called anything. Without `operators` its steps may
    be called as one likes, and have any settings. Raises NotFoundError, or SpecError with every mistake."""
    if isinstance(space, SearchSpace):
        return space
    if isinstance(space, Mapping):
        document = Document("space", {**defaults, **copy.deepcopy(dict(space))})
    else:
        document = read_document(locate("space", space))
    problems = Problems(document)
    found = space_of(document, problems, operators=operators or None)
    problems.raise_any()
    assert found is not None, "no value and no problem"
    return found


def own_spec_of(tree: Mapping[str, Any]) -> OwnSpec:
    """Raises SpecError with everything that is wrong."""
    problems = Problems(Document("search", dict(tree)))
    try:
        found = validated(OwnSpec, dict(tree), problems, stand_in=_STAND_IN)
    except TypeError as error:
        raise SpecError(f"search: holds what JSON cannot: {error}") from error
    problems.raise_any()
    assert found is not None, "no value and no problem"
    return found


def own_spec_to_json(spec: OwnSpec) -> dict[str, Any]:
    """Plain data that `own_spec_of` reads back as an equal spec. That there is no limit of memory is stored as before
    there was such a key."""
    tree: dict[str, Any] = adapter(OwnSpec).dump_python(spec, mode="json")
    if spec.budget.memory_gb is None:
        del tree["budget"]["memory_gb"]
    return tree
