"""Cells as texts and labels; what is neither is refused by its rows."""

from __future__ import annotations

import ast
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence, Set
from numbers import Integral, Real
from typing import Any, Final

from autocompress.core.data_spec import DataSpec
from autocompress.errors import SpecError
from autocompress.reading.layout import ABSENT, Table

_NUMBER: Final = re.compile(r"[+-]?\d+(\.\d+)?")
_WHOLE: Final = re.compile(r"[+-]?\d+(\.0+)?")
_ARRAY: Final = re.compile(r"\[[\d\s.,+-]*\]")
_BROKEN: Final = "hold half of a surrogate pair, which is no character; write these texts as UTF-8 again"
_NOT_A_NUMBER: Final = {"nan", "<na>", "nat"}


def texts_of(table: Table, column: str, *, may_lack: bool = False) -> list[str]:
    """The texts of a column without spaces around them; the empty ones are "" where they `may_lack`.

    Raises SpecError with the rows that hold something else, or nothing.
    """
    cells = table.cells[column]
    refuse(table, cells, is_nested, f"hold a list or another structure in {column!r} where a text is wanted; join it")
    texts = ["" if is_missing(cell) else str(plain(cell)).strip() for cell in cells]
    refuse(table, texts, is_broken, _BROKEN)
    if not may_lack:
        refuse(
            table,
            texts,
            _is_empty,
            "have no text; remove or fill them",
            one="has no text; remove or fill it",
        )
    return texts


def labels_of(table: Table, column: str) -> list[str]:
    """The labels of a column as they are written, without spaces around them. Raises SpecError with the rows that have
    none, several, or something else."""
    cells = table.cells[column]
    refuse(
        table,
        cells,
        lambda cell: is_nested(cell) or (isinstance(cell, str) and _is_written_list(cell.strip())),
        f"hold a list or another structure in {column!r}; a text has one label: one of several tasks, or of several "
        "labels a text, is not what this is for",
    )
    labels = ["" if is_missing(cell) else str(plain(cell)).strip() for cell in cells]
    refuse(table, labels, is_broken, _BROKEN)
    labels = ["" if label.casefold() in _NOT_A_NUMBER else label for label in labels]
    refuse(
        table,
        labels,
        _is_empty,
        "have no label; remove them, or fill them in",
        one="has no label; remove it, or fill it in",
    )
    return labels


def amounts_of(table: Table, column: str) -> list[float]:
    """The amounts of a column. Raises SpecError with the rows that hold something else, or nothing."""
    cells = table.cells[column]
    refuse(
        table,
        cells,
        _is_no_amount,
        f"hold no number in {column!r}, where the task wants an amount; remove or mend them",
    )
    return [float(plain(cell)) for cell in cells]


def _is_no_amount(cell: Any) -> bool:
    if isinstance(cell, bool) or is_missing(cell) or is_nested(cell):
        return True
    try:
        return not math.isfinite(float(plain(cell)))
    except (TypeError, ValueError):
        return True


def classes_of(table: Table, column: str) -> list[tuple[str, ...]]:
    """The classes of each row of a column of lists: JSON's, or those of csv as Python or JSON writes them; `[]` is a
    row of no class. Raises SpecError with the rows that hold something else."""
    cells = [_list_in(cell) for cell in table.cells[column]]
    refuse(
        table,
        cells,
        lambda cell: cell is None,
        f'hold no list of labels in {column!r}; write each as a list, such as ["a", "b"], and none as []',
    )
    found = [tuple(dict.fromkeys(str(plain(one)).strip() for one in cell or ())) for cell in cells]
    refuse(table, found, lambda labels: any(_is_empty(one) or is_broken(one) for one in labels), "hold an empty label")
    return found


def _list_in(cell: Any) -> list[Any] | None:
    """None where there is no flat list."""
    if isinstance(cell, str) and cell.strip().startswith("["):
        try:
            cell = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if isinstance(cell, (str, Mapping)) or not is_nested(cell):
        return None
    items = cell.tolist() if hasattr(cell, "tolist") else list(cell)
    return None if any(is_nested(one) or is_missing(one) for one in items) else items


def with_threshold(spec: DataSpec, table: Table, labels: Sequence[str]) -> list[str]:
    """Raises SpecError with the first label that is no number."""
    if spec.threshold is None:
        return list(labels)
    found = []
    for row, label in enumerate(labels):
        try:
            found.append("above" if float(label) > spec.threshold else "at or below")
        except ValueError:
            raise SpecError(f"{table.at(row)}: `threshold` needs a number in {spec.label!r}, got {label!r}") from None
    return found


def whole_numbers(labels: Sequence[str]) -> dict[str, str]:
    """How labels that are all whole numbers are written, where some are written as fractions: 1.0 is 1. A column of
    numbers of which one was missing is turned into fractions by pandas."""
    distinct = set(labels)
    if not all(_WHOLE.fullmatch(label) for label in distinct):
        return {}
    return {label: label.split(".")[0] for label in distinct if "." in label}


def ordered(labels: Sequence[str]) -> list[str]:
    """Distinct labels in the order of their numbers, if all are numbers, else of their names."""
    distinct = sorted(set(labels))
    if all(_NUMBER.fullmatch(label) for label in distinct):
        return sorted(distinct, key=float)
    return distinct


def alike(labels: Sequence[str]) -> list[list[str]]:
    """Labels that differ in nothing but case, spaces or the way that an accent is stored; the commonest first."""
    counts, groups = Counter(labels), dict[str, list[str]]()
    for label, _ in counts.most_common():
        groups.setdefault(" ".join(unicodedata.normalize("NFKC", label).casefold().split()), []).append(label)
    return [group for group in groups.values() if len(group) > 1]


def plain(cell: Any) -> Any:
    """Numbers of numpy and pandas as Python's."""
    if isinstance(cell, bool) or type(cell).__name__ == "bool":
        return bool(cell)
    if isinstance(cell, Integral):
        return int(cell)
    return float(cell) if isinstance(cell, Real) and type(cell).__module__ == "numpy" else cell


def is_missing(cell: Any) -> bool:
    return cell is None or cell is ABSENT or type(cell).__name__ in ("NAType", "NaTType") or bool(cell != cell)


def _is_empty(text: str) -> bool:
    return not text


def is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def is_nested(cell: Any) -> bool:
    if isinstance(cell, str):
        return False
    is_array = getattr(cell, "ndim", 0) > 0
    return is_array or isinstance(cell, (Sequence, Mapping, Set, bytearray))


def _is_written_list(text: str) -> bool:
    if not text.startswith(("[", "{", "(")):
        return False
    if _ARRAY.fullmatch(text):
        return True
    try:
        return isinstance(ast.literal_eval(text), (list, dict, tuple, set))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return False


def refuse(
    table: Table, cells: Sequence[Any], is_wrong: Callable[[Any], bool], what: str, *, one: str | None = None
) -> None:
    rows = [row for row, cell in enumerate(cells) if is_wrong(cell)]
    if not rows:
        return
    count, said = ("1 row", one or what.replace("hold", "holds", 1)) if len(rows) == 1 else (f"{len(rows)} rows", what)
    head, *tail = said.split(";", 1)
    raise SpecError(f"{table.where}: {count} {head} ({table.told(rows)}){';' + tail[0] if tail else ''}")
