"""Commands about files, the database and this machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autocompress.store import Store

from .conftest import ROOT, Run
from .given_exports import with_folders

QUICKSTART = ROOT / "studies" / "quickstart.yaml"


@pytest.mark.expectation(32)
def test_rm_asks_unless_told_not_to(store: Store, process: Run, run: Run) -> None:
    ended = process("rm", "quickstart")
    assert ended.code == 2
    assert "4 of them verified would be removed and there is nobody to ask; give --yes" in ended.err
    assert run("rm", "quickstart", "--yes").code == 0
    assert store.studies() == []


@pytest.mark.expectation(4)
def test_check_reports_every_file(run: Run, folder: Path) -> None:
    bad = folder / "bad.yaml"
    bad.write_text("name: x\nversion: 1\nsteps: 3\nstepz: 4\n")
    ended = run("check", str(QUICKSTART), str(bad))
    assert ended.code == 2
    assert f"{QUICKSTART}: in order" in ended.err
    assert "bad.yaml:" in ended.out
    missing = run("check", "nope.yaml", str(QUICKSTART))
    assert (missing.code, missing.out) == (3, "nope.yaml: no such file\n")


@pytest.mark.expectation(3)
@pytest.mark.parametrize("kind", ["study", "space", "device"])
def test_schema_prints_a_json_schema(run: Run, kind: str) -> None:
    assert json.loads(run("schema", kind).out)["$schema"].startswith("https://json-schema.org")


def test_an_unknown_kind_of_file_is_refused(run: Run) -> None:
    ended = run("schema", "studdy")
    assert ended.code == 2
    assert "did you mean 'study'" in ended.err


def test_spaces_and_devices_name_what_ships(run: Run) -> None:
    assert "bert-small" in {row["name"] for row in json.loads(run("spaces", "--json").out)["spaces"]}
    assert json.loads(run("devices", "--json").out)["devices"][0]["name"] == "host"


def test_a_broken_space_does_not_hide_the_others(run: Run, folder: Path) -> None:
    (folder / "search_spaces").mkdir()
    (folder / "search_spaces" / "mine.yaml").write_text("name: mine\nstepz: 3\n")
    rows = {row["name"]: row for row in json.loads(run("spaces", "--json").out)["spaces"]}
    assert "stepz" in rows["mine"]["problem"]
    assert rows["bert-small"]["steps"]


@pytest.mark.expectation(5)
def test_doctor_leaves_nothing_behind(run: Run, folder: Path) -> None:
    ended = run("doctor", "--json")
    findings = {one["name"]: one for one in json.loads(ended.out)["findings"]}
    assert {"python", "torch", "cores", "memory", "disk here", "sqlite", "database"} <= findings.keys()
    assert findings["database"]["verdict"] == "ok"
    meter = findings["energy meter"]
    assert meter["verdict"] == "ok" or meter["text"].startswith("none, so energy is modelled: ")
    assert list(folder.iterdir()) == []


@pytest.mark.expectation(5, 10)
def test_doctor_ends_with_4_when_the_database_cannot_be_used(run: Run, folder: Path) -> None:
    (folder / "notes.db").write_text("not a database at all, but some text of sixteen bytes or more")
    ended = run("doctor", "--storage", "notes.db")
    assert ended.code == 4
    assert "this machine is not ready: database" in ended.err


def test_doctor_checks_what_the_database_holds_and_names_files_of_nobody(run: Run, folder: Path) -> None:
    with Store.open() as store:
        digest, _ = with_folders(store)
        kept = store.folder("quickstart")

    def findings() -> set[tuple[str, str]]:
        return {(one["verdict"], one["text"]) for one in json.loads(run("doctor", "--json").out)["findings"]}

    before = findings()
    (kept / digest / "model.onnx").unlink()
    (folder / "autocompress-artifacts" / "removed-0123abcd").mkdir()
    (folder / "autocompress-artifacts" / "removed-0123abcd" / "model.onnx").write_bytes(bytes(200_000))
    (broken,) = {text for verdict, text in findings() - before if verdict == "bad"}
    assert broken.startswith("quickstart: ")
    assert f"{digest}/model.onnx is missing" in broken
    (nobody,) = {text for verdict, text in findings() - before if verdict == "note" and "of no study" in text}
    assert "removed-0123abcd: 0.2 MB of no study in this database; `autocompress gc --orphans`" in nobody
    assert run("doctor").code == 4


def test_db_upgrade_leaves_a_new_database_as_it_is(store: Store, run: Run) -> None:
    ended = run("db", "upgrade")
    assert ended.code == 0
    assert "at the newest schema" in ended.err


@pytest.mark.expectation(7)
def test_a_dry_run_stores_and_fetches_nothing(run: Run, folder: Path) -> None:
    ended = run("run", str(QUICKSTART), "--dry-run", "--trials", "7", "--name", "mine")
    assert ended.code == 0
    assert "study        mine\n" in ended.out
    assert "7 candidates or 4 minutes" in ended.out
    assert list(folder.iterdir()) == []
    tree = json.loads(run("run", str(QUICKSTART), "--dry-run", "--json", "--search-minutes", "2").out)
    assert tree["study"]["budget"]["search_minutes"] == 2


def test_an_override_that_breaks_a_rule_is_refused(run: Run) -> None:
    ended = run("run", str(QUICKSTART), "--dry-run", "--trials", "0")
    assert ended.code == 2
    assert "--trials: `trials >= 1` must hold, got 0" in ended.err


def test_a_study_that_is_not_there_is_named(run: Run) -> None:
    ended = run("run", "quikstart", "--dry-run")
    assert ended.code == 3
    assert "did you mean 'quickstart'" in ended.err
