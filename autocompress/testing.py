"""Contract suites and fakes for every port: what a new operator, family, sampler or runner must pass.

Each `*_contract` raises AssertionError with the rule that was broken. Fakes are real implementations over arithmetic
instead of models, fast enough to run thousands of candidates in a test.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Evaluated, Failed, Infeasible, Measurement, Outcome, Priced, Proposal
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.ports import Done, Job, Runner, Sampler
from autocompress.core.space import Choice, Integer, Knob, SearchSpace, StepSpace
from autocompress.core.text_inputs import IDS, MASK
from autocompress.operators.operator import LiveOperator

# Fakes: an arithmetic study


def arithmetic_space(*, layers: int = 4) -> SearchSpace:
    """A bound space of `layers` parts, each with a size from 1 to 8 and a switch."""
    targets = tuple(f"layers.{i}" for i in range(layers))
    return SearchSpace(
        "arithmetic",
        1,
        (
            StepSpace("shrink", "layers.*", {"size": Integer(1, 8)}, targets=targets),
            StepSpace("harden", "layers.*", {"bits": Choice((8, 32))}, per="step", targets=targets),
        ),
    )


def arithmetic_values(policy: CompressionPolicy) -> dict[str, float]:
    """A smooth trade-off with one kink: larger parts are better and slower, 8 bits are faster and a little worse."""
    sizes = [int(step.settings["size"]) for step in policy.steps if step.operator == "shrink"] or [8]
    coarse = any(step.settings.get("bits") == 8 for step in policy.steps)
    quality = sum((place + 1) * size**0.5 for place, size in enumerate(sizes)) / (10 * len(sizes)) - 0.02 * coarse
    return {
        "quality": quality,
        "latency_ms": sum(sizes) * (0.5 if coarse else 1.0) + 0.1,
        "size_mb": sum(sizes) * (0.25 if coarse else 1.0) + 1.0,
    }


def arithmetic_price(policy: CompressionPolicy) -> Priced:
    """Latency and size, known before evaluation; all policies are feasible."""
    known = arithmetic_values(policy)
    return Priced(policy, (measurement("latency_ms", known["latency_ms"]), measurement("size_mb", known["size_mb"])))


def arithmetic_evaluate(policy: CompressionPolicy) -> Outcome:
    """The quality."""
    return Evaluated((measurement("quality", arithmetic_values(policy)["quality"]),))


def measurement(metric: str, value: float) -> Measurement:
    """A measurement of a known metric with its own unit."""
    return Measurement(metric, value, METRICS[metric].unit, "measured")


OBJECTIVES: Mapping[str, Direction] = {"quality": "maximize", "latency_ms": "minimize", "size_mb": "minimize"}


def full_outcome(policy: CompressionPolicy) -> Outcome:
    """All objectives of the arithmetic study at once."""
    return Evaluated(tuple(measurement(metric, value) for metric, value in arithmetic_values(policy).items()))


# Contracts


@final
@dataclass(frozen=True, slots=True)
class SamplerCase:
    """How to make the sampler under test: from a seed and the history so far."""

    make: Callable[[int, Sequence[tuple[Proposal, Outcome | None]]], Sampler]
    space: SearchSpace
    trials: int = 30
    stride: int = 1


def sampler_contract(case: SamplerCase) -> None:
    """Points lie in the space; equal seeds propose equally and others do not; a sampler rebuilt from its history, at
    any point, even with a proposal still running, proposes what the uninterrupted one would."""
    whole = _play(case, case.make(7, ()), case.trials)
    for proposal, _ in whole:
        _check_point(case.space.knobs(), proposal.parameters)
    again = _play(case, case.make(7, ()), case.trials)
    assert _points(again) == _points(whole), "equal seeds must propose equally"
    other = _play(case, case.make(8, ()), case.trials)
    assert _points(other) != _points(whole), "another seed must propose something else"
    for cut in range(1, case.trials - 1, case.stride):
        history: list[tuple[Proposal, Outcome | None]] = [*whole[:cut], (whole[cut][0], None)]
        resumed = case.make(7, history)
        resumed.tell(whole[cut][0].number, whole[cut][1])
        rest = _play(case, resumed, case.trials - cut - 1)
        assert _points(rest) == _points(whole[cut + 1 :]), f"interrupted at proposal {cut}, it went another way"


def sampler_survives_contract(case: SamplerCase) -> None:
    """Failed and infeasible outcomes, known or not, are told without harm, and the next ask works."""
    sampler = case.make(3, ())
    outcomes: list[Callable[[CompressionPolicy], Outcome]] = [
        full_outcome,
        lambda _: Failed("score", "ValueError", "no"),
        lambda _: Infeasible("the last layer must stay"),
        lambda policy: Infeasible("latency_ms <= 1", arithmetic_price(policy).measurements),
    ]
    for place in range(case.trials):
        proposal = sampler.ask()
        sampler.tell(proposal.number, outcomes[place % 4](_policy(case.space, proposal)))


def runner_contract(make: Callable[[Callable[[CompressionPolicy], Outcome]], Runner], jobs: int = 12) -> None:
    """Every job comes back once, with the outcome of its own policy, however many are in flight."""
    space = arithmetic_space()
    generator = random.Random(0)
    runner = make(arithmetic_evaluate)
    try:
        waiting = [Job(i, space.policy(lambda _, knob: draw(knob, generator)), 1) for i in range(jobs)]
        expected = {job.number: arithmetic_evaluate(job.policy) for job in waiting}
        flying, seen = 0, {}
        while waiting or flying:
            while waiting and flying < runner.slots:
                runner.submit(waiting.pop())
                flying += 1
            for event in runner.wait(10.0):
                assert isinstance(event, Done), event
                assert event.job.number not in seen, f"job {event.job.number} came back twice"
                seen[event.job.number] = event.outcome
                flying -= 1
        assert seen == expected
    finally:
        runner.close()


def operator_contract(operator: LiveOperator, steps: Sequence[Step], anatomy: Any, importance: Any) -> None:
    """For every step, on a copy of the model: `apply` and `reshape` agree, the model still answers, equal steps give
    equal weights, no tensor of the original is written to, and slices of what is `elastic` stay part of it."""
    import torch

    ids = torch.randint(5, 90, (2, 11), generator=torch.Generator().manual_seed(0))
    before = {name: tensor.clone() for name, tensor in anatomy.model.state_dict().items()}
    for step in steps:
        assert all(
            rule.problem(step.settings[name]) is None for name, rule in operator.rules.items() if name in step.settings
        )
        twins = []
        for _ in range(2):
            student = anatomy.copy()
            expected = operator.reshape(student.shape(), step)
            operator.apply(student, step, importance)
            assert student.shape() == (expected or anatomy.shape()), f"{step}: apply and reshape disagree"
            with torch.inference_mode():
                twins.append(student.model(**{IDS: ids, MASK: torch.ones_like(ids)}).logits)
        assert torch.isfinite(twins[0]).all(), f"{step}: the model no longer answers"
        assert torch.equal(*twins), f"{step}: applied twice, it gave two models"
        if operator.elastic:
            linked = anatomy.copy(linked=True)
            operator.apply(linked, step, importance)
            known = {id(parameter) for parameter in anatomy.model.parameters()}
            assert all(id(own) in known for own in linked.model.parameters()), f"{step}: gradients end in a copy"
    after = anatomy.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before), "the original's tensors were written to"


def family_contract(model: Any, families: Mapping[str, Any]) -> None:
    """A model of a new family: its parts are found, its parameters counted right, its copies share tensors, and its
    exported graph answers like the model, whole and after every kind of surgery, padded and not."""
    import torch

    from autocompress.anatomy import Anatomy
    from autocompress.core.cost import parameters
    from autocompress.core.lowering import PLAIN, RULES, Lowering
    from autocompress.deploy.graph import write_graph
    from autocompress.deploy.session import Session

    model.eval()
    whole = Anatomy(model, dict(families))
    small = whole.copy()
    assert {t.data_ptr() for t in small.model.parameters()} == {t.data_ptr() for t in model.parameters()}
    layers = [layer.index for layer in small.layers]
    small.keep_layers([layers[0], layers[-1]])
    small.keep_heads(layers[-1], [small.layer(layers[-1]).of_attention.heads - 1])
    small.keep_channels(layers[0], range(0, small.layer(layers[0]).of_feed_forward.width, 2))
    halves = whole.copy()
    halves.remove_block(layers[0], "feed_forward")
    halves.remove_block(layers[-1], "attention")
    assert len(whole.layers) == len(layers), "surgery on a copy reached the original"
    ids = torch.randint(5, 90, (3, 13), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 9:] = 0
    ids[1, 9:] = int(model.config.pad_token_id or 0)
    for anatomy in (whole, small, halves):
        counted = sum(parameter.numel() for parameter in anatomy.model.parameters())
        assert parameters(anatomy.shape()) == counted, f"counted {parameters(anatomy.shape())} of {counted} parameters"
        with torch.inference_mode():
            expected = anatomy.model(**{IDS: ids, MASK: mask}).logits.numpy()
        for lowering in (PLAIN, Lowering(fp32=tuple(RULES))):
            session = Session(write_graph(anatomy.weights(), lowering=lowering).SerializeToString())
            got = session.run(session.feed(ids.numpy(), mask.numpy()))
            assert np.abs(got - expected).max() < 1e-5, f"the graph of {lowering} answers otherwise than the model"


# Their parts


def draw(knob: Knob, generator: random.Random) -> Setting:
    """A random value of a bound knob."""
    if isinstance(knob, Choice):
        return generator.choice([value for value in knob.choices if isinstance(value, bool | int | float | str)])
    if isinstance(knob, Integer):
        return generator.randrange(knob.low, knob.high + 1, knob.step)
    return generator.uniform(knob.low, knob.high)


def _policy(space: SearchSpace, proposal: Proposal) -> CompressionPolicy:
    return space.policy(lambda name, _: proposal.parameters[name])


def _play(case: SamplerCase, sampler: Sampler, trials: int) -> list[tuple[Proposal, Outcome]]:
    played = []
    for _ in range(trials):
        proposal = sampler.ask()
        outcome = full_outcome(_policy(case.space, proposal))
        sampler.tell(proposal.number, outcome)
        played.append((proposal, outcome))
    return played


def _points(played: Sequence[tuple[Proposal, Outcome]]) -> list[Mapping[str, Setting]]:
    return [proposal.parameters for proposal, _ in played]


def _check_point(knobs: Mapping[str, Knob], point: Mapping[str, Setting]) -> None:
    assert set(point) == set(knobs), f"asked for {sorted(set(point) ^ set(knobs))}"
    for name, value in point.items():
        knob = knobs[name]
        if isinstance(knob, Choice):
            assert value in knob.choices, f"{name}={value!r} is no choice"
        else:
            assert isinstance(value, int | float), f"{name}={value!r} is no number"
            assert knob.low <= value <= knob.high, f"{name}={value!r} is out of range"
