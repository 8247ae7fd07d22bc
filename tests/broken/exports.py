"""Exported folders and measurements that are not what was written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.broken.given import both, in_json, removed, written
from tests.broken.table import Broken, nothing

MANIFEST, MODEL = "picked/manifest.json", "picked/model.onnx"


ALONE = removed("autocompress.db")
"""Away from the database that knows better."""


def _of(
    title: str, build: Callable[[Path], object], *says: str, command: str = "verify picked", code: int = 7
) -> Broken:
    return Broken(title, build, command, code, says, given="exported")


ROWS = (
    _of("a model that is missing", removed(MODEL), "model.onnx missing", code=3),
    _of("a model that was changed", written(MODEL, "x"), "model.onnx: changed since it was exported"),
    _of("a tokenizer that was changed", written("picked/tokenizer.json", "{}"), "tokenizer.json: changed"),
    _of("no manifest", removed(MANIFEST), "no exported model here (no manifest.json)", code=3),
    _of("a manifest that is no JSON", both(ALONE, written(MANIFEST, "{")), "manifest.json: damaged"),
    _of("a manifest that is a list", both(ALONE, written(MANIFEST, "[]")), "manifest.json: damaged"),
    _of("a manifest a thousand deep", both(ALONE, written(MANIFEST, "[" * 100_000)), "manifest.json: damaged"),
    _of("a manifest of another form", both(ALONE, in_json(MANIFEST, format=99)), "manifest.json", "another version"),
    _of("a manifest that lacks its files", both(ALONE, in_json(MANIFEST, files=None)), "manifest.json: damaged"),
    _of("a manifest with more keys", both(ALONE, in_json(MANIFEST, colour="red")), "manifest.json: damaged"),
    _of(
        "to be measured: a model that was changed", written(MODEL, "x"), "model.onnx: changed", command="measure picked"
    ),
    _of(
        "to be measured: a manifest that is no JSON", written(MANIFEST, "{"), "manifest.json", command="measure picked"
    ),
    _of(
        "over somebody's file",
        written("there", "x"),
        "there: is a file",
        command="export quickstart 1 --out there",
        code=2,
    ),
    _of(
        "over somebody's folder",
        written("there/thesis.txt", "x"),
        "there",
        command="export quickstart 1 --out there",
        code=2,
    ),
    _of("over the current folder", nothing, "autocompress.db", command="export quickstart 1 --out .", code=2),
    _of(
        "measurements that are a list",
        written("m.json", "[]"),
        "m.json: schema",
        code=2,
        command="import-measurements quickstart m.json",
    ),
    _of(
        "measurements of another form",
        written("m.json", '{"schema": "x/9"}'),
        "m.json: schema 'x/9'",
        code=2,
        command="import-measurements quickstart m.json",
    ),
    _of(
        "measurements a thousand deep",
        written("m.json", "[" * 100_000),
        "m.json",
        code=2,
        command="import-measurements quickstart m.json",
    ),
)
