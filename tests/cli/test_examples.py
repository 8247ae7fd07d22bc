"""Every example of docs/commands.md is run: `tests/cli/examples.txt`, line by line."""

from __future__ import annotations

import csv
import importlib
import re
from pathlib import Path
from types import ModuleType

import pytest

from autocompress import config
from autocompress.core.outcome import Measurement, Measurements
from autocompress.operators import OPERATORS
from autocompress.store import Store
from tests.given_study import write_data, write_model
from tests.report import given

from .conftest import ROOT, Run
from .given_exports import with_folders

TOLD_LATER = ("--storage", "--json")
"""Of a line that another test runs: these are the same everywhere, and are tried in the lines here."""


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "studies" / "benchmarks"))
        return importlib.import_module("command_docs")


@pytest.fixture
def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the examples start with."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    write_model(folder / "model", head=True)
    write_rows(folder)
    with Store.open() as store:
        spec = config.load_study("quickstart", operators=OPERATORS)
        resolved = config.spec_to_json(spec)
        for name in ("quickstart", "again"):
            store.create_study(
                name, given=resolved, resolved=resolved, fingerprint={"model": "00"}, objectives=spec.objectives
            )
            with store.lease(name) as lease:
                given.search(store, lease)
                given.finish(store, lease, measured=measured)
        with_folders(store, numbers=(1, 2, 3, 4))
    return folder


def write_rows(folder: Path) -> None:
    write_data(folder / "all.csv", rows=360)
    with (folder / "all.csv").open(newline="", encoding="utf-8") as file:
        rows = [(row["text"], row["label"]) for row in csv.DictReader(file)]
    (folder / "all.csv").unlink()
    files = {"reviews": rows[:240], "dev": rows[240:300], "test": rows[300:]}
    for name, part in files.items():
        write_table(folder / f"{name}.csv", ("text", "label"), part)
    turned = [(text, rows[-1 - place][0], label) for place, (text, label) in enumerate(rows)]
    write_table(folder / "pairs.csv", ("text", "other", "label"), turned)
    times = [(f"m{n}", n, n * n % 7, 1.0 + 0.5 * n) for n in range(1, 31)]
    write_table(folder / "latencies.csv", ("name", "layers", "heads", "ms"), times)


def write_table(path: Path, head: tuple[str, ...], rows: list[tuple[object, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def measured(quality: float, test: float, latency_ms: float, size_mb: float) -> Measurements:
    """All that a bound can be on."""
    return (
        *given.exported(quality, test, latency_ms, size_mb),
        Measurement("throughput", 1e3 / latency_ms, "items/s", "measured"),
        Measurement("peak_memory_mib", 2 * size_mb, "MiB", "counted"),
    )


@pytest.mark.expectation(35)
def test_every_command_argument_and_option_has_an_example(docs: ModuleType) -> None:
    assert docs.without_example() == [], docs.FORM


@pytest.mark.expectation(35)
def test_every_example_ends_as_is_said(docs: ModuleType, project: Path, run: Run) -> None:
    for example in docs.examples():
        if not example.test:
            ended = run(*example.arguments)
            assert ended.code == example.code, f"{example.line}\n{ended.err}"
            assert ended.out or ended.err, f"{example.line}: says nothing"
            assert ("Traceback" in ended.err) == ("--debug" in example.arguments), f"{example.line}\n{ended.err}"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.long
def test_what_takes_long_is_run_too(docs: ModuleType, project: Path, run: Run) -> None:
    """Minutes: this machine is profiled twice, and a Ray started."""
    mine = f"tests/cli/{Path(__file__).name}"
    for example in docs.examples():
        if example.test.startswith(mine):
            ended = run(*example.arguments)
            assert ended.code == example.code, f"{example.line}\n{ended.err}"


def test_an_example_that_another_test_runs_names_one_that_does(docs: ModuleType) -> None:
    """Its command and options stand in the file of that test, or have an example with `init`, whose options `compress`
    takes."""
    begun = set(docs.parameters("init"))
    for example in docs.examples():
        file, _, name = example.test.partition("::")
        if not name:
            continue
        text = (ROOT / file).read_text(encoding="utf-8")
        assert f"def {name}(" in text, f"{example.line}: {file} has no {name}"
        command = docs.name_of(example)
        if not command or file == "tests/cli/test_examples.py":
            continue
        for option in docs.shown(example) - set(TOLD_LATER) - (begun if command == "compress" else set()):
            word = option.lstrip("-").replace("-", "_")
            said = option in text or re.search(rf"\b{word}\b", text) or not option.startswith("--")
            assert said, f"{example.line}: nothing in {file} gives {option}"
