"""The table of broken inputs through the real command line: each ends with its documented exit code and one clear
message; nothing is lost, executed or trained. The count is printed at the end of the run (`tests/conftest.py`)."""

from __future__ import annotations

import importlib
import os
import shlex
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
import typer

import autocompress
from autocompress.cli import main
from tests.broken import arguments, checkpoints, data, databases, environments, exports, profiles, studies, tasks
from tests.broken.given import exported, project, stored
from tests.broken.table import Broken, Ended, Given, faults, snapshot
from tests.fresh import FRESH

KINDS = {
    "studies": studies.ROWS,
    "profiles": profiles.ROWS,
    "databases": databases.ROWS,
    "arguments": arguments.ROWS,
    "environments": environments.ROWS,
    "checkpoints": checkpoints.ROWS,
    "data": data.ROWS,
    "exports": exports.ROWS,
    "tasks": tasks.ROWS,
}
ROWS = [pytest.param(row, id=f"{kind}: {row.name}") for kind, rows in KINDS.items() for row in rows]
LEAST = 60
FORGOTTEN = ("AUTOCOMPRESS_STORAGE", "AUTOCOMPRESS_ARTIFACTS", "COLUMNS", "FORCE_COLOR", "RAY_ADDRESS")

Make = Callable[[Given], Path]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A folder of each kind, made once: rows get copies."""
    ways: dict[Given, Callable[[Path], None]] = {
        "nothing": lambda _: None,
        "project": project,
        "stored": stored,
        "exported": exported,
    }
    made: dict[Given, Path] = {}

    def template(given: Given) -> Path:
        if given not in made:
            made[given] = tmp_path_factory.mktemp(given)
            ways[given](made[given])
        return made[given]

    return template


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder of its own; pytest's are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="broken-") as folder:
        yield Path(folder).resolve()


@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", ROWS)
def test_a_broken_input_is_refused_as_documented(
    row: Broken, make: Make, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    if row.user is not None and not is_open_to_all(Path(typer.__file__)):
        pytest.skip("another user may not read the libraries here")
    here, cache = place / "here", place / "cache"
    shutil.copytree(make(row.given), here, symlinks=True)
    if row.user is not None:
        open_to_all(place)
    monkeypatch.chdir(here)
    for name in FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AUTOCOMPRESS_CACHE": str(cache), "HF_HUB_OFFLINE": "1", **row.environment}.items():
        monkeypatch.setenv(name, value)
    row.build(here)
    before = snapshot(here)
    if row.user is not None:
        ended = as_another_user(row, place)
    else:
        ended = in_a_process(row) if row.prefix else in_this_one(row, capfd)
    found = faults(row, ended, before, snapshot(here))
    if trained := sorted(path.name for path in cache.rglob("*") if path.is_file()):
        found.append(f"trained or fetched: {', '.join(trained)}")
    assert not found, "\n".join([f"autocompress {row.command}", *found, "it said:", ended.err + ended.out])


def in_this_one(row: Broken, capfd: pytest.CaptureFixture[str]) -> Ended:
    capfd.readouterr()
    threads = torch.get_num_threads()
    try:
        code = main(shlex.split(row.command))
    finally:
        torch.set_num_threads(threads)
    said = capfd.readouterr()
    return Ended(code, said.out, said.err)


def in_a_process(row: Broken) -> Ended:
    done = subprocess.run(
        [*row.prefix, sys.executable, "-m", "autocompress", *shlex.split(row.command)],
        env={**os.environ, "PYTHONPATH": str(Path(autocompress.__path__[0]).parent)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


_NEEDED = (
    "autocompress.study.study",
    "autocompress.cli.app",
    "autocompress.report",
    "alembic.command",
    "rich.table",
    "encodings.idna",
    "encodings.utf_8_sig",
)


def as_another_user(row: Broken, place: Path) -> Ended:
    """With no home, as ours is none of theirs."""
    out, err = place / "out", place / "err"
    environment = {name: value for name, value in os.environ.items() if name != "HOME"}
    process = FRESH.Process(target=_as_user, args=(row.user, row.command, Path.cwd(), environment, out, err))
    process.start()
    process.join(60)
    assert process.exitcode is not None, "it hangs"
    return Ended(process.exitcode, out.read_text(encoding="utf-8"), err.read_text(encoding="utf-8"))


def _as_user(user: int, command: str, here: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    """The command line of another user; all of it is imported first, as an interpreter in a home of root's is closed to
    others."""
    for module in _NEEDED:
        importlib.import_module(module)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(here)
    for number, file in ((0, Path(os.devnull)), (1, out), (2, err)):
        os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), number)
    if os.geteuid() == 0:
        os.setgroups([])
        os.setgid(user)
        os.setuid(user)
    sys.exit(main(shlex.split(command)))


def is_open_to_all(file: Path) -> bool:
    """Whether another user may read a file: he must get through every folder above it."""
    above = all(place.stat().st_mode & stat.S_IXOTH for place in file.resolve().parents)
    return above and bool(file.stat().st_mode & stat.S_IROTH)


def open_to_all(folder: Path) -> None:
    """Another user may do there as the tests' own does."""
    for place in [folder, *folder.rglob("*")]:
        place.chmod(0o777 if place.is_dir() else 0o666)


def test_the_table_is_long_enough_and_every_row_has_a_name_of_its_own() -> None:
    names = [str(row.id) for row in ROWS]
    assert len(names) >= LEAST
    assert len(set(names)) == len(names)
