"""An export is believed as far as it is proved: by the study's database, and else by its own manifest."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from autocompress.assets import file_digest
from autocompress.errors import IntegrityError
from autocompress.exported.proof import prove, stored_files
from autocompress.store import Store
from tests.report import given

from .conftest import Run
from .given_exports import with_folders

FLIPS = 1000


@pytest.fixture
def digests(folder: Path) -> Iterator[list[str]]:
    given.write_finished(folder / "autocompress.db")
    with Store.open() as store:
        yield with_folders(store)


def flipped(path: Path, chance: random.Random) -> bytes:
    """One bit of one byte of a file, changed in place; what the file held before."""
    before = path.read_bytes()
    place = chance.randrange(len(before))
    path.write_bytes(before[:place] + bytes([before[place] ^ (1 << chance.randrange(8))]) + before[place + 1 :])
    return before


def test_every_flipped_byte_of_a_stored_export_is_found(digests: list[str], folder: Path) -> None:
    chance = random.Random(0)
    with Store.open() as store:
        one = next(one for one in store.finalists("quickstart") if one.candidate.digest == digests[0])
        stored = store.folder("quickstart") / digests[0]
        files = sorted(stored.iterdir())
        assert set(stored_files(store, "quickstart", one)) == {path.name for path in files}
        for number in range(FLIPS):
            path = files[number % len(files)] if number % 2 else stored / "manifest.json"
            before = flipped(path, chance)
            with pytest.raises(IntegrityError, match=re.escape(str(stored))):
                stored_files(store, "quickstart", one)
            path.write_bytes(before)


def test_every_flipped_byte_of_a_manifest_is_found_beside_its_database(
    digests: list[str], run: Run, folder: Path
) -> None:
    assert run("export", "quickstart", digests[0], "--out", "picked").code == 0
    manifest, chance = folder / "picked" / "manifest.json", random.Random(1)
    with Store.open() as store:
        assert prove(folder / "picked", store).proved
        for _ in range(300):
            before = flipped(manifest, chance)
            with pytest.raises(IntegrityError, match="keeps of this model in sqlite:///autocompress.db"):
                prove(folder / "picked", store)
            manifest.write_bytes(before)


def test_labels_in_another_order_are_refused_by_verify_and_by_export(
    digests: list[str], run: Run, folder: Path
) -> None:
    run("export", "quickstart", digests[0], "--out", "picked")
    with Store.open() as store:
        stored = store.folder("quickstart") / digests[0]
    for place in (folder / "picked", stored):
        tree = json.loads((place / "manifest.json").read_text())
        tree["task"]["labels"].reverse()
        (place / "manifest.json").write_text(json.dumps(tree, indent=1, sort_keys=True) + "\n")
    verified, exported = run("verify", "picked"), run("export", "quickstart", digests[0], "--out", "new")
    assert (verified.code, exported.code) == (7, 7)
    assert "manifest.json: not the one that study 'quickstart' keeps of this model" in verified.err
    assert "manifest.json: not what the study's database keeps" in exported.err
    assert not (folder / "new").exists()


def test_a_file_replaced_along_with_its_digest_a_link_and_an_addition_are_not_exported(
    digests: list[str], run: Run, folder: Path
) -> None:
    with Store.open() as store:
        stored = store.folder("quickstart") / digests[0]
    shutil.copytree(stored, folder / "safe")

    def replaced() -> None:
        (stored / "example.py").write_text("import os; os.system('true')")
        tree = json.loads((stored / "manifest.json").read_text())
        tree["files"]["example.py"] = file_digest(stored / "example.py")
        (stored / "manifest.json").write_text(json.dumps(tree))

    def linked() -> None:
        (stored / "model.onnx").unlink()
        (stored / "model.onnx").symlink_to(folder / "safe" / "model.onnx")

    def linked_whole() -> None:
        shutil.rmtree(stored)
        stored.symlink_to(folder / "safe")

    def added() -> None:
        (stored / "sitecustomize.py").write_text("")

    for change, said in {
        replaced: "example.py: not what the study's database keeps",
        linked: "model.onnx: is a link",
        added: "sitecustomize.py: not part of the export",
        linked_whole: "is a link, which no study makes",
    }.items():
        change()
        for command in (("export", "quickstart", digests[0]), ("pick", "quickstart", "--candidate", digests[0])):
            ended = run(*command, "--out", "out")
            assert (ended.code, said in ended.err) == (7, True), (command, ended.err)
            assert not (folder / "out").exists()
        if stored.is_symlink():
            stored.unlink()
        else:
            shutil.rmtree(stored)
        shutil.copytree(folder / "safe", stored)
    assert run("export", "quickstart", digests[0], "--out", "out").code == 0


def test_without_its_database_a_folder_is_taken_at_its_word_and_that_is_said(
    digests: list[str], run: Run, folder: Path
) -> None:
    run("export", "quickstart", digests[0], "--out", "picked")
    assert "no study database is here; name one with --storage" in prove(folder / "picked", None).words
    with Store.open(str(folder / "other.db")) as other:
        found = prove(folder / "picked", other)
    assert not found.proved
    assert "no study of sqlite:///" in found.words
    ended = run("verify", "picked", "--storage", "nowhere.db")
    assert ended.code == 3
    assert "there is no study database at nowhere.db" in ended.err
