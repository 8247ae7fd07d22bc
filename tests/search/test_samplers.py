from dataclasses import replace

import pytest

from autocompress.core.outcome import Proposal
from autocompress.core.policy import CompressionPolicy
from autocompress.core.space import Choice, Integer, Real, SearchSpace, StepSpace
from autocompress.errors import SpecError
from autocompress.samplers import SAMPLERS, OptunaSampler, population_for
from autocompress.testing import (
    OBJECTIVES,
    SamplerCase,
    arithmetic_evaluate,
    arithmetic_space,
    sampler_contract,
    sampler_survives_contract,
)

MIXED = SearchSpace(
    "mixed",
    1,
    (
        StepSpace("shrink", "a", {"size": Integer(2, 8, 2), "rate": Real(1e-4, 1.0, log=True)}, targets=("a",)),
        StepSpace("paint", "a", {"colour": Choice(("red", "blue")), "one": Choice((1,))}, targets=("a",)),
    ),
)


def case(name: str, space: SearchSpace, trials: int) -> SamplerCase:
    return SamplerCase(
        lambda seed, history: OptunaSampler(
            name, knobs=space.knobs(), objectives=OBJECTIVES, constraints={}, seed=seed, population=8, history=history
        ),
        space,
        trials,
    )


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"gp"}))
def test_every_sampler_passes_the_contract(name: str) -> None:
    sampler_contract(case(name, arithmetic_space(), 30))
    sampler_survives_contract(case(name, arithmetic_space(), 24))


def test_the_slow_sampler_passes_the_contract_over_a_few_trials() -> None:
    sampler_contract(replace(case("gp", arithmetic_space(layers=2), 11), stride=8))


@pytest.mark.parametrize("name", ["nsga2", "random", "tpe"])
def test_every_kind_of_knob_is_sampled(name: str) -> None:
    sampler = case(name, MIXED, 5).make(0, ())
    for _ in range(20):
        point = sampler.ask().parameters
        assert point["shrink/a/size"] in (2, 4, 6, 8)
        assert 1e-4 <= float(point["shrink/a/rate"]) <= 1.0
        assert point["paint/a/colour"] in ("red", "blue")
        assert point["paint/a/one"] == 1


@pytest.mark.parametrize("name", ["nsga2", "qmc", "tpe"])
def test_a_candidate_of_another_study_without_a_point_is_passed_over(name: str) -> None:
    outcome = arithmetic_evaluate(CompressionPolicy())
    sampler = case(name, MIXED, 5).make(0, [(Proposal(0, {}, {"adopted": 3}), outcome)])
    assert sampler.ask().number == 1


def test_an_unknown_sampler_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(SpecError, match="did you mean 'tpe'"):
        case("tpee", arithmetic_space(), 1).make(0, ())


def test_the_population_follows_the_budget() -> None:
    assert [population_for(trials) for trials in (10, 120, 10_000)] == [8, 20, 50]
