"""A whole search over arithmetic instead of models; in a process of its own, it can be killed at any moment."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from autocompress.core.outcome import Outcome
from autocompress.core.policy import CompressionPolicy, Setting
from autocompress.core.ports import Runner, Tally
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Bound, Budget
from autocompress.runners import InProcessRunner
from autocompress.samplers import OptunaSampler, population_for
from autocompress.search import Price, Search, Watch
from autocompress.store import Store
from autocompress.testing import OBJECTIVES, arithmetic_evaluate, arithmetic_price, arithmetic_space

STUDY = "arithmetic"
SEED = 11


def whole_in_8_bits() -> dict[str, Setting]:
    """The point that takes nothing off."""
    return dict.fromkeys(arithmetic_space().knobs(), 8)


def slow_evaluate(policy: CompressionPolicy) -> Outcome:
    """As long as a kill needs to hit it sometimes."""
    time.sleep(0.02)
    return arithmetic_evaluate(policy)


def run_search(
    database: Path,
    *,
    sampler: str = "nsga2",
    budget: Budget | None = None,
    evaluate: Callable[[CompressionPolicy], Outcome] = arithmetic_evaluate,
    runner: Runner | None = None,
    price: Price = arithmetic_price,
    space: SearchSpace | None = None,
    constraints: dict[str, Bound] | None = None,
    watch: Watch | None = None,
    first: Sequence[Mapping[str, Setting]] = (),
) -> Tally:
    """Begins the study in a database, or goes on with it."""
    budget, space = budget or Budget(30), space or arithmetic_space()
    with Store.open(str(database)) as store:
        if STUDY not in [study.name for study in store.studies()]:
            store.create_study(STUDY, given={}, resolved={}, fingerprint={}, objectives=OBJECTIVES)
        with store.lease(STUDY) as lease:
            outcomes = {record.candidate.digest: record.outcome for record in store.records(STUDY)}
            asked = OptunaSampler(
                sampler,
                knobs=space.knobs(),
                objectives=OBJECTIVES,
                constraints=constraints or {},
                seed=SEED,
                population=population_for(budget.trials),
                history=[(proposal, outcomes[digest]) for proposal, digest in store.proposals(STUDY)],
            )
            search = Search(
                store=store,
                lease=lease,
                sampler=asked,
                space=space,
                price=price,
                runner=runner or InProcessRunner(evaluate),
                budget=budget,
                provenance={},
                watch=watch,
                first=first,
            )
            return search.run()


def search_slowly(database: Path, sampler: str, trials: int) -> None:
    """All of it, as long as a kill needs to hit it somewhere."""
    run_search(database, sampler=sampler, budget=Budget(trials), evaluate=slow_evaluate, first=[whole_in_8_bits()])


def digests(database: Path) -> list[str]:
    """The candidates' digests, in order."""
    with Store.open(str(database)) as store:
        return [record.candidate.digest for record in store.records(STUDY)]
