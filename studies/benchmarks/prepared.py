"""The quickstart, ready to be searched: what every benchmark of the search starts from."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from autocompress import config, operators
from autocompress.candidates.elastic import prepare_elastic
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cores import usable_cores
from autocompress.core.space import SearchSpace
from autocompress.core.spec import Budget, StudySpec
from autocompress.devices.profiles import device_profile
from autocompress.operators import OPERATORS
from autocompress.pricing import Pricing
from autocompress.runners import RayPool
from autocompress.samplers import OptunaSampler, population_for
from autocompress.search import Search
from autocompress.store import Store
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.teacher.importance import prepare_importance
from autocompress.teacher.teacher import prepare_teacher


@dataclass(frozen=True)
class Prepared:
    """A study with its teacher trained (from the cache, if it is there) and its device measured."""

    spec: StudySpec
    setup: Setup
    pricing: Pricing
    space: SearchSpace
    lessons: Callable[[], Lessons]


LAYER_BY_LAYER = "bert-small"
"""The space for students whose layers differ in size, and for the elastic model that they are cut from."""


def prepare(study: str = "quickstart", *, space: str | None = None, seed: int = 0, elastic: bool = True) -> Prepared:
    """With the space and the elastic model that the study asks for, unless told otherwise."""
    spec = replace(config.load_study(study, operators=OPERATORS), seed=seed)
    if space:
        spec = replace(spec, space=config.load_space(space, operators=OPERATORS))
    torch.set_num_threads(usable_cores())
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    importance = prepare_importance(spec, teacher)
    shape = teacher.anatomy.shape()
    profile = device_profile(spec, shape, progress=lambda *_: None)
    pricing = Pricing.of(
        profile, shape, workload=spec.workload, objectives=spec.objectives, constraints=spec.constraints
    )
    bound = operators.bound(spec.space, shape)
    setup = Setup.of(teacher.anatomy.model, importance, teacher.task, precision=spec.teacher.precision)
    lessons = functools.cache(lambda: Lessons.of(setup, spec.finalists.transfer, seed=spec.seed))
    if elastic:
        weights = prepare_elastic(
            spec, teacher, setup, bound, pricing, lessons, workers=usable_cores(), progress=lambda *_: None
        )
        setup = replace(setup, elastic=weights)
    torch.set_num_threads(1)
    return Prepared(spec, setup, pricing, bound, lessons)


def search(
    prepared: Prepared,
    ray: Any,
    database: Path,
    *,
    workers: int,
    trials: int,
    population: int | None = None,
) -> Any:
    """Runs the search phase alone in a new database; returns its tally. Workers are warm before the clock starts. Its
    sampler's population is a study's, or as told."""
    spec = prepared.spec
    with Store.open(str(database)) as store:
        store.create_study("benchmark", given={}, resolved={}, fingerprint={}, objectives=spec.objectives)
        pool = RayPool(ray, SliceEvaluator, prepared.setup, workers=workers, timeout_seconds=120)
        pool.warm()
        try:
            with store.lease("benchmark") as lease:
                sampler = OptunaSampler(
                    spec.sampler,
                    knobs=prepared.space.knobs(),
                    objectives=spec.objectives,
                    constraints=spec.constraints,
                    seed=spec.seed,
                    population=population or population_for(trials),
                )
                return Search(
                    store=store,
                    lease=lease,
                    sampler=sampler,
                    space=prepared.space,
                    price=prepared.pricing,
                    runner=pool,
                    budget=Budget(trials),
                    provenance={},
                ).run()
        finally:
            pool.close()
