"""Labelled texts out of files: checked row by row, then as a whole."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final

from autocompress.core.data_spec import DataSpec
from autocompress.core.task_kinds import NOUNS, Modality, Targets
from autocompress.errors import SpecError
from autocompress.reading.cells import (
    alike,
    amounts_of,
    classes_of,
    labels_of,
    ordered,
    texts_of,
    whole_numbers,
    with_threshold,
)
from autocompress.reading.folders import find_files, read_file
from autocompress.reading.layout import Layout, Table
from autocompress.reading.media import Read, find_media
from autocompress.reading.pairs import second_texts
from autocompress.reading.pictures import Unencoded, find_pictures
from autocompress.reading.recordings import RECORDINGS
from autocompress.reading.words import check_tags, tags_of, words_of

ALL: Final = "all"
"""The part of which no row says what split it belongs to."""

_LABELS_A_TEXT: Final = 0.5
_MANY: Final = 10
"""Labels are hardly those of classes where there are more of them a text, and more than a few."""

_EMPTY_WORDS: Final = {"none", "null", "na", "n/a", "#n/a", "unknown label"}


@dataclass(frozen=True, slots=True)
class Rows:
    """Labelled texts, pairs of texts, rows of words, or images or recordings (paths, or bytes), in
    the order of their tables; labels
    are what the task wants: classes, amounts, lists of classes, or tags. `origins` are the rows' places in the tables,
    one table after another."""

    texts: tuple[Any, ...]
    labels: tuple[Any, ...]
    tables: tuple[Table, ...]
    origins: tuple[int, ...]
    noun: str = "texts"

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def where(self) -> str:
        """The file, or the first of several."""
        return self.tables[0].where + (f" and {len(self.tables) - 1} more" if len(self.tables) > 1 else "")

    def take(self, rows: Sequence[int]) -> Rows:
        """Only these."""
        texts, labels, origins = (tuple(one[row] for row in rows) for one in (self.texts, self.labels, self.origins))
        return replace(self, texts=texts, labels=labels, origins=origins)

    def having(self, label: str) -> list[int]:
        """The rows of a class."""
        return [row for row, found in enumerate(self.labels) if found == label]

    def told(self, rows: Sequence[int]) -> str:
        """Where the first of these rows stand: `lines 3, 4`, with the file's name where there are several."""
        found: dict[int, list[int]] = {}
        for row in rows:
            place, table = self.origins[row], 0
            while place >= _length(self.tables[table]):
                place -= _length(self.tables[table])
                table += 1
            found.setdefault(table, []).append(place)
        first, *others = sorted(found)
        name = f"{Path(self.tables[first].where).name} " if len(self.tables) > 1 else ""
        return f"{name}{self.tables[first].told(found[first])}{', ...' if others else ''}"


@dataclass(frozen=True, slots=True)
class Labelled:
    """Texts by the split that they are given for, or under `all`; `classes` in their order; `notes` say what a user
    should know of them."""

    parts: Mapping[str, Rows]
    classes: tuple[str, ...]
    notes: tuple[str, ...]
    modality: Modality = "text"


def read_labelled(
    spec: DataSpec, files: Mapping[str, Path], targets: Targets = "class", modality: Modality = "text"
) -> Labelled:
    """`files` are those that `spec.parts` name, `targets` what the task wants of a row, which is of that `modality`.
    Raises SpecError naming the file and the rows that do not fit."""
    parts: dict[str, list[Table]] = {}
    notes: list[str] = []
    layouts: dict[str, Layout] = {}
    most: dict[str, int | None] = {}
    for name, part in spec.parts.items():
        layout = Layout.of_labelled(spec.of(part), targets, modality)
        tables, told = _tables(layout, files[name], modality)
        notes += told
        for split, read in _meant(name, tables, spec, files[name]).items():
            if split in parts:
                raise SpecError(f"{files[name]}: holds a {split} split, and `task.data.{split}` names another")
            parts[split], layouts[split] = [one() for one in read], layout
            most[split] = spec.of(part).most
    return labelled_of(spec, parts, layouts, notes, targets=targets, modality=modality, most=most)


