"""How stored candidates were judged: which can be judged again, and which would come out the same in another study."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from autocompress import operators
from autocompress.core.outcome import Record
from autocompress.core.own_spec import is_own
from autocompress.core.policy import CompressionPolicy
from autocompress.errors import NotFoundError, SpecError
from autocompress.store import Store

JUDGED_WITH: Final = "judged_with"
"""In the provenance of a candidate of the search: digests of all that its quality follows from, its policy apart."""


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


def is_judged_alike(policy: CompressionPolicy, a: Mapping[str, Any] | None, b: Mapping[str, Any]) -> bool:
    """Whether two such digests give one policy the same quality. Of candidates of before they were kept nobody
    knows."""
    cut = operators.elastic(policy.steps)
    return a is not None and a.get("model") == b["model"] and (not cut or a.get("elastic") == b["elastic"])
