"""Which stored candidates can be judged again."""

from __future__ import annotations

from autocompress.core.outcome import Record
from autocompress.core.own_spec import is_own
from autocompress.errors import NotFoundError, SpecError
from autocompress.store import Store


def judged_record(store: Store, name: str, ref: int | str) -> Record:
    """A candidate that can be judged again. Raises NotFoundError for one that is not there or was not judged yet,
    SpecError for one that was judged by another study."""
    row, record = store.study(name), store.record(name, ref)
    if is_own(row.resolved):
        raise SpecError(
            f"study {name!r} is a search over an evaluation of yours, which nobody else can repeat; call it with "
            f"`study.store.record({name!r}, {record.candidate.number}).candidate.policy`"
        )
    if record.outcome is None:
        raise NotFoundError(
            f"candidate {record.candidate.number} of {name!r} was not judged yet, so there is nothing to reproduce; go "
            f"on with `autocompress resume {name}`"
        )
    origin, number = row.facts.get("retargeted"), record.provenance.get("adopted")
    if origin is not None and number is not None:
        raise SpecError(
            f"candidate {record.candidate.number} of {name!r} was judged by study {origin['from']!r}, as its candidate "
            f"{number}; judge it there: `autocompress repro {origin['from']} {number}`"
        )
    return record