def _tables(layout: Layout, path: Path, modality: Modality) -> tuple[dict[str, list[Read]], list[str]]:
    """By the split that they hold; and what is to be said of what was found."""
    if modality != "text":
        media = find_pictures(layout, path) if modality == "image" else find_media(RECORDINGS, layout, path)
        return dict(media.tables), media.notes
    found = find_files(layout, path)
    return {
        name: [partial(read_file, layout, one) for one in files] for name, files in found.files.items()
    }, found.notes


def _meant(name: str, found: Mapping[str, list[Read]], spec: DataSpec, path: Path) -> dict[str, list[Read]]:
    """A part that is given by its name is that split, also where its folder holds several; a `source` is whatever its
    folder says."""
    if set(found) == {ALL}:
        return {name: found[ALL]}
    if spec.source and name in (ALL, "train"):
        return dict(found)
    if name not in found:
        raise SpecError(f"{path}: holds no {name} split, only {', '.join(found)}; name the folder or file of one")
    return {name: found[name]}


def labelled_of(
    spec: DataSpec,
    parts: Mapping[str, Sequence[Table]],
    layouts: Mapping[str, Layout],
    notes: Iterable[str] = (),
    *,
    targets: Targets = "class",
    modality: Modality = "text",
    most: Mapping[str, int | None] | None = None,
) -> Labelled:
    """Raises SpecError with every part that does not fit."""
    told = list(notes)
    rows = {}
    for name, tables in parts.items():
        for table in tables:
            told += table.notes
        if modality == "text" and targets != "tags" and (others := second_texts(layouts[name], tables[0])):
            told.append(f"{tables[0].where}: columns that hold texts too and are not read: {', '.join(others)}")
        rows[name] = _rows(spec, tables, layouts[name], targets)
        rows[name] = _some(rows[name], (most or {}).get(name), spec.split_seed, told)
    if targets == "class":
        _spell_numbers(rows, told)
        _check_alike(rows)
        told += [f"{part.where}: {note}" for part in rows.values() for note in _odd_labels(part)]
    everything = [label for part in rows.values() for label in part.labels]
    if spec.distinct:
        rows = {name: _distinct(part, told) for name, part in rows.items()}
    if targets == "amount":
        _check_amounts(rows)
        return Labelled(rows, (), tuple(told), modality)
    if targets == "tags":
        check_tags(_learned(rows).where, next(iter(layouts.values())), everything)
        return Labelled(rows, tuple(ordered([tag for tags in everything for tag in tags])), tuple(told))
    classes = ordered(everything if targets == "class" else [one for labels in everything for one in labels])
    (_check_classes if targets == "class" else _check_several)(spec, rows, classes)
    return Labelled(rows, tuple(classes), tuple(told), modality)


def _rows(spec: DataSpec, tables: Sequence[Table], layout: Layout, targets: Targets) -> Rows:
    texts: list[Any] = []
    labels: list[Any] = []
    for table in tables:
        inputs = inputs_of(table, layout)
        texts += inputs
        found = targets_of(table, inputs, layout, targets)
        labels += with_threshold(spec, table, found) if targets == "class" else found
    return Rows(tuple(texts), tuple(labels), tuple(tables), tuple(range(len(texts))), NOUNS[layout.modality])


def _some(rows: Rows, most: int | None, seed: int, told: list[str]) -> Rows:
    """No more than so many of them, drawn by a seed, in their order; images as files."""
    if most is None or len(rows) <= most:
        return replace(rows, texts=tuple(one.encoded() if isinstance(one, Unencoded) else one for one in rows.texts))
    told.append(f"{rows.where}: {most} of {len(rows)} {rows.noun} are used (`most`)")
    return _some(rows.take(sorted(random.Random(seed).sample(range(len(rows)), most))), None, seed, told)


def inputs_of(table: Table, layout: Layout) -> list[Any]:
    """The texts of a table, its pairs of texts, its rows of words, or its files."""
    if layout.modality != "text":
        return list(table.cells[layout.wanted[layout.modality]])
    if layout.tagged:
        return list(words_of(table, layout.wanted["text"]))
    first = texts_of(table, layout.wanted["text"])
    if "text_pair" not in layout.wanted:
        return list(first)
    return list(zip(first, texts_of(table, layout.wanted["text_pair"]), strict=True))


