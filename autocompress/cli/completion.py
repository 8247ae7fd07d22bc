"""What the shell is offered: names in the database, of devices, of metrics. Nothing where there is nothing to ask."""

from __future__ import annotations

from typing import Final

import typer

_CANDIDATES_SHOWN: Final = 50


def stored_studies(context: typer.Context, incomplete: str) -> list[str]:
    """Names of studies."""
    from autocompress.errors import AutocompressError
    from autocompress.store import Store

    try:
        with Store.open(context.params.get("storage"), create=False) as store:
            return [study.name for study in store.studies() if study.name.startswith(incomplete)]
    except AutocompressError:
        return []


def stored_candidates(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Numbers and digests of a study's candidates, with what they are: the verified first, then the others."""
    return _candidates(context, _named_study(context), incomplete)


def verified_candidates(context: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Numbers and digests of a study's verified finalists."""
    return _candidates(context, _named_study(context), incomplete, verified=True)


def studies_or_candidates(context: typer.Context, incomplete: str) -> list[str] | list[tuple[str, str]]:
    """Studies, and behind the first one its candidates too."""
    given = [str(name) for name in context.params.get("names") or () if name]
    if not given:
        return stored_studies(context, incomplete)
    studies = [(name, "a study") for name in stored_studies(context, incomplete)] if len(given) == 1 else []
    return [*studies, *_candidates(context, given[0], incomplete)]


def named_devices(incomplete: str) -> list[str]:
    from autocompress.config import named

    return [name for name in ("host", *named("device")) if name.startswith(incomplete)]


def minimized(incomplete: str) -> list[tuple[str, str]]:
    return _metrics("minimize", incomplete)


def maximized(incomplete: str) -> list[tuple[str, str]]:
    return _metrics("maximize", incomplete)


def _metrics(way: str, incomplete: str) -> list[tuple[str, str]]:
    from autocompress.core.metrics import METRICS

    return [
        (one.name, one.meaning) for one in METRICS.values() if one.direction == way and one.name.startswith(incomplete)
    ]


def _named_study(context: typer.Context) -> str:
    """Behind an option whose value is to come, click has read no argument yet."""
    return str(context.params.get("study") or next(iter(context.args), ""))


def _candidates(
    context: typer.Context, study: str, incomplete: str, *, verified: bool = False
) -> list[tuple[str, str]]:
    from autocompress.errors import AutocompressError
    from autocompress.store import Store

    try:
        with Store.open(context.params.get("storage"), create=False) as store:
            states = {one.candidate.number: one.state for one in store.finalists(study)}
            records = store.records(study)
    except AutocompressError:
        return []
    found = sorted(
        (one.candidate for one in records), key=lambda one: (states.get(one.number) != "verified", one.number)
    )
    if verified:
        found = [one for one in found if states.get(one.number) == "verified"]
    told = {one.number: states.get(one.number, "of the search") for one in found if not one.policy.is_baseline}
    by_number = [one for one in found if str(one.number).startswith(incomplete)][:_CANDIDATES_SHOWN]
    by_digest = [one for one in found if one.digest.startswith(incomplete)][:_CANDIDATES_SHOWN]
    return [
        *((str(one.number), f"candidate {one.digest[:8]}, {told.get(one.number, 'baseline')}") for one in by_number),
        *((one.digest[:8], f"candidate {one.number}, {told.get(one.number, 'baseline')}") for one in by_digest),
    ]
