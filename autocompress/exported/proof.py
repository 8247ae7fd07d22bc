"""How far an exported folder is proved: its manifest vouches for its files, and a study's database for the manifest."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from autocompress.assets import MANIFEST, file_digest
from autocompress.deploy.folder import MODEL, read_manifest, verify_files
from autocompress.errors import IntegrityError, NotFoundError
from autocompress.store import Finalist, Store


@dataclass(frozen=True, slots=True)
class Proof:
    """What is known of a folder's manifest: that it is `proved`, that it is not, or that nobody can tell."""

    proved: bool
    words: str


def stored_files(store: Store, name: str, one: Finalist) -> dict[str, str]:
    """The files of a verified model by their SHA-256, as the study's database keeps them: these are exported, and
    nothing else.

    Raises IntegrityError when the stored folder holds anything else than these files: changed, missing or added ones, a
    manifest that lists others, links.
    """
    digest = one.candidate.digest
    folder = store.folder(name) / digest
    if links := [path for path in (folder, *sorted(folder.rglob("*"))) if path.is_symlink()]:
        raise IntegrityError(f"{links[0]}: is a link, which no study makes; put the file itself back")
    found = {**verify_files(folder).files, MANIFEST: file_digest(folder / MANIFEST)}
    kept = {PurePosixPath(row.path).as_posix().partition(f"{digest}/")[2]: row.sha256 for row in one.exported}
    if MANIFEST not in kept:  # a database of before keeps some of them
        kept = {**found, **kept}
    wrong = [
        f"{folder / file}: not what the study's database keeps "
        f"(SHA-256 {found.get(file, 'none')[:12]}, expected {kept.get(file, 'none')[:12]})"
        for file in sorted({*found, *kept})
        if found.get(file) != kept.get(file)
    ]
    if wrong:
        raise IntegrityError("\n".join(wrong))
    return kept


def prove(folder: Path, store: Store | None) -> Proof:
    """Compares the manifest of a folder with what the studies of a database keep. Raises IntegrityError when one of
    them made this model and keeps another manifest."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFoundError(f"{folder}: no exported model here (no {MANIFEST})")
    if store is None:
        return Proof(False, f"{MANIFEST} is taken at its word: no study database is here; name one with --storage")
    digests = {name: file_digest(folder / name) for name in (MANIFEST, MODEL) if (folder / name).is_file()}
    known = store.known_files(digests.values())
    if found := next((one for one in known if one.sha256 == digests[MANIFEST]), None):
        return Proof(True, f"{MANIFEST} is the one that study {found.study!r} keeps in {store.url}")
    if made := next((one for one in known if one.sha256 == digests.get(MODEL)), None):
        raise IntegrityError(
            f"{path}: not the one that study {made.study!r} keeps of this model in {store.url} "
            f"(SHA-256 {digests[MANIFEST][:12]}); export it again"
        )
    manifest = read_manifest(folder)
    if store.has_exported(manifest.study, manifest.digest):
        raise IntegrityError(
            f"{path}: says it is {manifest.digest} of study {manifest.study!r}, of which {store.url} keeps "
            "another one; export it again, or name the database that it is from with --storage"
        )
    return Proof(False, f"{MANIFEST} is taken at its word: no study of {store.url} made this model")
