"""JSON: an object a line, or a list of objects, or an object of lists."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from autocompress.errors import SpecError
from autocompress.reading.layout import ABSENT, Layout, Table, check_columns


def read_json(layout: Layout, path: Path, content: str) -> Table:
    """A list of objects, an object of equally long lists, or one that holds a list of objects alone; or lines of
    objects under the wrong name. Raises SpecError."""
    try:
        tree = json.loads(content)
    except json.JSONDecodeError as error:
        if content.lstrip().startswith("{") and "\n" in content.strip():
            return read_json_lines(layout, path, content)
        raise SpecError(f"{path}:{error.lineno}: not JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:
        raise SpecError(f"{path}: not JSON that can be read: {_too_much(error)}") from error
    return table_of_tree(layout, str(path), tree)


def table_of_tree(layout: Layout, where: str, tree: Any) -> Table:
    """Rows of plain values, whatever way round they are. Raises SpecError."""
    if isinstance(tree, Mapping):
        lists = {str(key): value for key, value in tree.items() if isinstance(value, Sequence) and not _is_text(value)}
        holding = [value for value in lists.values() if value and isinstance(value[0], Mapping)]
        if lists and set(layout.wanted.values()) <= set(lists) and (layout.wanted or not holding):
            return _of_columns(layout, where, lists)
        if len(holding) == 1:
            return table_of_rows(layout, where, holding[0], range(1, len(holding[0]) + 1), "row")
        if all(name in tree for name in layout.wanted.values()):
            return table_of_rows(layout, where, [tree], [1], "row")
        check_columns(layout, where, map(str, tree))
    if not isinstance(tree, Sequence) or _is_text(tree):
        raise SpecError(f"{where}: not a list of objects")
    return table_of_rows(layout, where, tree, range(1, len(tree) + 1), "row")


def _of_columns(layout: Layout, where: str, lists: Mapping[str, Sequence[Any]]) -> Table:
    lengths = {name: len(lists[name]) for name in layout.wanted.values() or lists}
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{name!r} has {length}" for name, length in lengths.items())
        raise SpecError(f"{where}: columns must be equally long, but {told}")
    count = next(iter(lengths.values()))
    cells = {name: cells for name, cells in lists.items() if len(cells) == count}
    return Table(where, tuple(lists), cells, lambda: range(1, count + 1), "row")


def read_json_lines(layout: Layout, path: Path, content: str) -> Table:
    """Raises SpecError with the line that is no object, or has not the columns."""
    numbered = list(_objects(path, content))
    return table_of_rows(layout, str(path), [row for _, row in numbered], [number for number, _ in numbered], "line")


def _objects(path: Path, content: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(content.split("\n"), 1):  # JSON may hold what `splitlines` takes for ends of lines
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise SpecError(f"{path}:{number}: not a JSON object: {error.msg}") from error
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{path}:{number}: not a JSON object that can be read: {_too_much(error)}") from error
        if not isinstance(row, Mapping):
            hint = "; set `format: json` for a list of objects" if isinstance(row, list) else ""
            raise SpecError(f"{path}:{number}: not a JSON object: {line[:40]!r}{hint}")
        yield number, row


def _too_much(error: ValueError | RecursionError) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else "it holds a number of thousands of digits"


def table_of_rows(
    layout: Layout, where: str, rows: Sequence[Any], numbers: Sequence[int], unit: Literal["line", "row"]
) -> Table:
    """Objects, or (text, label) pairs. Raises SpecError with the first that is neither or lacks a column."""
    names = list(layout.wanted.values())
    if rows and not isinstance(rows[0], Mapping):
        unnamed = names or ["text", "label"]
        rows = [_paired(unnamed, where, row, number, unit) for row, number in zip(rows, numbers, strict=True)]
    columns: dict[str, None] = {}
    for row, number in zip(rows, numbers, strict=True):
        at = f"{where}:{number}" if unit == "line" else f"{where}: row {number}"
        if not isinstance(row, Mapping):
            raise SpecError(f"{at}: not an object of columns, got {str(row)[:40]!r}")
        if not all(name in row for name in names):
            check_columns(layout, at, map(str, row))
        columns.update(dict.fromkeys(map(str, row)))
    if not rows:
        columns = dict.fromkeys(names)
    cells = {name: [row.get(name, ABSENT) for row in rows] for name in columns}
    return Table(where, tuple(columns), cells, lambda: numbers, unit)


def _paired(names: Sequence[str], where: str, row: Any, number: int, unit: str) -> dict[str, Any]:
    if len(names) == 1 and _is_text(row):
        return {names[0]: row}
    if isinstance(row, Sequence) and not _is_text(row) and len(row) == len(names):
        return dict(zip(names, row, strict=True))
    raise SpecError(
        f"{where}: {unit} {number}: neither columns nor a pair of {' and '.join(names)}, got {str(row)[:40]!r}"
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, (str, bytes))
