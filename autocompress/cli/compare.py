"""`compare`: two candidates of a study, or two studies."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from autocompress.cli.completion import studies_or_candidates
from autocompress.cli.options import Json, Storage, reference
from autocompress.cli.session import session_of

_TWO: Final = 2


def compare(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME",
            help="Two studies; or a study and two of its candidates, by numbers or beginnings of digests.",
            autocompletion=studies_or_candidates,
        ),
    ],
    max_quality_drop: Annotated[
        str | None, typer.Option(metavar="SHARE", help="The most that the best of each study may lose. [default: 1pt]")
    ] = None,
    other_storage: Annotated[
        str | None,
        typer.Option("--other-storage", metavar="URL", help="The database of the second study. [default: the same]"),
    ] = None,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Compare two candidates, or two studies.

    Candidates: where their policies differ, and every metric with the 95 % interval of its difference, paired where the
    answers to single rows were kept. Studies: what was asked otherwise, where they ran, both fronts with hypervolumes
    inside one reference point, and the best of each.
    """
    from autocompress.errors import SpecError
    from autocompress.report.comparing import (
        ComparedCandidates,
        ComparedStudies,
        as_comparison,
        compare_candidates,
        compare_studies,
    )
    from autocompress.report.comparing.studies import ALLOWED_DROP
    from autocompress.store import Store

    session = session_of(context)
    if len(names) not in (_TWO, _TWO + 1):
        raise SpecError(
            f"compare: takes two studies (`compare A B`) or a study and two of its candidates (`compare STUDY 3 7`), "
            f"got {len(names)} name{'' if len(names) == 1 else 's'}"
        )
    found: ComparedCandidates | ComparedStudies
    with Store.open(storage, create=False) as store:
        if len(names) > _TWO:
            for option, given in (("--max-quality-drop", max_quality_drop), ("--other-storage", other_storage)):
                if given is not None:
                    raise SpecError(
                        f"{option}: belongs to two studies, and {names[1]} and {names[2]} are candidates of one"
                    )
            study, a, b = names
            found = compare_candidates(store, study, reference(a), reference(b))
        elif other_storage is None:
            found = compare_studies(store, *names, max_quality_drop=max_quality_drop or ALLOWED_DROP)
        else:
            with Store.open(other_storage, create=False) as other:
                found = compare_studies(store, *names, other=other, max_quality_drop=max_quality_drop or ALLOWED_DROP)
    if json:
        session.json(found.to_json())
    else:
        session.data(as_comparison(found))
