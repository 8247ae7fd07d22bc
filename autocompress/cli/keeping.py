"""`rm` and `gc`: what is no longer wanted goes, and how much that freed is said."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Final

import typer

from autocompress.cli.options import Json, Storage, StudyName
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.store import Store
    from autocompress.study.leftovers import Leftover

SCHEMA: Final = "autocompress.gc/1"

Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


def rm(
    context: typer.Context,
    study: StudyName,
    yes: Yes = False,
    keep_files: Annotated[bool, typer.Option("--keep-files", help="Forget it, and leave its files.")] = False,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Remove it although a process holds it that cannot be reached.")
    ] = False,
    storage: Storage = None,
) -> None:
    """Remove a study, with its checkpoints and models.

    What was picked or exported elsewhere stays, and so do caches that other studies use; see `gc`.
    """
    from autocompress.store import Store
    from autocompress.study.leftovers import files_of, free

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        counts = store.counts(study)
        what = f"study {study!r} with {counts.candidates} candidates, {counts.verified} of them verified"
        files = [] if keep_files else files_of(store, study)
        if files:
            what += f", and {_size(files)} in {files[0].path}"
        if not _agreed(session, what, yes=yes):
            return
        left = store.folder(study)
        store.delete_study(study, takeover=takeover)
        for one in files:
            free(one)
    session.say(f"removed {what}" + (f"; its files stay in {left}" if left.exists() else ""))


def gc(
    context: typer.Context,
    caches: Annotated[bool, typer.Option("--caches", help="Also teachers, profiles and what was fetched.")] = False,
    orphans: Annotated[bool, typer.Option("--orphans", help="Also files of no study in this database.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and delete nothing.")] = False,
    yes: Yes = False,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Free the disk of what no study needs any more.

    Training checkpoints of finished studies and drafts of what was killed; with `--caches` also what is made or fetched
    anew when it is needed, with `--orphans` also files that no study of this database has.
    """
    from autocompress.store import Store
    from autocompress.study import leftovers

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        found = [*leftovers.of_finished_studies(store), *leftovers.drafts(store)]
        found += leftovers.caches() if caches else []
        strangers = leftovers.orphans(store)
        found += strangers if orphans else []
        if json:
            session.json({"schema": SCHEMA, "deleted": not dry_run and yes, "leftovers": [_json(one) for one in found]})
        else:
            session.text("\n".join(f"{_size([one]):>9}  {one.what}: {one.path}" for one in found) or "nothing to free")
        if strangers and not orphans:
            session.say(
                f"{_size(strangers)} in {', '.join(one.path.name for one in strangers)} belong to no study of "
                f"{store.url}; if to none of another database either, `autocompress gc --orphans` frees them"
            )
        if dry_run or not found or not _agreed(session, _size(found), yes=yes):
            return
        freed = _free_unused(store, found, session)
    session.say(f"freed {_size(freed)}")


def _free_unused(store: Store, found: Sequence[Leftover], session: Session) -> list[Leftover]:
    """Deletes what was found, but for the checkpoints of a study that somebody goes on with just now."""
    from autocompress.errors import StudyLockedError
    from autocompress.study.leftovers import free, work_of

    freed = []
    for study in store.studies():
        mine = [one for one in work_of(store, study.name) if one in found]
        if not mine:
            continue
        try:
            with store.lease(study.name):
                for one in mine:
                    free(one)
        except StudyLockedError as error:
            session.warn(f"left alone: {error}")
            found = [one for one in found if one not in mine]
        else:
            freed += mine
    rest = [one for one in found if one not in freed]
    for one in rest:
        free(one)
    return [*freed, *rest]


def _agreed(session: Session, what: str, *, yes: bool) -> bool:
    """Asks, unless that was answered already. Raises SpecError when there is nobody to ask."""
    from autocompress.errors import SpecError

    if yes:
        return True
    if not sys.stdin.isatty():
        raise SpecError(f"{what} would be removed and there is nobody to ask; give --yes")
    if typer.confirm(f"Remove {what}?", err=True):
        return True
    session.say("nothing was removed")
    return False


def _size(found: Sequence[Leftover]) -> str:
    total = float(sum(one.bytes for one in found))
    for unit in ("B", "kB", "MB"):
        if total < 1000:
            return f"{total:.3g} {unit}"
        total /= 1000
    return f"{total:.3g} GB"


def _json(one: Leftover) -> dict[str, object]:
    return {"what": one.what, "path": str(one.path), "bytes": one.bytes}
