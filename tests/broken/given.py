"""What is broken: a user's small project, a stored study, a study that was run to its end."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from autocompress.store import Store
from autocompress.study.study import export
from tests.cli.given_exports import with_folders
from tests.given_study import write_data, write_model, write_study
from tests.report import given as stored_study

TINY = {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}}


def project(folder: Path) -> None:
    """A model without a head, texts and a study: all in order, so that a row breaks just one thing."""
    write_data(folder / "texts.csv", rows=120)
    write_model(folder / "model", head=False)
    write_study(folder, budget={"trials": 2}, teacher={"epochs": 1}, elastic={"steps": 1}, finalists=TINY)


def stored(folder: Path) -> None:
    """A database with a finished study, whose files are nowhere."""
    with Store.open(str(folder / "autocompress.db")) as store:
        stored_study.finished(store)


def exported(folder: Path) -> None:
    """A stored study whose verified models have folders, and one of them exported to `picked`."""
    with Store.open(str(folder / "autocompress.db")) as store:
        digest = with_folders(store)[0]
        export(store, "quickstart", digest, folder / "picked")


def changed(**changes: Any) -> Callable[[Path], None]:
    """`mine.yaml` with other values at its top; None takes a key out. `task__data__format` names a key within."""

    def build(folder: Path) -> None:
        path = folder / "mine.yaml"
        tree = yaml.safe_load(path.read_text("utf-8"))
        for name, value in changes.items():
            *places, last = name.split("__")
            inside = tree
            for place in places:
                inside = inside.setdefault(place, {})
            if value is None:
                inside.pop(last, None)
            else:
                inside[last] = value
        path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")

    return build


def written(name: str, content: str | bytes) -> Callable[[Path], None]:
    """A file with this content."""

    def build(folder: Path) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    return build


def edited(name: str, old: str, new: str) -> Callable[[Path], None]:
    """A text file in which one text stands in the place of another."""

    def build(folder: Path) -> None:
        text = (folder / name).read_text("utf-8")
        assert old in text, f"{name} holds no {old!r} to be replaced"
        (folder / name).write_text(text.replace(old, new, 1), encoding="utf-8")

    return build


def in_json(name: str, **changes: Any) -> Callable[[Path], None]:
    """A JSON file with other values at its top; None takes a key out."""

    def build(folder: Path) -> None:
        tree = json.loads((folder / name).read_text("utf-8"))
        tree = {key: value for key, value in {**tree, **changes}.items() if value is not None}
        (folder / name).write_text(json.dumps(tree), encoding="utf-8")

    return build


def removed(name: str) -> Callable[[Path], None]:
    """A file or folder that is not there."""

    def build(folder: Path) -> None:
        path = folder / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return build


def a_folder(name: str) -> Callable[[Path], None]:
    """A folder in the place of a file."""

    def build(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).mkdir(parents=True)

    return build


def both(*builds: Callable[[Path], object]) -> Callable[[Path], None]:
    """One after another."""

    def build(folder: Path) -> None:
        for one in builds:
            one(folder)

    return build
