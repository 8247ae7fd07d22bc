"""What a study keeps, on a disk that fills up and on a machine that others use too. One small study, by the real
command line: refused for lack of room, gone on with, looked at by its user and by somebody else."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import typer

import autocompress
from autocompress.cli import main
from autocompress.store import Store
from tests.broken.test_broken_inputs import is_open_to_all
from tests.given_study import BOARD, CUTS, write_data, write_study, write_telling_model

pytestmark = pytest.mark.slow

HERS, HIS = 12345, 12346
"""Two users that have nothing to do with each other."""
SMALL = {
    "space": CUTS,
    "device": "board.yaml",
    "budget": {"trials": 3},
    "objectives": {"quality": "maximize", "size_mb": "minimize", "macs": "minimize"},
    "elastic": {"steps": 1, "batch_size": 16, "learning_rate": 1.0e-3},
    "finalists": {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
}
AS_SOMEBODY = """
import os, sys
import numpy, onnxruntime, autocompress.study.study, autocompress.cli.app
import autocompress.deploy.measure, autocompress.report
import encodings.idna, encodings.utf_8_sig
os.setgroups([]); os.setgid(int(sys.argv[1])); os.setuid(int(sys.argv[1]))
sys.exit(autocompress.cli.main(["measure", sys.argv[2], "--rounds", "5"]))
"""
"""`autocompress measure` of another user; imported first, as an interpreter in a home of root's is closed to others."""


@dataclass(frozen=True)
class Kept:
    """The study's folder, and how its run ended while there was no room: None where no small disk could be mounted."""

    folder: Path
    refused: tuple[int, str, str] | None

    @property
    def places(self) -> list[Path]:
        tops = [self.folder / name for name in ("autocompress.db", "autocompress-artifacts", "cache")]
        return [place for top in tops for place in (top, *top.rglob("*"))]


@pytest.fixture(scope="module")
def kept() -> Iterator[Kept]:
    folder = Path(tempfile.mkdtemp(prefix="private-"))
    folder.chmod(0o755)
    write_data(folder / "texts.csv", rows=120)
    write_telling_model(folder / "model")
    (folder / "board.yaml").write_text(BOARD)
    write_study(folder, **SMALL)
    disk, refused = folder / "autocompress-artifacts", None
    with settled(folder):
        has_disk = mount(disk, "8k")
        try:
            if has_disk:
                said = folder / "said.txt"
                code = told(said, "run", "mine.yaml", "--workers", "0")
                with Store.open(create=False) as store:
                    refused = code, said.read_text(), store.study("mine").state
                subprocess.run(["mount", "-o", "remount,size=100m", str(disk)], check=True)
                assert main(["resume", "mine", "--workers", "0"]) == 0
            else:
                assert main(["run", "mine.yaml", "--workers", "0"]) == 0
            yield Kept(folder, refused)
        finally:
            if has_disk:
                subprocess.run(["umount", "--lazy", str(disk)], check=False)
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def settled(folder: Path) -> Iterator[None]:
    """In the folder, under the umask that most users have, with a cache of its own."""
    before = os.getcwd(), os.umask(0o022), torch.get_num_threads()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTOCOMPRESS_CACHE", str(folder / "cache"))
        patch.delenv("AUTOCOMPRESS_STORAGE", raising=False)
        os.chdir(folder)
        try:
            yield
        finally:
            os.chdir(before[0])
            os.umask(before[1])
            torch.set_num_threads(before[2])


def mount(place: Path, size: str) -> bool:
    """A disk of that size there; False where that is not allowed."""
    place.mkdir(mode=0o700)
    mounting = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(place)]
    return os.geteuid() == 0 and subprocess.run(mounting, capture_output=True, check=False).returncode == 0


def told(said: Path, *arguments: str) -> int:
    """A command in this process, whose stderr goes to a file."""
    with said.open("w") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stderr", file)
        return main(list(arguments))


