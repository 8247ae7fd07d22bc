"""Device profiles that describe no device, and CSVs that no profile can be fitted to."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from autocompress.config import dump_device
from tests.broken.given import a_folder, both, changed, written
from tests.broken.table import Broken, nothing
from tests.test_elsewhere import other_machine

COST = {"gmacs_fp32": 20.0, "gbytes_per_second": 8.0, "spread": 0.2, "threads": 2}


def profile(change: Callable[[dict[str, Any]], object], name: str = "box.yaml") -> Callable[[Path], None]:
    """A sound profile but for one thing."""

    def build(folder: Path) -> None:
        tree = yaml.safe_load(dump_device(other_machine()))
        change(tree)
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(yaml.safe_dump(tree, sort_keys=False), encoding="utf-8")

    return build


def _is(
    title: str, change: Callable[[dict[str, Any]], object], *says: str, command: str = "devices box.yaml"
) -> Broken:
    return Broken(title, profile(change), command, 2, ("box.yaml:", *says))


def _row(title: str, *says: str, **row: object) -> Broken:
    return _is(title, lambda tree: tree["tables"][0]["rows"][3].update(row), *says)


def _every_row(tree: dict[str, Any], **row: object) -> None:
    for one in tree["tables"][0]["rows"]:
        one.update(row)


def _described(tree: dict[str, Any], **cost: object) -> None:
    tree.update(source="datasheet", tables=[], cost={**COST, **cost})


ROWS = (
    _row("a latency below nothing", "tables[0].rows[3].milliseconds", "got -1", milliseconds=-1.0),
    _row("a latency that is no number", "must be a finite number", milliseconds=float("nan")),
    _row("a latency without end", "must be a finite number", milliseconds=float("inf")),
    _row("a latency of 1e300", "milliseconds", "1e+300", milliseconds=1e300, low=1e300, high=1e300),
    _row("a latency in words", "milliseconds: must be a number, got 'fast'", milliseconds="fast"),
    _row("quartiles upside down", "low <= milliseconds <= high", low=9.0, milliseconds=1.0, high=0.5),
    _row("a block nobody knows", "block", "did you mean 'attention'", block="atention"),
    _row("bits that nothing has", "bits", "7", bits=7),
    _row("a size below nothing", "size", "-3", size=-3),
    _is(
        "all latencies nothing",
        lambda tree: _every_row(tree, milliseconds=0.0, low=0.0, high=0.0),
        "tables[0]",
        "0",
    ),
    _is("no row", lambda tree: tree["tables"][0].update(rows=[]), "tables[0].rows", "lack"),
    _is("no table", lambda tree: tree.update(tables=[]), "a measured profile needs `tables`"),
    _is("one row twice", lambda tree: tree["tables"][0]["rows"].append(tree["tables"][0]["rows"][0]), "twice"),
    _is("one table twice", lambda tree: tree["tables"].append(tree["tables"][0]), "twice"),
    _is("a schema of tomorrow", lambda tree: tree.update(schema=99), "schema", "99", "autocompress profile"),
    _is("a name that is a path", lambda tree: tree.update(name="../../etc/passwd"), "name", "../../etc/passwd"),
    _is("a name of escape codes", lambda tree: tree.update(name="\x1b[31mred"), "name"),
    _is("no name", lambda tree: tree.update(name=""), "name"),
    _is("a hidden size below nothing", lambda tree: tree["tables"][0].update(hidden=-3), "tables[0].hidden", "-3"),
    _is("heads of no channel", lambda tree: tree["tables"][0].update(head_size=0), "tables[0].head_size"),
    _is("a million threads", lambda tree: tree["tables"][0]["workload"].update(threads=10**6), "threads", "1,000,000"),
    _is("a length below nothing", lambda tree: tree["tables"][0]["workload"].update(length=-5), "workload.length"),
    _is("a fingerprint of lists", lambda tree: tree.update(fingerprint=["x"]), "fingerprint: must be a mapping"),
    _is("an unknown key", lambda tree: tree.update(tabels=[]), "tabels: unknown key; did you mean 'tables'"),
    _is("a source nobody knows", lambda tree: tree.update(source="guessed"), "source", "measured"),
    _is("a datasheet without costs", lambda tree: tree.update(source="datasheet"), "needs a `cost` model"),
    _is("a rate of nothing", lambda tree: _described(tree, gmacs_fp32=0.0), "cost.gmacs_fp32: must be > 0"),
    _is("a rate of 1e300", lambda tree: _described(tree, gmacs_fp32=1e300), "cost.gmacs_fp32", "1e+300"),
    _is("a bandwidth below nothing", lambda tree: _described(tree, gbytes_per_second=-1.0), "cost.gbytes_per_second"),
    _is("no thread", lambda tree: _described(tree, threads=0), "cost.threads"),
    _is("a spread of a thousand", lambda tree: _described(tree, spread=1000.0), "cost.spread"),
    _is("an energy below nothing", lambda tree: tree["energy"].update(idle_watts=-1.0), "energy.idle_watts"),
    _is("more idle than busy", lambda tree: tree["energy"].update(idle_watts=9.0), "active_watts >= idle_watts"),
    Broken(
        "a profile cut short",
        both(
            profile(lambda _: None), lambda here: (here / "box.yaml").write_text((here / "box.yaml").read_text()[:900])
        ),
        "devices box.yaml",
        2,
        ("box.yaml",),
    ),
    Broken(
        "a profile that is a picture",
        written("box.yaml", b"\x89PNG\r\n\x1a\n\0\0"),
        "devices box.yaml",
        2,
        ("box.yaml",),
    ),
    Broken("a profile that is a folder", a_folder("box.yaml"), "devices box.yaml", 3, ("box.yaml: no such file",)),
    Broken("a profile nobody has", nothing, "devices raspbery-pi-4", 3, ("did you mean 'raspberry-pi-4'",)),
    Broken("a picture of no device", nothing, "devices --png x.png", 2, ("--png", "name it")),
    Broken(
        "a broken profile in a study",
        both(profile(lambda tree: tree.update(schema=99)), changed(device="box.yaml")),
        "check mine.yaml",
        2,
        ("box.yaml", "schema"),
    ),
    Broken(
        "a broken profile, run",
        both(profile(lambda tree: tree.update(schema=99)), changed(device="box.yaml")),
        "run mine.yaml --workers 0",
        2,
        ("box.yaml", "schema"),
    ),
    Broken("a profile to validate that is not there", nothing, "profile --validate box.yaml", 3, ("box.yaml",)),
    Broken(
        "a profile to validate that is broken",
        profile(lambda tree: tree.update(schema=99)),
        "profile --validate box.yaml",
        2,
        ("box.yaml", "schema"),
    ),
    Broken("nothing to validate", nothing, "profile --validate", 2, ("--validate: name the profile",)),
    Broken("two things at once", nothing, "profile x --validate --fit", 2, ("give one of --validate and --fit",)),
    Broken("a profile as an argument", nothing, "profile box.yaml", 2, ("name the profile with --out",)),
    Broken("an output that is a folder", a_folder("box.yaml"), "profile --out box.yaml --quick", 2, ("box.yaml",)),
    Broken("more threads than there are", nothing, "profile --threads 4096", 2, ("--threads: must be 1 to",)),
    Broken("threads in words", nothing, "profile --threads many", 2, ("--threads: must be 1 to", "or all")),
    Broken("a runtime nobody knows", nothing, "profile --runtime tensorrt", 2, ("tensorrt", "allowed: ")),
    Broken("models of a billion", nothing, "profile --hidden 1000000000", 2, ("--hidden",)),
    Broken("lengths of a billion", nothing, "profile --length 1000000000", 2, ("--length",)),
    Broken("a CSV that is not there", nothing, "profile --fit t.csv --target ms", 3, ("t.csv",)),
    Broken("a CSV without its target", written("t.csv", "a,ms\n1,2\n"), "profile --fit t.csv", 2, ("--target COLUMN",)),
    Broken(
        "a CSV without that column",
        written("t.csv", "a,ms\n1,2\n"),
        "profile --fit t.csv --target x",
        2,
        ("t.csv", "'x'"),
    ),
    Broken("a CSV of words", written("t.csv", "a,ms\nfast,slow\n"), "profile --fit t.csv --target ms", 2, ("t.csv:2",)),
    Broken("a CSV of one row", written("t.csv", "a,ms\n1,2\n"), "profile --fit t.csv --target ms", 2, ("t.csv",)),
    Broken(
        "a CSV of latencies below nothing",
        written("t.csv", "a,ms\n" + "1,-2\n" * 40),
        "profile --fit t.csv --target ms",
        2,
        ("t.csv", "ms"),
    ),
    Broken(
        "a CSV of infinities",
        written("t.csv", "a,ms\n" + "inf,2\n" * 40),
        "profile --fit t.csv --target ms",
        2,
        ("t.csv",),
    ),
    Broken("an empty CSV", written("t.csv", ""), "profile --fit t.csv --target ms", 2, ("t.csv",)),
    Broken(
        "a CSV of latin-1",
        written("t.csv", "caf\u00e9,ms\n1,2\n".encode("latin-1")),
        "profile --fit t.csv --target ms",
        2,
        ("t.csv",),
    ),
    Broken("a CSV that is a folder", a_folder("t.csv"), "profile --fit t.csv --target ms", 3, ("t.csv: no such file",)),
)
