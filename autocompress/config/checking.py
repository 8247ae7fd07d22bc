"""`autocompress check`: every mistake in a file whose kind is told from its keys."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from autocompress.config.devices import device_of
from autocompress.config.document import Document, read_document
from autocompress.config.problems import Problems
from autocompress.config.spaces import space_of
from autocompress.config.studies import study_of
from autocompress.core.device import DeviceProfile
from autocompress.core.names import Kind
from autocompress.core.ports import Operator
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.errors import SpecError

_COMMON = {"name", "version", "description"}
_KEYS: dict[Kind, set[str]] = {
    "study": {field.name for field in dataclasses.fields(StudySpec)} - _COMMON,
    "space": {field.name for field in dataclasses.fields(SearchSpace)} - _COMMON,
    "device": {field.name for field in dataclasses.fields(DeviceProfile)} - _COMMON,
}


def check_file(path: Path, *, operators: Mapping[str, Operator]) -> list[str]:
    """Every problem of a study, space or device profile; empty when it is fine. Raises NotFoundError."""
    try:
        document = read_document(path)
    except SpecError as error:
        return list(error.problems)
    problems = Problems(document)
    try:
        kind = kind_of(document)
    except SpecError as error:  # what is wrong with the text itself may be why
        return [*problems.lines(), *error.problems]
    match kind:
        case "study":
            study_of(document, problems, base=path.parent, operators=operators)
        case "space":
            space_of(document, problems, operators=operators)
        case "device":
            device_of(document, problems)
    return problems.lines()


def is_study(path: Path) -> bool:
    """Whether a file that is in order is a study."""
    return kind_of(read_document(path)) == "study"


def kind_of(document: Document) -> Kind:
    """What a document's keys make it. Raises SpecError when they fit nothing."""
    counts = {kind: len(keys & set(document.value)) for kind, keys in _KEYS.items()}
    best = max(counts, key=lambda kind: counts[kind])
    if not counts[best]:
        told = "; ".join(f"a {kind} by {', '.join(sorted(keys)[:4])}" for kind, keys in _KEYS.items())
        raise SpecError(f"{document.source}: cannot tell what this file is: known are {told}")
    return best
