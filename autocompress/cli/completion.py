"""What the shell is offered: names in the database, of devices, of metrics. Nothing where there is nothing to ask."""

from __future__ import annotations

from typing import Final

import typer

_CANDIDATES_SHOWN: Final = 50


def stored_studies(context: typer.Context, incomplete: str) -> list[str]:
    """Names of studies."""
    from autocompress.cli.stored_names import studies

    return [name for name in studies(context.params.get("storage")) if name.startswith(incomplete)]


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
    from autocompress.core.names import named

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
    from autocompress.cli.stored_names import candidates

    found = [one for one in candidates(context.params.get("storage"), study) if one.state == "verified" or not verified]
    by_number = [one for one in found if str(one.number).startswith(incomplete)][:_CANDIDATES_SHOWN]
    by_digest = [one for one in found if one.digest.startswith(incomplete)][:_CANDIDATES_SHOWN]
    return [
        *((str(one.number), f"candidate {one.digest[:8]}, {one.told}") for one in by_number),
        *((one.digest[:8], f"candidate {one.number}, {one.told}") for one in by_digest),
    ]
