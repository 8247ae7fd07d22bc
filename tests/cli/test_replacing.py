"""What is written where something stands: only an earlier export of ours goes, and nothing of the user's with it."""

from __future__ import annotations

import itertools
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from autocompress.deploy.folder import read_manifest, verify_files
from autocompress.store import Store
from tests.report import given

from .conftest import ROOT, Run
from .given_exports import FILES, with_folders


@pytest.fixture
def digests(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Two exported models of the study `quickstart`, in a home that has nothing else."""
    monkeypatch.setenv("HOME", str(folder / "home"))
    (folder / "home").mkdir()
    (folder / "home" / "letter.txt").write_text("dear")
    given.write_finished(folder / "autocompress.db")
    with Store.open() as store:
        yield with_folders(store)


def everything(folder: Path) -> dict[str, bytes | str]:
    """Every file's content and every link's target, but for the cache that ONNX Runtime makes in a home."""
    return {
        path.relative_to(folder).as_posix(): os.readlink(path) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if (path.is_symlink() or path.is_file()) and ".cache" not in path.parts
    }


def thesis(folder: Path) -> Path:
    place = folder / "thesis"
    (place / "chapters").mkdir(parents=True)
    (place / "chapters" / "one.tex").write_text("years of work")
    return place


def stored_in(folder: Path) -> Path:
    """Where the study's files lie."""
    (found,) = (folder / "autocompress-artifacts").glob("quickstart-*")
    return found


def with_a_manifest(folder: Path) -> Path:
    """Somebody's folder that a manifest got into, but not the files that it names."""
    place = thesis(folder)
    first = next(path for path in sorted(stored_in(folder).iterdir()) if path.name != "baseline")
    (place / "manifest.json").write_bytes((first / "manifest.json").read_bytes())
    return place


def checkout(folder: Path) -> Path:
    place = folder / "checkout"
    (place / ".git").mkdir(parents=True)
    return place


def linked(target: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        (folder / "link").symlink_to(folder / target)
        return folder / "link"

    make.__name__ = f"link to {target}"
    return make


def a_loop(folder: Path) -> Path:
    (folder / "loop").symlink_to(folder / "loop")
    return folder / "loop"


def foreign_manifest(folder: Path) -> Path:
    """A browser extension has a manifest.json too."""
    place = thesis(folder)
    (place / "manifest.json").write_text('{"format": 2, "files": {"a.js": "00"}}')
    return place


def beside_another_database(folder: Path) -> Path:
    """The stored files of a study of another database."""
    with Store.open(str(folder / "other.db")) as store:
        digest = with_folders(store, "theirs")[1]
    return folder / "other-artifacts" / "theirs" / digest


PLACES: list[Callable[[Path], Path]] = [
    thesis,
    with_a_manifest,
    foreign_manifest,
    checkout,
    a_loop,
    beside_another_database,
    *map(linked, ("thesis", "autocompress-artifacts", "home", "autocompress.db", "nowhere", ".")),
]
NAMED = [
    ".", "..", "/", "~", "home", "home/..", "autocompress.db", "autocompress.db/below", "autocompress.db-journal",
    "autocompress-artifacts", "autocompress-artifacts/new", "x" * 300,
]  # fmt: skip


@pytest.mark.long
def test_nothing_is_lost_wherever_an_export_is_asked_for(digests: list[str], run: Run, folder: Path) -> None:
    commands = [("pick", "quickstart"), ("export", "quickstart", digests[0], "--force"), ("bundle", "quickstart"),
                ("pick", "quickstart", "--force"), ("bundle", "quickstart", "--force")]  # fmt: skip
    turns = itertools.cycle(commands)
    given = [os.path.expanduser(name) for name in NAMED]
    given += [str(stored_in(folder)), str(stored_in(folder) / "baseline")]
    for make in PLACES:
        place = make(folder)
        given += [str(place)] if not place.is_symlink() else [str(place), f"{place}/"]
        before = everything(folder)
        for out in given:
            for command in (next(turns), next(turns)):
                ended = run(*command, "--out", out)
                now = everything(folder)
                changed = [name for name in before | now if before.get(name) != now.get(name)]
                assert (ended.code, changed) == (2, []), (command, out, ended.err)
                assert "choose another folder" in ended.err or "name " in ended.err, ended.err
                assert "Traceback" not in ended.err
        given.clear()
        _remove(folder, place)


def _remove(folder: Path, place: Path) -> None:
    import shutil

    if place.is_symlink():
        place.unlink()
    elif place.parent == folder:
        shutil.rmtree(place)


def test_an_earlier_export_is_replaced_without_force(digests: list[str], run: Run, folder: Path) -> None:
    out = folder / "picked"
    for digest in (*digests, digests[0]):
        ended = run("export", "quickstart", digest, "--out", "picked")
        assert (ended.code, read_manifest(out).digest) == (0, digest)
        verify_files(out)
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} == set()


def test_what_the_user_added_or_edited_is_kept_and_named(digests: list[str], run: Run, folder: Path) -> None:
    out = folder / "picked"
    assert run("export", "quickstart", digests[0], "--out", "picked").code == 0
    (out / "README.md").write_text("---\nlicense: mit\n---\nMy words")
    (out / "notes" / "deep").mkdir(parents=True)
    (out / "notes" / "deep" / "a.txt").write_text("mine")
    (out / "empty").mkdir()
    (out / ".DS_Store").write_bytes(b"\0")
    (out / "link").symlink_to("notes")
    (out / "weights.safetensors").unlink()  # may be removed: the export answers without
    (out / "model.onnx").write_text("fine-tuned by hand")
    ended = run("export", "quickstart", digests[1], "--out", "picked")
    assert ended.code == 0
    assert "kept README.md, edited since it was exported, as README.md.edited" in ended.err
    assert "kept what is not of the export: .DS_Store, empty, link, notes/deep/a.txt" in ended.err
    found = everything(out)
    assert found["README.md"] == f"# The card of {digests[1]}\n".encode()
    assert found["README.md.edited"] == b"---\nlicense: mit\n---\nMy words"
    assert found["model.onnx.edited"] == b"fine-tuned by hand"
    assert (found["notes/deep/a.txt"], found[".DS_Store"], found["link"]) == (b"mine", b"\0", "notes")
    assert (out / "empty").is_dir()
    assert {*FILES, "manifest.json"} <= found.keys()

    (out / "README.md").write_text("edited again")
    assert run("export", "quickstart", digests[0], "--out", "picked").code == 0
    found = everything(out)
    assert (found["README.md.edited"], found["README.md.edited2"]) == (
        b"---\nlicense: mit\n---\nMy words",
        b"edited again",
    )


def test_the_same_export_again_leaves_the_words_of_its_card(digests: list[str], run: Run, folder: Path) -> None:
    run("export", "quickstart", digests[0], "--out", "picked")
    (folder / "picked" / "README.md").write_text("My words")
    (folder / "picked" / "LICENSE").write_text("MIT")
    before = everything(folder)
    assert run("export", "quickstart", digests[0], "--out", "picked").code == 0
    assert everything(folder) == before
    (folder / "picked" / "model.onnx").write_text("damaged")
    assert run("export", "quickstart", digests[0], "--out", "picked").code == 0
    assert (folder / "picked" / "model.onnx").read_text() == f"model.onnx of {digests[0]}\n"


def test_a_file_of_an_export_that_is_gone_makes_the_folder_somebodys(
    digests: list[str], run: Run, folder: Path
) -> None:
    run("export", "quickstart", digests[0], "--out", "picked")
    (folder / "picked" / "model.onnx").unlink()
    ended = run("export", "quickstart", digests[1], "--out", "picked")
    assert ended.code == 2
    assert "no whole earlier export: it lists model.onnx, which is not there" in ended.err


REPLACING = """
import sys
from pathlib import Path
from autocompress.assets import new_export
import shutil
first, second, out = map(Path, sys.argv[1:])
print("ready", flush=True)
while True:
    for source in (first, second):
        with new_export(out) as draft:
            shutil.copytree(source, draft, dirs_exist_ok=True)
"""


@pytest.mark.expectation(25)
def test_killed_at_any_moment_a_whole_export_stands_and_nothing_is_left_beside_it(
    digests: list[str], run: Run, folder: Path
) -> None:
    run("export", "quickstart", digests[0], "--out", "picked")
    out, stored = folder / "picked", stored_in(folder)
    (out / "mine.txt").write_text("mine")
    moments = random.Random(0)
    for _ in range(8):
        writer = subprocess.Popen(
            [sys.executable, "-c", REPLACING, stored / digests[0], stored / digests[1], out],
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        assert writer.stdout is not None
        writer.stdout.readline()
        time.sleep(moments.uniform(0, 0.08))
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        found = {name: content for name, content in everything(out).items() if name != "mine.txt"}
        assert (found in (everything(stored / digests[0]), everything(stored / digests[1]))) is True
        assert (out / "mine.txt").read_text() == "mine"
    for digest in digests:
        assert run("export", "quickstart", digest, "--out", "picked").code == 0
    assert [path.name for path in folder.iterdir() if path.name.startswith(".")] == []


def test_files_of_others_are_not_written_over(digests: list[str], run: Run, folder: Path) -> None:
    (folder / "mine.html").write_text("<title>My thesis</title>")
    (folder / "mine.png").write_bytes(b"\x89PNG\r\n\x1a\n of somebody")
    (folder / "mine.json").write_text('{"results": [1, 2]}')
    (folder / "mine.yaml").write_text("name: my-study\nsteps: []\n")
    (folder / "new.yaml.part").write_text("half of something else")
    (folder / "attention").mkdir()
    (folder / "attention" / "attention.png").write_bytes(b"a drawing")
    (folder / "link.html").symlink_to("mine.html")
    before = everything(folder)
    for command in (
        ("pareto", "quickstart", "--html", "mine.html"),
        ("pareto", "quickstart", "--html", "link.html"),
        ("pareto", "quickstart", "--html", "autocompress.db"),
        ("pareto", "quickstart", "--html", "autocompress.db-journal"),
        ("pareto", "quickstart", "--html", "autocompress-artifacts/front.html"),
        ("pareto", "quickstart", "--html", "attention"),
        ("pareto", "quickstart", "--png", "mine.png"),
        ("pareto", "quickstart", "--png", "front.jpg"),
        ("devices", "raspberry-pi-4", "--png", "mine.png"),
        ("explain", "quickstart", "--out", "attention"),
        ("measure", str(stored_in(folder)), "--out", "mine.json"),
        ("profile", "--quick", "--out", "mine.yaml", "--force"),
        ("profile", "--quick", "--out", "new.yaml"),
    ):
        ended = run(*command)
        assert (ended.code, everything(folder) == before) == (2, True), (command, ended.err)
        assert "Traceback" not in ended.err


def test_a_page_and_a_picture_of_ours_are_written_anew(digests: list[str], run: Run, folder: Path) -> None:
    (folder / "empty.html").touch()
    for _ in range(2):
        for file in ("front.html", "empty.html", "front.png"):
            assert run("pareto", "quickstart", f"--{file[-4:].strip('.')}", file).code == 0
    assert (folder / "front.html").read_text("utf-8") == (folder / "empty.html").read_text("utf-8")
    assert run("pareto", "quickstart", "--html", "/dev/stdout").code == 0
