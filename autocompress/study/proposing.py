"""Who proposes candidates, as the stored proposals left it."""

from __future__ import annotations

from collections.abc import Mapping

from autocompress.core.own_spec import OwnSpec
from autocompress.core.space import SearchSpace
from autocompress.core.spec import POPULATION_FACT, StudySpec
from autocompress.samplers import OptunaSampler, population_for
from autocompress.store import Store


def rebuilt_sampler(
    store: Store, spec: StudySpec | OwnSpec, space: SearchSpace, *, worst: Mapping[str, float]
) -> OptunaSampler:
    """The sampler of a stored study over its bound space: nothing of it survives but what it proposed, and what came of
    that. `worst` is what it is told of a candidate that was rejected before a metric was known."""
    outcomes = {one.candidate.digest: one.outcome for one in store.records(spec.name)}
    begun = store.study(spec.name).facts.get(POPULATION_FACT, spec.budget.trials)
    return OptunaSampler(
        spec.sampler,
        knobs=space.knobs(),
        objectives=spec.objectives,
        constraints=spec.constraints,
        seed=spec.seed,
        worst=worst,
        population=population_for(begun),
        history=[(proposal, outcomes[digest]) for proposal, digest in store.proposals(spec.name)],
    )
