"""Stored candidates at other prices: a device or a budget changes their costs, never their quality."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from autocompress.core.outcome import Evaluated, Infeasible, Measurement, Outcome, Record
from autocompress.core.spec import Bound
from autocompress.pricing.prices import Pricing


def repriced(judged: list[Record], pricing: Pricing) -> Iterator[Record]:
    """Every judged candidate with its quality as it was and its costs as they are here."""
    for record in judged:
        assert isinstance(record.outcome, Evaluated)
        priced = pricing(record.candidate.policy)
        quality = tuple(one for one in record.outcome.measurements if one.metric == "quality")
        outcome: Outcome = Evaluated((*priced.measurements, *quality))
        broken = priced.broken or _below(quality, pricing.constraints)
        if broken and not record.candidate.policy.is_baseline:
            outcome = Infeasible(broken, priced.measurements)
        yield replace(record, outcome=outcome, provenance={**record.provenance, "adopted": record.candidate.number})


def _below(quality: tuple[Measurement, ...], bounds: Mapping[str, Bound]) -> str | None:
    bound = bounds.get("quality")
    if bound and quality and bound.violation(quality[0].value) > 0:
        return f"quality {bound}"
    return None
