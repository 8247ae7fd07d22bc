"""`rm` and `gc`: what goes, what stays, and how much that is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from autocompress.store import Store

from .conftest import Run


def write(path: Path, size: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    return path


@pytest.fixture
def cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
    return folder / "cache"


def test_rm_frees_what_belongs_to_the_study_and_says_how_much(store: Store, run: Run, folder: Path) -> None:
    own = write(store.folder("quickstart") / "training" / "x.safetensors", 2_000_000)
    other = write(store.artifacts / "another" / "model.onnx", 10)
    ended = run("rm", "quickstart", "--yes")
    assert ended.code == 0
    assert "removed study 'quickstart' with" in ended.err
    assert "and 2 MB in" in ended.err
    assert not own.exists()
    assert other.exists()


def test_rm_leaves_files_that_are_another_database_s_or_are_to_be_kept(store: Store, run: Run) -> None:
    kept = write(store.folder("quickstart") / "0123456789abcdef" / "model.onnx", 10)
    ended = run("rm", "quickstart", "--yes")
    assert ended.code == 0
    assert f"its files stay in {store.artifacts / 'quickstart'}" in ended.err
    assert kept.exists()


@pytest.mark.expectation(32)
def test_gc_frees_checkpoints_of_finished_studies_and_old_drafts(store: Store, run: Run, cache: Path) -> None:
    training = write(store.folder("quickstart") / "training" / "d" / "checkpoint.safetensors", 3_000_000)
    model = write(store.folder("quickstart") / "d" / "model.onnx", 10)
    draft = write(store.folder("quickstart") / ".d.0123.part" / "model.onnx", 1000)
    fresh = write(store.folder("quickstart") / ".e.0123.part" / "model.onnx", 1000)
    teacher = write(cache / "teachers" / "t" / "model.safetensors", 50)
    stranger = write(store.artifacts / "elsewhere" / "model.onnx", 2000)
    for path in (draft, draft.parent):
        os.utime(path, (0, 0))
    looked = run("gc", "--dry-run")
    assert looked.code == 0
    assert "3 MB  training checkpoints of 'quickstart'" in looked.out
    assert "2 kB in elsewhere belong to no study" in looked.err
    assert training.exists()
    assert run("gc").code == 2, "nobody is there to ask"
    ended = run("gc", "--yes")
    assert ended.code == 0
    assert "freed 3 MB" in ended.err
    assert [path.exists() for path in (training, draft, model, fresh, teacher, stranger)] == [False] * 2 + [True] * 4
    tree = json.loads(run("gc", "--yes", "--caches", "--orphans", "--json").out)
    assert {one["what"] for one in tree["leftovers"]} == {"fine-tuned teachers", "files of no study in this database"}
    assert not teacher.exists()
    assert not stranger.exists()


def test_gc_leaves_a_study_alone_that_somebody_goes_on_with(store: Store, run: Run, cache: Path) -> None:
    training = write(store.folder("quickstart") / "training" / "checkpoint.safetensors", 1000)
    with store.lease("quickstart"):
        ended = run("gc", "--yes")
    assert "left alone: study 'quickstart' is being run by process" in ended.err
    assert training.exists()


def test_what_a_link_leads_to_is_not_deleted(store: Store, run: Run, folder: Path) -> None:
    mine = write(folder / "mine" / "thesis.txt", 10)
    store.artifacts.mkdir(exist_ok=True)
    (store.folder("quickstart")).symlink_to(mine.parent)
    assert run("rm", "quickstart", "--yes").code == 0
    assert mine.exists()


def test_a_study_that_is_run_is_removed_only_by_taking_it_over(store: Store, run: Run) -> None:
    with store.lease("quickstart"):
        refused = run("rm", "quickstart", "--yes")
        assert refused.code == 5
        assert "is being run by process" in refused.err
        assert "--takeover" in refused.err
        assert run("rm", "quickstart", "--yes", "--takeover").code == 0
    assert store.studies() == []
