"""`explain`: what matters in the uncompressed model, what a member kept of it, and where its time goes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from autocompress.cli.completion import verified_candidates
from autocompress.cli.options import VERIFIED, Json, Storage, StudyName, reference
from autocompress.cli.session import session_of
from autocompress.errors import SpecError


def explain(
    context: typer.Context,
    study: StudyName,
    candidate: Annotated[
        str | None,
        typer.Argument(
            metavar="CANDIDATE",
            help=f"{VERIFIED} [default: the one that `pick` takes]",
            autocompletion=verified_candidates,
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            "--text",
            metavar="SENTENCE",
            help="Show attention in this text; give both of a pair. [default: a validation text]",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Where to write pictures. [default: STUDY-explained]")
    ] = None,
    train_teacher: Annotated[
        bool, typer.Option("--train-teacher", help="Train the teacher again when it is no longer in the cache.")
    ] = False,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Show what each step did, what matters, and the time.

    What every step of a finalist's policy took, matrix by matrix, what that is worth on the device and what it cost in
    quality, as far as the study tells (`show` tells it of any candidate).

    Writes importance.png, heads and layers ranked by what the model does on data; attention.png, the attention of a
    finalist beside its teacher's; and parts.png, the measured time of each of its parts beside the machine's ceiling
    for it, where this machine is the study's device. With --json, pictures are written only where --out says so.
    """
    from autocompress.cli.live import watching
    from autocompress.report.explanation import check_pictures
    from autocompress.store import Store

    session = session_of(context)
    folder = out or (None if json else Path(f"{study}-explained"))
    if folder:
        check_pictures(folder)
    with Store.open(storage, create=False) as store:
        store.study(study)  # a wrong name is told before anything heavy is loaded
    from autocompress.study.study import open_study

    with open_study(study, storage=storage) as opened, watching(session) as observer:
        wanted = reference(candidate) if candidate is not None else None
        found = opened.explain(wanted, text=_given(text), train_teacher=train_teacher, observer=observer)
    for path in found.write(folder) if folder else []:
        session.wrote(path)
    for note in found.notes:
        session.say(note)
    if json:
        session.json(found.to_json())
    else:
        session.data(found.table())


def _given(texts: list[str] | None) -> str | tuple[str, str] | None:
    if not texts:
        return None
    if len(texts) > 2:
        raise SpecError(f"--text: must be given once, or twice for a pair of texts, got {len(texts)} texts")
    return texts[0] if len(texts) == 1 else (texts[0], texts[1])
