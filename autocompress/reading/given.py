"""Texts that a Python program holds: a DataFrame, a data set of the `datasets` library, an arrow table, plain rows."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from autocompress.core.data_spec import SPLITS, Asset, DataSpec, PartSpec
from autocompress.core.task_kinds import Modality, Targets
from autocompress.errors import SpecError, did_you_mean
from autocompress.reading.columnar import table_of_arrow
from autocompress.reading.folders import is_picture, is_recording, split_named
from autocompress.reading.json_rows import table_of_tree
from autocompress.reading.labelled import ALL, inputs_of, targets_of
from autocompress.reading.layout import Layout, Table, check_columns
from autocompress.reading.media import media_of
from autocompress.reading.pairs import second_texts
from autocompress.reading.pictures import PICTURES
from autocompress.reading.recordings import RECORDINGS

ARRAY: Final = "array"
"""Under what a line tells the kind and sizes of an array that is no image."""
_LONGEST_PATH: Final = 1000
KINDS = (
    "a pandas DataFrame, a datasets.Dataset, an arrow table, a list of (text, label) pairs or of dicts, or a mapping "
    "of train, validation and test to these"
)


def rows_given(
    spec: DataSpec, data: object, targets: Targets = "class", modality: Modality = "text"
) -> dict[str, bytes]:
    """What `run(..., data=...)` was given as lines of JSON with `text`, `text_pair` if there is one, and `label`, by
    the split they are given for or under `all`; with an `image` or an `audio` in place of texts, whole, whatever it was
    given as. Columns are those that the study names.

    Raises SpecError with the rows that have no text or no label, and for what is no table of texts.
    """
    layout = Layout.of_labelled(spec, targets, modality)
    return {name: _lines(layout, _table(layout, where, part), targets) for name, (where, part) in _parts(data).items()}


def kept(spec: DataSpec, files: Mapping[str, str]) -> DataSpec:
    """The study's data once such rows are kept in `files`: how they were written no longer matters."""
    parts = {name: Asset(kept=file) for name, file in files.items()}
    splits: dict[str, Any] = {name: PartSpec(parts[name]) if name in parts else None for name in SPLITS}
    return replace(
        spec,
        source=parts.get(ALL),
        format="jsonl",
        text="text",
        text_pair=None if spec.text_pair is None else "text_pair",
        label="label",
        image="image",
        audio="audio",
        columns=(),
        pattern=None,
        encoding="utf-8",
        delimiter=None,
        quoted=None,
        ignore=(),
        **splits,
    )


def raw_lines(data: object) -> dict[str, bytes]:
    """The same rows as lines of JSON with all of their columns, whatever these are called, images and recordings whole:
    what a study is guessed from. Raises SpecError for what is no table, or an array of bytes that is no image."""
    found = {}
    for name, (where, part) in _parts(data).items():
        rows = [{str(key): _whole(cell) for key, cell in row.items()} for row in _raw(where, part)]
        found[name] = "".join(json.dumps(row, default=str) + "\n" for row in rows).encode()
    return found


def _raw(where: str, data: Any) -> list[Mapping[str, Any]]:
    if type(data).__module__.startswith("pandas") and hasattr(data, "columns"):
        return list(data.to_dict("records"))
    if hasattr(data, "features") and hasattr(data, "with_format"):
        named = {name: names for name, one in data.features.items() if (names := _class_names(one))}
        return [
            {key: _named(cell, named[key]) if key in named else cell for key, cell in row.items()}
            for row in data.with_format(None)
        ]
    if hasattr(data, "__arrow_c_stream__"):
        import pyarrow

        return list(pyarrow.table(data).to_pylist())
    if isinstance(data, Mapping):
        return [dict(zip(data, cells, strict=True)) for cells in zip(*data.values(), strict=True)]
    rows = list(data) if isinstance(data, Iterable) and not isinstance(data, str | bytes) else []
    if rows and all(isinstance(row, Mapping) for row in rows):
        return rows
    if rows and all(isinstance(row, Sequence) and not isinstance(row, str) and len(row) == 2 for row in rows):
        first = "text" if _content(rows[0][0]) is None else "image"
        return [dict(zip((first, "label"), row, strict=True)) for row in rows]
    raise SpecError(f"{where}: {type(data).__name__!r} is no table of texts; give {KINDS}")


def _named(cell: Any, names: Sequence[str]) -> Any:
    """Numbers of classes by their names; -1 is none."""
    if isinstance(cell, list):
        return [_named(one, names) for one in cell]
    return names[cell] if isinstance(cell, int) and 0 <= cell < len(names) else None


def _whole(cell: Any) -> Any:
    content = _content(cell)
    if content is not None:
        return {"base64": base64.b64encode(content).decode()}
    if getattr(cell, "ndim", 0) > 1:
        return {ARRAY: f"{cell.dtype} {list(cell.shape)}"}
    return _plain(cell)


