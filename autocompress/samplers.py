"""Optuna behind ask and tell.

The Optuna study lives in memory and is rebuilt from the stored proposals; nothing of a sampler survives from one ask to
the next but what those proposals say. Every ask gets a random state of its own, derived from the study's seed and the
proposal's number: a resumed study therefore proposes what the uninterrupted one would have.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import FrozenTrial, TrialState

from autocompress.core.metrics import METRICS, Direction
from autocompress.core.outcome import Evaluated, Failed, Infeasible, Outcome, Proposal, values
from autocompress.core.policy import Setting
from autocompress.core.space import Choice, Integer, Knob
from autocompress.core.spec import Bound
from autocompress.errors import SpecError, did_you_mean

# what Optuna calls experimental has been there for years; its version is pinned and its behaviour is under contract
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
optuna.logging.set_verbosity(optuna.logging.WARNING)

Make = Callable[[int, int], BaseSampler]
"""(seed, population size) -> a sampler."""

SAMPLERS: Final[Mapping[str, Make]] = {
    "nsga2": lambda seed, population: _NSGAII(seed=seed, population_size=population),
    "nsga3": lambda seed, population: _NSGAIII(seed=seed, population_size=population),
    "tpe": lambda seed, population: optuna.samplers.TPESampler(seed=seed, n_startup_trials=population),
    "gp": lambda seed, population: optuna.samplers.GPSampler(seed=seed, n_startup_trials=population),
    "qmc": lambda seed, _: optuna.samplers.QMCSampler(seed=seed, scramble=True),
    "random": lambda seed, _: optuna.samplers.RandomSampler(seed=seed),
}
_SEQUENCES: Final = {"qmc"}
"""Samplers that walk one sequence: they keep one seed, and count their asks in the Optuna study."""

History = Iterable[tuple[Proposal, Outcome | None]]


def population_for(trials: int) -> int:
    """Individuals a generation (or random starts) for a budget: about six generations, never fewer than 8 nor more
    than Optuna's 50."""
    return min(50, max(8, trials // 6))


@final
class OptunaSampler:
    """A `Sampler` over any Optuna sampler."""

    def __init__(
        self,
        name: str,
        *,
        knobs: Mapping[str, Knob],
        objectives: Mapping[str, Direction],
        constraints: Mapping[str, Bound],
        seed: int,
        population: int,
        history: History = (),
        worst: Mapping[str, float] | None = None,
    ) -> None:
        """`history` are the proposals of the study so far, in order, with what became of them (None: still running).
        `worst` is what is told of metrics that were never measured, where it is not what is known of every study's."""
        if name not in SAMPLERS:
            raise SpecError(f"sampler: unknown sampler {name!r}; {did_you_mean(name, SAMPLERS)}")
        self._codes = {knob_name: _code(knob) for knob_name, knob in knobs.items()}
        self._space = {knob_name: code.distribution for knob_name, code in self._codes.items()}
        self._objectives, self._constraints = dict(objectives), dict(constraints)
        self._worst = {metric: METRICS[metric].worst for metric in objectives if metric in METRICS} | dict(worst or {})
        self._sampler = _Reseeded(name, seed=seed, population=population, space=self._space)
        self._study = optuna.create_study(directions=list(objectives.values()), sampler=self._sampler)
        self._live: dict[int, optuna.Trial] = {}
        self._running: dict[int, Proposal] = {}
        self._next = 0
        firsts: dict[int, int] = {}
        for proposal, outcome in history:
            self._recall(proposal, outcome)
            if "generation" in proposal.attributes:
                firsts.setdefault(proposal.attributes["generation"], proposal.number)
        self._sampler.warm(self._study, firsts)

    def ask(self, point: Mapping[str, Setting] | None = None) -> Proposal:
        number, self._next = self._next, self._next + 1
        self._sampler.reseed(number)
        if point is not None and not self._sampler.walks_a_sequence:
            self._study.enqueue_trial({name: self._codes[name].encode(value) for name, value in point.items()})
        trial = self._study.ask(self._space)  # a sequence takes its step all the same, as it will when it is recalled
        self._live[number] = trial
        parameters = point or {name: self._codes[name].decode(value) for name, value in trial.params.items()}
        generation = self._sampler.ancestry.generation_of.get(trial.number)
        return Proposal(number, parameters, {} if generation is None else {"generation": generation})

    def tell(self, number: int, outcome: Outcome) -> None:
        if number in self._running:
            self._add(self._running.pop(number), outcome)
            return
        trial = self._live.pop(number)
        found = self._values(outcome)
        if found is None:
            self._study.tell(trial, state=TrialState.FAIL)
            return
        for name, violation in self._violations(outcome).items():
            trial.set_constraint(name, violation)
        self._study.tell(trial, found)
        self._sampler.ancestry.complete(trial.number)

    def _recall(self, proposal: Proposal, outcome: Outcome | None) -> None:
        self._next = proposal.number + 1
        if self._sampler.walks_a_sequence:
            self._live[proposal.number] = self._study.ask(self._space)
            if outcome is not None:
                self.tell(proposal.number, outcome)
        elif not proposal.parameters and self._space:
            pass  # a candidate of another study whose point nobody kept
        elif outcome is None:
            self._running[proposal.number] = proposal  # Optuna hears of it once there is something to tell
        else:
            self._add(proposal, outcome)

    def _add(self, proposal: Proposal, outcome: Outcome) -> None:
        found = self._values(outcome)
        place = len(self._study.get_trials(deepcopy=False))
        self._study.add_trial(
            optuna.create_trial(
                state=TrialState.FAIL if found is None else TrialState.COMPLETE,
                values=found,
                params={name: self._codes[name].encode(value) for name, value in proposal.parameters.items()},
                distributions=self._space,
                # not even an empty mapping: a genetic sampler ranks such a trial as if it were constrained
                constraints=(self._violations(outcome) or None) if found else None,
            )
        )
        if "generation" in proposal.attributes:
            self._sampler.ancestry.generation_of[place] = proposal.attributes["generation"]
            if found:
                self._sampler.ancestry.complete(place)

    def _values(self, outcome: Outcome) -> list[float] | None:
        """Objective values; an infeasible candidate has the worst where it was never measured, and a failed one, or one
        that could not even be counted, has none."""
        if isinstance(outcome, Failed):
            return None
        known = values(outcome.measurements)
        if isinstance(outcome, Infeasible) and not known:
            return None
        return [known[metric] if metric in known else self._worst[metric] for metric in self._objectives]

    def _violations(self, outcome: Outcome) -> dict[str, float]:
        """How far each bound is broken; 0 where it holds or is not known yet."""
        assert isinstance(outcome, Evaluated | Infeasible)
        known = values(outcome.measurements)
        return {
            metric: bound.violation(known[metric]) if metric in known else 0.0
            for metric, bound in self._constraints.items()
        }


@dataclass(frozen=True, slots=True)
class _Code:
    """A knob as an Optuna distribution, and the way between their values."""

    distribution: BaseDistribution
    decode: Callable[[Any], Setting]
    encode: Callable[[Setting], Any]


def _code(knob: Knob) -> _Code:
    if isinstance(knob, Integer):
        return _Code(IntDistribution(knob.low, knob.high, step=knob.step), int, int)
    if not isinstance(knob, Choice):
        return _Code(FloatDistribution(knob.low, knob.high, log=knob.log), float, float)
    choices: tuple[Any, ...] = knob.choices
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in choices):
        # numbers have an order that categories would hide from the sampler
        ordered = tuple(sorted(choices))
        return _Code(IntDistribution(0, len(ordered) - 1), lambda place: ordered[place], ordered.index)
    return _Code(CategoricalDistribution(choices), lambda value: value, lambda value: value)


class Ancestry:
    """Who belongs to which generation, and who their parents were.

    Optuna finds both by reading all trials at every ask; in a study of 10,000 that was more than all else it did.
    """

    def __init__(self, population: int) -> None:
        self.generation_of: dict[int, int] = {}
        self.parents: dict[int, list[int]] = {0: []}
        self._population = population
        self._complete: dict[int, list[int]] = {}
        self._latest = 0

    def complete(self, trial: int) -> None:
        """A trial was told its values. Trials of samplers without generations are passed over."""
        generation = self.generation_of.get(trial)
        if generation is not None:
            self._complete.setdefault(generation, []).append(trial)
            self._latest = max(self._latest, generation)

    def enter(self, trial: int) -> int:
        """The generation of a trial: the latest one, until it is complete."""
        full = len(self._complete.get(self._latest, [])) >= self._population
        return self.generation_of.setdefault(trial, self._latest + full)

    def members(self, generation: int) -> list[int]:
        return sorted(self._complete.get(generation, []))


class _Genetic(BaseGASampler):
    """A genetic sampler that keeps its own ancestry, handed from each sampler to the one made for the next ask."""

    ancestry: Ancestry

    def get_trial_generation(self, study: optuna.Study, trial: FrozenTrial) -> int:
        return self.ancestry.enter(trial.number)

    def get_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        trials = study.get_trials(deepcopy=False)
        return [trials[number] for number in self.ancestry.members(generation)]

    def get_parent_population(self, study: optuna.Study, generation: int) -> list[FrozenTrial]:
        known = self.ancestry.parents
        if generation not in known:
            known[generation] = [trial.number for trial in self.select_parent(study, generation)]
        trials = study.get_trials(deepcopy=False)
        return [trials[number] for number in known[generation]]


class _NSGAII(_Genetic, optuna.samplers.NSGAIISampler):
    pass


class _NSGAIII(_Genetic, optuna.samplers.NSGAIIISampler):
    pass


@final
class _Reseeded(BaseSampler):
    """Hands every trial to a sampler made for it alone, over a search space known beforehand.

    Optuna's samplers infer the space by reading all past trials; knowing it keeps an ask cheap in a long study.
    """

    def __init__(self, name: str, *, seed: int, population: int, space: Mapping[str, BaseDistribution]) -> None:
        self._make, self._seed, self._population = SAMPLERS[name], seed, population
        self._space = {key: value for key, value in space.items() if not value.single()}
        self.ancestry = Ancestry(population)
        self.walks_a_sequence = name in _SEQUENCES
        self._inner = self._make(seed, population)

    def warm(self, study: optuna.Study, firsts: Mapping[int, int]) -> None:
        """Finds the parents of every generation again, as its first proposal (`firsts`, by generation) once did: with
        that proposal's random state, from the first generation on."""
        for generation, number in sorted(firsts.items()):
            self.reseed(number)
            if isinstance(self._inner, _NSGAII | _NSGAIII):
                self._inner.get_parent_population(study, generation)

    def infer_relative_search_space(self, study: optuna.Study, trial: FrozenTrial) -> dict[str, BaseDistribution]:
        return self._space

    def reseed(self, number: int) -> None:
        """The next trial is proposal `number`."""
        if not self.walks_a_sequence:
            text = f"{self._seed}/{number}".encode()
            self._inner = self._make(int.from_bytes(hashlib.sha256(text).digest()[:4], "big"), self._population)
        if isinstance(self._inner, _NSGAII | _NSGAIII):
            self._inner.ancestry = self.ancestry

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        self._inner.before_trial(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self, study: optuna.Study, trial: FrozenTrial, param_name: str, param_distribution: BaseDistribution
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: optuna.Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)