def test_a_full_disk_says_what_is_missing_and_leaves_a_study_that_can_be_gone_on_with(kept: Kept) -> None:
    if kept.refused is None:
        pytest.skip("no disk of its own may be mounted here")
    code, said, state = kept.refused
    assert (code, state) == (4, "interrupted"), said
    assert "checkpoint.safetensors: cannot be written: the disk is full; free some space" in said
    assert "kB are needed" in said
    assert "are missing)" in said
    assert "autocompress resume mine" in said


def test_all_that_a_study_keeps_is_its_user_s_alone(kept: Kept) -> None:
    open_ones = [str(one.relative_to(kept.folder)) for one in kept.places if stat.S_IMODE(one.lstat().st_mode) & 0o077]
    assert open_ones == []
    assert len(kept.places) > 20


def test_an_export_is_as_the_umask_says_and_all_of_it_alike(kept: Kept) -> None:
    os.umask(0o027)
    assert main(["pick", "mine", "--knee", "--out", "picked"]) == 0
    os.umask(0o022)
    modes = {stat.S_IMODE(one.stat().st_mode) for one in (kept.folder / "picked").iterdir()}
    assert (modes, stat.S_IMODE((kept.folder / "picked").stat().st_mode)) == ({0o640}, 0o750)


def test_nothing_that_a_study_keeps_is_pickled(kept: Kept) -> None:
    files = [one for one in kept.places if one.is_file()]
    assert [one.name for one in files if one.suffix == ".pkl" or one.read_bytes()[:1] == b"\x80"] == []


def somebody(user: int, model: str, *, folder: Path, shared: Path) -> subprocess.Popen[str]:
    root = str(Path(autocompress.__path__[0]).parent)
    return subprocess.Popen(
        [sys.executable, "-c", AS_SOMEBODY, str(user), model],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": root, "HOME": str(folder), "TMPDIR": str(shared), "XDG_RUNTIME_DIR": ""},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextmanager
def as_somebody_else(user: int) -> Iterator[None]:
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.long
def test_two_users_of_one_machine_measure_side_by_side_and_none_gets_at_the_other_s(
    kept: Kept, capsys: pytest.CaptureFixture[str]
) -> None:
    if os.geteuid() != 0 or not is_open_to_all(Path(typer.__file__)):
        pytest.skip("only root can be two users, where the libraries are open to both")
    shared, his, target = kept.folder / "shared", kept.folder / "his", kept.folder / "years-of-work"
    assert main(["pick", "mine", "--knee", "--out", "his/model", "--storage", "autocompress.db"]) == 0
    shared.mkdir()
    shared.chmod(0o1777)
    target.write_text("hers")
    for owner, place in ((HERS, kept.folder), (HIS, his)):
        for one in (place, *place.rglob("*")):
            os.chown(one, owner, owner)
    link = shared / f"autocompress-timing-{HERS}.lock"
    link.symlink_to(target)
    os.chown(link, HIS, HIS, follow_symlinks=False)

    asked = [
        somebody(HERS, "his/model", folder=kept.folder, shared=shared),
        somebody(HIS, "model", folder=his, shared=shared),
    ]
    said = [one.communicate(timeout=120)[0] for one in asked]
    assert [one.returncode for one in asked] == [0, 0], said
    assert "no lock" in said[0]
    assert target.read_text() == "hers", "nothing is opened through a link that somebody laid"
    with as_somebody_else(HIS):
        assert main(["list", "--storage", "autocompress.db"]) == 5
        assert main(["export", "mine", "1", "--out", "his/x", "--storage", "autocompress.db"]) == 5
        for place in kept.places:
            for attempt in (lambda one: one.rename(his / "taken"), os.utime, lambda one: one.chmod(0o777)):
                with pytest.raises(PermissionError):
                    attempt(place)
    assert "the file cannot be opened" in capsys.readouterr().err
    assert main(["list"]) == 0