def _content(cell: Any) -> bytes | None:
    """The bytes of a file, of an image or a recording that a cell holds or names; None of what is none."""
    if isinstance(cell, bytes | bytearray | memoryview):
        return bytes(cell)
    if isinstance(cell, str | Path):
        is_named = len(str(cell)) < _LONGEST_PATH and (is_picture(Path(cell)) or is_recording(Path(cell)))
        return Path(cell).read_bytes() if is_named and Path(cell).is_file() else None
    if isinstance(cell, Mapping):
        return bytes(cell["bytes"]) if cell.get("bytes") else RECORDINGS.encoded(cell)
    flat = getattr(cell, "ndim", 2) < 2 or str(getattr(cell, "dtype", "uint8")) != "uint8"
    return None if flat else PICTURES.encoded(cell)


def _plain(cell: Any) -> Any:
    """As JSON has it: numbers of numpy are numbers, what is not a number is nothing."""
    value = cell.tolist() if hasattr(cell, "tolist") else cell
    is_nothing = type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and math.isnan(value))
    return None if is_nothing else value


def _parts(data: object) -> dict[str, tuple[str, object]]:
    """By split: what messages call it, and what it is."""
    if not isinstance(data, Mapping) or not any(split_named(str(name)) for name in data):
        return {ALL: ("data", data)}
    found: dict[str, tuple[str, object]] = {}
    for name, part in data.items():
        split = split_named(str(name))
        if split is None or split in found:
            raise SpecError(
                f"data: {name!r} is no split, or one that is there already; {did_you_mean(str(name), SPLITS)}; give "
                "those that are meant: data={'train': ..., 'test': ...}"
            )
        found[split] = (f"data[{name!r}]", part)
    if "train" not in found:
        raise SpecError("data: names no texts to learn from; give `train` too")
    return found


def _table(layout: Layout, where: str, data: object) -> Table:
    kind = type(data)
    if kind.__name__.startswith("Iterable") and kind.__module__.startswith("datasets"):
        raise SpecError(f"{where}: is a stream of rows; load it whole, without `streaming`")
    if kind.__module__.startswith("pandas") and hasattr(data, "columns"):
        return _of_frame(layout, where, data)
    if hasattr(data, "features") and hasattr(data, "with_format"):
        named = {name: names for name, one in data.features.items() if (names := _class_names(one))}
        return table_of_arrow(layout, where, data.with_format("arrow")[:], features=named)
    if hasattr(data, "__arrow_c_stream__"):  # polars, duckdb, pyarrow itself
        import pyarrow

        return table_of_arrow(layout, where, pyarrow.table(data))
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, Mapping, Sequence)):
        data = data.tolist() if hasattr(data, "tolist") else list(data)
    if not isinstance(data, (Mapping, Sequence)) or isinstance(data, (str, bytes)):
        raise SpecError(f"{where}: {kind.__name__!r} is no table of texts; give {KINDS}")
    if isinstance(data, Mapping):
        data = {name: list(cells) if isinstance(cells, Iterable) else cells for name, cells in data.items()}
    return table_of_tree(layout, where, data)


def _class_names(feature: Any) -> list[str]:
    """Of a feature of the `datasets` library that is a class label, or a list of such."""
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", feature)
    return list(getattr(inner, "names", ()))


def _of_frame(layout: Layout, where: str, frame: Any) -> Table:
    columns = [str(name) for name in frame.columns]
    check_columns(layout, where, columns)
    cells = {name: frame.iloc[:, place].tolist() for place, name in enumerate(columns)}
    return Table(where, tuple(columns), cells, lambda: range(1, len(frame) + 1), "row")


def _lines(layout: Layout, table: Table, targets: Targets) -> bytes:
    if layout.modality != "text":
        return _file_lines(layout, table, targets)
    if not layout.tagged:
        second_texts(layout, table)
    inputs, lines = inputs_of(table, layout), []
    for given, label in zip(inputs, targets_of(table, inputs, layout, targets), strict=True):
        is_pair = "text_pair" in layout.wanted
        texts = dict(zip(("text", "text_pair"), given, strict=True)) if is_pair else {"text": given}
        lines.append(json.dumps({**texts, "label": label}) + "\n")
    return "".join(lines).encode()


def _file_lines(layout: Layout, table: Table, targets: Targets) -> bytes:
    key, medium = layout.modality, PICTURES if layout.modality == "image" else RECORDINGS
    files = media_of(medium, table, layout.wanted[key], Path(), anywhere=True)
    lines = []
    for file, label in zip(files, targets_of(table, files, layout, targets), strict=True):
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        lines.append(json.dumps({key: {"base64": base64.b64encode(content).decode()}, "label": label}) + "\n")
    return "".join(lines).encode()
