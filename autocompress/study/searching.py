"""The search of a study: its sampler, its first point, the workers that judge, and what comes of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.interruption import Switch
from autocompress.core.outcome import Record
from autocompress.core.pareto import costs
from autocompress.core.ports import Observer, Runner
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.pricing import Point, Pricing, cheapest_whole
from autocompress.runners import InProcessRunner, RayPool
from autocompress.search import Search, Watch
from autocompress.store import Lease, Store
from autocompress.study.preparing import evaluation
from autocompress.study.proposing import rebuilt_sampler


class SearchStage:
    """Over the candidates that a study stored already, if any."""

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        lease: Lease,
        space: SearchSpace,
        pricing: Pricing,
        *,
        workers: int,
        ray: Any,
        observer: Observer,
        switch: Switch,
        on_judged: Callable[[Record], None],
    ) -> None:
        """Without a `ray` candidates are judged in this process. The search looks at the `switch` by itself."""
        self._spec, self._store, self._lease = spec, store, lease
        self._space, self._pricing = space, pricing
        self._workers, self._ray = workers, ray
        self._observer, self._switch, self._on_judged = observer, switch, on_judged

    def run(
        self,
        setup: Setup,
        lessons: Callable[[], Lessons],
        provenance: Mapping[str, Any],
        *,
        first: Sequence[Point] = (),
    ) -> None:
        """Until the budget is spent; at once where it is. What anybody would try is proposed before the sampler is
        asked, and then the `first` points."""
        spec, counts = self._spec, self._store.counts(self._spec.name)
        if counts.evaluated + counts.failed >= spec.budget.trials and not counts.running and not counts.pending:
            return
        self._store.set_state(self._lease, "searching")
        plain = cheapest_whole(self._space, self._pricing, costs(spec.objectives), seed=spec.seed)
        runner = self._runner(setup, lessons)
        try:
            search = Search(
                store=self._store,
                lease=self._lease,
                sampler=rebuilt_sampler(
                    self._store, self._spec, self._space, worst={"quality": self._spec.task.scored.kind.worst}
                ),
                space=self._space,
                price=self._pricing,
                runner=runner,
                budget=spec.budget,
                provenance=provenance,
                watch=Watch(
                    on_change=self._observer.tally,
                    stopped=lambda: self._switch.thrown is not None,
                    on_judged=self._on_judged,
                ),
                first=[*([] if plain is None else [plain]), *first],
            )
            tally = search.run()
        finally:
            runner.close()
        self._store.set_fact(self._lease, "driver_seconds", tally.driver)
        if search.exhausted:
            self._observer.note("the space has no more new candidates; the search ended before its budget")

    def _runner(self, setup: Setup, lessons: Callable[[], Lessons]) -> Runner:
        build, needed = evaluation(self._spec, setup, lessons)
        budget = self._spec.budget
        if self._ray is None:
            return InProcessRunner(build(needed))
        return RayPool(
            self._ray,
            build,
            needed,
            workers=self._workers,
            timeout_seconds=budget.timeout_seconds,
            memory_gb=budget.memory_gb,
        )
