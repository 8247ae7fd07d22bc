"""Verified models as folders of their own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from autocompress.assets import CARD, copy_listed, earlier_export, file_digest, new_export
from autocompress.errors import NotFoundError
from autocompress.store import Store


def export(store: Store, name: str, ref: str, out: Path) -> Path:
    """Copies a verified finalist's folder to `out`, after checking that every byte is what was verified. An earlier
    export there is replaced; what was added to it or edited in it is kept. Where `out` holds that very export, but for
    the user's words in its card, nothing is left to do.

    Raises NotFoundError when it was not verified, IntegrityError when its stored files changed, SpecError when `out`
    holds anything but an earlier export.
    """
    record = store.record(name, ref)
    finalist = next((f for f in store.finalists(name) if f.candidate.number == record.candidate.number), None)
    if finalist is None or finalist.state != "verified":
        why = f": {finalist.reason}" if finalist and finalist.reason else ""
        raise NotFoundError(
            f"candidate {record.candidate.digest} of {name!r} was not verified{why}; only verified "
            f"finalists are exported, see `autocompress pareto {name}`"
        )
    from autocompress.exported.proof import stored_files

    source, wanted = store.folder(name) / record.candidate.digest, stored_files(store, name, finalist)
    if _stands(earlier_export(out, keep=store.places), out, wanted):
        return out
    with new_export(out, keep=store.places) as draft:
        copy_listed(source, draft, wanted)
    return out


def _stands(listed: Mapping[str, str] | None, out: Path, wanted: Mapping[str, str]) -> bool:
    """Whether `out`, whose manifest lists what is given, holds all the `wanted` files; the words of its card are the
    user's."""
    if listed is None or {**listed} != {**wanted}:
        return False
    return all((out / name).is_file() and file_digest(out / name) == wanted[name] for name in {*wanted} - {CARD})
