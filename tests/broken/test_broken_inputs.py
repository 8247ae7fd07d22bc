"""The table of broken inputs through the real command line: each ends with its documented exit code and one clear
message; nothing is lost, executed or trained. The count is printed at the end of the run (`tests/conftest.py`)."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import autocompress
from autocompress.cli import main
from tests.broken import arguments, databases, environments, profiles, studies
from tests.broken.given import project, stored
from tests.broken.table import Broken, Ended, Given, faults, snapshot

KINDS = {
    "studies": studies.ROWS,
    "profiles": profiles.ROWS,
    "databases": databases.ROWS,
    "arguments": arguments.ROWS,
    "environments": environments.ROWS,
}
ROWS = [pytest.param(row, id=f"{kind}: {row.name}") for kind, rows in KINDS.items() for row in rows]
LEAST = 60
FORGOTTEN = ("AUTOCOMPRESS_STORAGE", "AUTOCOMPRESS_ARTIFACTS", "COLUMNS", "FORCE_COLOR", "RAY_ADDRESS")

Make = Callable[[Given], Path]


@pytest.fixture(scope="session")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """A folder of each kind, made once: rows get copies."""
    ways: dict[Given, Callable[[Path], None]] = {"nothing": lambda _: None, "project": project, "stored": stored}
    made: dict[Given, Path] = {}

    def template(given: Given) -> Path:
        if given not in made:
            made[given] = tmp_path_factory.mktemp(given)
            ways[given](made[given])
        return made[given]

    return template


@pytest.mark.timeout(60)
@pytest.mark.parametrize("row", ROWS)
def test_a_broken_input_is_refused_as_documented(
    row: Broken, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    here, cache = tmp_path / "here", tmp_path / "cache"
    shutil.copytree(make(row.given), here, symlinks=True)
    if row.prefix:
        others_may_enter(tmp_path)
        require(row.prefix)
    monkeypatch.chdir(here)
    for name in FORGOTTEN:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"AUTOCOMPRESS_CACHE": str(cache), "HF_HUB_OFFLINE": "1", **row.environment}.items():
        monkeypatch.setenv(name, value)
    row.build(here)
    before = snapshot(here)
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


def others_may_enter(folder: Path) -> None:
    """A process of another user's works in it, and in everything of it."""
    for place in [folder, *folder.parents]:
        if place.owner() == folder.owner() and place != Path(place.anchor):
            place.chmod(place.stat().st_mode | 0o055)
    for place in [folder / "here", *(folder / "here").rglob("*")]:
        place.chmod(place.stat().st_mode | (0o077 if place.is_dir() else 0o066))


def require(prefix: tuple[str, ...]) -> None:
    """Skips where the prefix is of no use here: no `setpriv`, or a checkout that others cannot read."""
    tried = subprocess.run(
        [*prefix, sys.executable, "-c", "import autocompress"], capture_output=True, check=False, cwd="/"
    )
    if tried.returncode:
        pytest.skip(f"{shlex.join(prefix)}: {tried.stderr.decode(errors='replace')[-200:]}")


def test_the_table_is_long_enough_and_every_row_has_a_name_of_its_own() -> None:
    names = [str(row.id) for row in ROWS]
    assert len(names) >= LEAST
    assert len(set(names)) == len(names)
