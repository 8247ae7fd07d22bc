"""`export` and `verify`: exported models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli.options import Finalist, Force, Json, Out, Storage, StudyName, note_force, reference
from autocompress.cli.session import session_of

if TYPE_CHECKING:
    from autocompress.exported.cascade_check import CascadeReport
    from autocompress.exported.folder_check import FolderReport
    from autocompress.exported.fresh_data import Fresh
    from autocompress.exported.proof import Proof


def export(
    context: typer.Context,
    study: StudyName,
    candidate: Finalist,
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


def push(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder written by `pick --out` or `export`.")],
    repository: Annotated[
        str, typer.Argument(metavar="OWNER/NAME", help="A repository on the hub; it is made if it is new.")
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Let everybody see a new repository. [default: private]")
    ] = False,
    texts: Annotated[
        bool, typer.Option("--texts", help="With `check.json`: rows of your data by which others can verify it.")
    ] = False,
) -> None:
    """Upload an exported folder to the Hugging Face hub.

    Nothing else sends anything there. Every file but the card is held against its digest first. A new repository is
    private, and rows of your data stay here, unless you say otherwise; what you added to the folder stays in any case.
    The card and `manifest.json` name where model and data were.
    """
    from autocompress.exported.hub import push_to_hub

    session_of(context).text(push_to_hub(folder, repository, private=not public, texts=texts))


def verify(
    context: typer.Context,
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="A folder written by `pick --out` or `export`.")],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Your labelled texts: what a cascade hands on of them, how well it does."),
    ] = None,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Check an exported folder, and measure it again.

    Where the study's database is at hand, the manifest is compared with the one that it keeps. Exit code 7 when
    something differs from what was verified.
    """
    from autocompress.deploy.cascade_folder import is_cascade
    from autocompress.errors import IntegrityError, SpecError
    from autocompress.exported.folder_check import verify_folder

    session = session_of(context)
    found: CascadeReport | FolderReport
    if is_cascade(folder):
        from autocompress.exported.cascade_check import verify_cascade  # needs torch

        proof = _proof_of_both(folder, storage)
        found = verify_cascade(folder)
    else:
        if data is not None:
            raise SpecError(f"--data: {folder} holds no cascade, and a single model hands nothing on")
        proof = _proof(folder, storage)
        found = verify_folder(folder)
    fresh = _fresh(folder, data) if data is not None else None
    if json:
        told = {"data": fresh.to_json()} if fresh else {}
        session.json({**found.to_json(), **told, "proved": proof.proved, "proof": proof.words})
    else:
        session.text("\n".join([*found.lines, *(fresh.lines if fresh else []), proof.words]))
    if not found.ok:
        raise IntegrityError(f"{folder}: not what it was when it was exported; export it again")


def _fresh(folder: Path, data: Path) -> Fresh:
    from autocompress.exported.fresh_data import measure_fresh

    return measure_fresh(folder, data)


def _proof_of_both(folder: Path, storage: str | None) -> Proof:
    """Of the two models in a cascade; its own manifest lists theirs."""
    from autocompress.deploy.cascade_folder import PLACES

    found = {place: _proof(folder / place, storage) for place in PLACES}
    words = "\n".join(f"{place}: {one.words}" for place, one in found.items())
    return replace(found["small"], proved=all(one.proved for one in found.values()), words=words)


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
