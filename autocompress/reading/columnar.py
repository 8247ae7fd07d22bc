"""Parquet and arrow files, and what the `datasets` library saves. A class label there is a number with a name beside
it, and the name is the label."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table, check_columns

if TYPE_CHECKING:
    import pyarrow

_FEATURES: Final = b"huggingface"


def read_parquet(layout: Layout, path: Path) -> Table:
    """Raises SpecError when it is no parquet file, or lacks columns."""
    import pyarrow
    from pyarrow import parquet

    try:
        file = parquet.ParquetFile(path)
        wanted = [*dict.fromkeys([*_readable(file.schema_arrow), *layout.wanted.values()])]
        check_columns(layout, str(path), file.schema_arrow.names)
        return table_of_arrow(layout, str(path), file.read(columns=wanted), names=file.schema_arrow.names)
    except (pyarrow.ArrowException, OSError) as error:
        raise SpecError(f"{path}: no parquet file, or not whole: {_first_line(error)}") from error


def read_arrow(layout: Layout, path: Path) -> Table:
    """A stream, as the `datasets` library writes it, or a file (feather). Raises SpecError when it is neither."""
    import pyarrow
    from pyarrow import ipc

    try:
        with pyarrow.memory_map(str(path)) as source:
            is_file = source.read(6) == b"ARROW1"
            source.seek(0)
            reader = ipc.open_file(source) if is_file else ipc.open_stream(source)
            table = reader.read_all()
    except (pyarrow.ArrowException, OSError) as error:
        raise SpecError(f"{path}: no arrow file, or not whole: {_first_line(error)}") from error
    return table_of_arrow(layout, str(path), table, features=_saved_features(path.parent / "dataset_info.json"))


def table_of_arrow(
    layout: Layout,
    where: str,
    table: pyarrow.Table,
    *,
    names: Iterable[str] | None = None,
    features: Mapping[str, Sequence[str]] | None = None,
) -> Table:
    """`names` are all columns there are, where not all were read; `features` the names of class labels, by column."""
    columns = tuple(names or table.column_names)
    check_columns(layout, where, columns)
    named = {**_schema_features(table.schema), **(features or {})}
    read = set(_readable(table.schema)) | set(layout.wanted.values())
    cells = {name: _cells(table.column(name), named.get(name)) for name in table.column_names if name in read}
    return Table(where, columns, cells, lambda: range(1, table.num_rows + 1), "row")


def _readable(schema: pyarrow.Schema) -> list[str]:
    """The columns that may hold a text or a label; images and embeddings, for instance, may not, and are large."""
    from pyarrow import types

    large = (types.is_nested, types.is_binary, types.is_large_binary, types.is_fixed_size_binary)
    small = [one.name for one in schema if not any(test(one.type) for test in large)]
    # lists among what is wanted are read, so that they are refused by their rows
    return small + [one.name for one in schema if types.is_list(one.type) and one.name not in small]


def _cells(column: Any, names: Sequence[str] | None) -> list[Any]:
    cells: list[Any] = column.to_pylist()
    if names is None:
        return cells
    return [_named(cell, names) for cell in cells]


def _named(cell: Any, names: Sequence[str]) -> Any:
    """The name of a class label's number, or of each of several. -1 is how the `datasets` library says that it is not
    known."""
    if isinstance(cell, list):
        return [_named(one, names) for one in cell]
    return None if cell is None or cell == -1 else names[cell] if 0 <= cell < len(names) else cell


def _schema_features(schema: pyarrow.Schema) -> dict[str, Sequence[str]]:
    known = (schema.metadata or {}).get(_FEATURES)
    if known is None:
        return {}
    try:
        return class_names(json.loads(known)["info"]["features"])
    except (ValueError, KeyError, TypeError):  # somebody else's, or of a time to come
        return {}


def _saved_features(info: Path) -> dict[str, Sequence[str]]:
    try:
        return class_names(json.loads(info.read_text(encoding="utf-8"))["features"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}


def class_names(features: Mapping[str, Any]) -> dict[str, Sequence[str]]:
    """The names of every column of class labels, or of lists of them, as the `datasets` library describes columns."""
    described = {name: _inner(one) for name, one in features.items() if isinstance(one, (Mapping, list))}
    return {
        name: [str(label) for label in one["names"]]
        for name, one in described.items()
        if one.get("_type") == "ClassLabel" and isinstance(one.get("names"), Sequence)
    }


def _inner(described: Any) -> Mapping[str, Any]:
    """Of a list, what it holds: written as a list by some versions of the library."""
    if isinstance(described, list):
        return _inner(described[0]) if described else {}
    held = described.get("feature")
    return _inner(held) if isinstance(held, (Mapping, list)) else described


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