def targets_of(table: Table, inputs: Sequence[Any], layout: Layout, targets: Targets) -> list[Any]:
    """What its column of labels holds for these inputs, as the task wants it."""
    if targets == "tags":
        return list(tags_of(table, inputs, layout.wanted["label"]))
    readers: dict[Targets, Callable[[Table, str], Sequence[Any]]] = {
        "class": labels_of,
        "amount": amounts_of,
        "classes": classes_of,
    }
    return list(readers[targets](table, layout.wanted["label"]))


def _spell_numbers(rows: dict[str, Rows], told: list[str]) -> None:
    spelled = whole_numbers([label for part in rows.values() for label in part.labels])
    if not spelled:
        return
    example = next(iter(spelled))
    told.append(f"labels are whole numbers, and some are written as fractions: {example} is read as {spelled[example]}")
    for name, part in rows.items():
        labels = tuple(spelled.get(label, label) for label in part.labels)
        rows[name] = replace(part, labels=labels)


def _check_alike(rows: Mapping[str, Rows]) -> None:
    problems = []
    for group in alike([label for part in rows.values() for label in part.labels]):
        for label in group[1:]:
            part = next(part for part in rows.values() if label in part.labels)
            problems.append(
                f"{part.where}: label {label!r} ({part.told(part.having(label))}) is {group[0]!r} but for case or "
                "spaces; write both alike"
            )
    if problems:
        raise SpecError(*problems)


def _odd_labels(part: Rows) -> list[str]:
    counts = Counter(part.labels)
    return [
        f"{counts[label]} labels are {label!r}, taken for the name of a class ({part.told(part.having(label))}); "
        "remove these rows if it means none"
        for label in counts
        if label.casefold() in _EMPTY_WORDS
    ]


def _distinct(part: Rows, told: list[str]) -> Rows:
    first: dict[str, int] = {}
    repeated, contrary = [], []
    for row, text in enumerate(part.texts):
        if first.setdefault(text, row) != row:
            repeated.append(row)
            if part.labels[first[text]] != part.labels[row]:
                contrary.append(row)
    if contrary:
        told.append(
            f"{part.where}: {len(contrary)} repeated {part.noun} have another label than before, which is not used "
            f"({part.told(contrary)})"
        )
    if repeated:
        told.append(f"{part.where}: {len(repeated)} of {len(part)} {part.noun} are repetitions and left away")
    return part.take(list(first.values())) if repeated else part


def _learned(rows: Mapping[str, Rows]) -> Rows:
    found = rows.get("train") or rows.get(ALL)
    assert found is not None, "DataSpec wants texts to learn from"
    return found


def _check_amounts(rows: Mapping[str, Rows]) -> None:
    learned = _learned(rows)
    if len(set(learned.labels)) < 2:
        found = learned.labels[0] if len(learned) else "missing"
        raise SpecError(f"{learned.where}: all amounts are {found}; there is nothing to learn")


def _check_several(spec: DataSpec, rows: Mapping[str, Rows], classes: Sequence[str]) -> None:
    learned = _learned(rows)
    if not classes:
        raise SpecError(
            f"{learned.where}: no row has a label in {spec.label!r}; name the column with `task.data.label`"
        )
    _check_number(spec, rows, classes)


def _check_classes(spec: DataSpec, rows: Mapping[str, Rows], classes: Sequence[str]) -> None:
    where = next(iter(rows.values())).where
    found = set(_learned(rows).labels)
    if len(found) < 2:
        raise SpecError(f"{where}: classification needs at least two classes, found {sorted(found) or 'no rows'}")
    _check_number(spec, rows, classes)


def _check_number(spec: DataSpec, rows: Mapping[str, Rows], classes: Sequence[str]) -> None:
    where, texts = next(iter(rows.values())).where, sum(map(len, rows.values()))
    noun = next(iter(rows.values())).noun
    if len(classes) > max(_MANY, _LABELS_A_TEXT * texts):
        raise SpecError(
            f"{where}: {len(classes)} classes in {texts} {noun}, such as {classes[0][:40]!r} and {classes[1][:40]!r}: "
            f"is {spec.label!r} the column of labels? Name it with `task.data.label`, give classes more texts, or turn "
            "numbers into two classes with `task.data.threshold`"
        )


def _length(table: Table) -> int:
    return len(next(iter(table.cells.values())))
