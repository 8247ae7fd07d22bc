"""A disk that is full at every point of a study's growth, and where a user lets something be written."""

from __future__ import annotations

import contextlib
import os
import random
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from tests.faults.counting import Row
from tests.faults.flips import finished
from tests.faults.programs import PATIENCE, Program, Start
from tests.faults.projects import NAME, Project, database_of, left_alone, project
from tests.postgres import Server

_FILES, _DATABASE = 4, 5
"""Exit codes of a file that cannot be written, and of a database."""
_PAGE = 4096
_STEPS = (15, 40)
"""Pages by which a disk grows after it was full, at least and at most."""
_KINDS = ("teachers", "digests", "importance", "elastic", "baselines")
_MOST = 400


def may_mount() -> bool:
    if os.geteuid() or not shutil.which("unshare"):
        return False
    apart = ["unshare", "--mount", "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", "/tmp"]
    return subprocess.run(apart, capture_output=True, check=False).returncode == 0


@contextlib.contextmanager
def small_disk(folder: Path, pages: int) -> Iterator[None]:
    """A disk of its own at a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={pages * _PAGE}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _grow(folder: Path, pages: int) -> None:
    held = os.statvfs(folder)
    size = held.f_blocks * held.f_frsize + pages * _PAGE
    subprocess.run(["mount", "-o", f"remount,size={size}", str(folder)], check=True)


def full_disks(start: Start, server: Server | None, *, place: str, most: int = _MOST) -> Iterator[Row]:
    """A study whose `place` (its artifacts, or everything that it keeps) lies on a disk that is full again
    and again: a few pages more each time, until the study is complete. `found` says what could not be written."""
    row = Row(f"disk full: {place}", "again at every few pages of growth", database_of(server), "0")
    changes = {"sampler": "nsga2"}
    whole, _ = left_alone(start, **changes)
    chance = random.Random(place)
    with project(start, server=server, keeps="disk", **changes) as one:
        disk = one.artifacts if place == "artifacts" else one.kept
        with small_disk(disk, pages=2):
            while row.times < most and _is_full_again(row, one, place):
                _grow(disk, chance.randint(*_STEPS))
                if row.times == most:
                    _grow(disk, 100_000)
            one.brought_to_its_end(0, whole, row)
            row.wrong += [f"left behind: {path}" for path in one.kept.rglob("*.part")]
    yield row


def full_caches(start: Start, server: Server | None) -> Iterator[Row]:
    """A study that finds no room for one kind of entry after the other."""
    row = Row("disk full: cache", "a disk without room for each kind of entry", database_of(server), "0")
    changes = {"sampler": "nsga2"}
    whole, _ = left_alone(start, **changes)
    with project(start, server=server, **changes) as one:
        for kind in _KINDS:
            with small_disk(one.cache / kind, pages=1):
                (one.cache / kind / ".taken").write_bytes(bytes(_PAGE))
                if not _is_full_again(row, one, kind):
                    row.wrong.append(f"it needs no room for {kind}")
        one.brought_to_its_end(0, whole, row)
    yield row


def _is_full_again(row: Row, one: Project, place: str) -> bool:
    program = one.go_on(0)
    code = program.exit_code(PATIENCE)
    if code == 0:
        return False
    row.times += 1
    row.found[_file_named(program, one)] += 1
    allowed = {_FILES, _DATABASE} if place == "everything" else {_FILES}
    said, state = program.said, one.state()
    if code not in allowed or "Traceback" in said or "disk is full" not in said:
        row.wrong.append(f"exit {code}: {said[-700:]}")
    if code == _FILES and " free there" not in said:
        row.wrong.append(f"it does not say what is missing: {said[-300:]}")
    if code == _FILES and state not in ("interrupted", ""):
        row.wrong.append(f"its state is {state!r} after {said[-300:]}")
    one.look(row)
    return True


def _file_named(program: Program, one: Project) -> str:
    """Which file could not be written, without what is another one in each study."""
    errors = [line for line in program.said.splitlines() if line.startswith("error: ")]
    named = errors[-1].removeprefix("error: ") if errors else program.said[-60:]
    path = named.partition(": ")[0]
    if path.startswith("sqlite"):
        return "database"
    path = path.replace(f"{one.kept}/", "")
    return re.sub(r"[0-9a-f]{8,}", "*", path)


def full_elsewhere(start: Start, server: Server | None) -> Iterator[Row]:
    row = Row("disk full: what a command writes", "a disk of two pages", database_of(server))
    with finished(start, server) as one:
        full_commands(row, one)
    yield row


def full_commands(row: Row, one: Project) -> None:
    """What commands write where the user says: nothing may be there afterwards that looks whole."""
    (digest, *_) = [key for key, quality in one.found().finalists.items() if quality is not None]
    out = one.folder / "out"
    commands = {
        "export": ("export", NAME, digest, "--out", "out/model"),
        "pick --out": ("pick", NAME, "--knee", "--out", "out/model"),
        "bundle": ("bundle", NAME, "--out", "out/bundle"),
        "pareto --html": ("pareto", NAME, "--html", "out/page.html"),
        "pareto --png": ("pareto", NAME, "--png", "out/page.png"),
    }
    for name, command in commands.items():
        with small_disk(out, pages=2):
            program = one.begin(*command)
            code = program.exit_code(PATIENCE)
            left = [path.name for path in out.rglob("*") if path.is_file()]
        row.times += 1
        row.found[f"{name}: exit {code}"] += 1
        if code != _FILES or "disk is full" not in program.said or left:
            row.wrong.append(f"{name}: exit {code}, left {left}: {program.said[-500:]}")
        began = time.monotonic()
        if (code := one.begin(*command).exit_code(PATIENCE)) != 0:
            row.stuck += 1
            row.wrong.append(f"{name}: with room again it ended with {code}")
        row.seconds.append(time.monotonic() - began)
        shutil.rmtree(out, ignore_errors=True)
