"""`export` and `verify`: exported models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli.options import Candidate, Force, Json, Out, Storage, StudyName, note_force, reference
from autocompress.cli.session import session_of

if TYPE_CHECKING:
    from autocompress.exported.proof import Proof


def export(
    context: typer.Context,
    study: StudyName,
    candidate: Candidate,
    out: Out,
    force: Force = False,
    storage: Storage = None,
) -> None:
    """Write a verified finalist to a folder of its own."""
    from autocompress.store import Store
    from autocompress.study import study as studies

    session = session_of(context)
    note_force(session, force)
    with Store.open(storage, create=False) as store:
        digest = store.record(study, reference(candidate)).candidate.digest
        folder = studies.export(store, study, digest, out)
    session.text(str(folder))
    session.say(f"check it with `autocompress verify {folder}`", style="dim")


def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder written by `pick --out` or `export`.")],
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Check an exported folder, and measure it again.

    Where the study's database is at hand, the manifest is compared with the one that it keeps. Exit code 7 when
    something differs from what was verified.
    """
    from autocompress.errors import IntegrityError
    from autocompress.exported.folder_check import verify_folder

    session = session_of(context)
    proof = _proof(folder, storage)
    found = verify_folder(folder)
    if json:
        session.json({**found.to_json(), "proved": proof.proved, "proof": proof.words})
    else:
        session.text("\n".join([*found.lines, proof.words]))
    if not found.ok:
        raise IntegrityError(f"{folder}: not what it was when it was exported; export it again")


def _proof(folder: Path, storage: str | None) -> Proof:
    """By the database that was named, or by the default one where there is one."""
    from autocompress.errors import NotFoundError, StoreError
    from autocompress.exported.proof import prove
    from autocompress.store import Store

    try:
        store = Store.open(storage, create=False)
    except NotFoundError:
        if storage is not None:
            raise
        return prove(folder, None)
    except StoreError as error:
        if storage is not None:
            raise
        return replace(prove(folder, None), words=f"manifest.json is taken at its word: {error}")
    with store:
        return prove(folder, store)
