"""The sockets of the program on one page, but for tasks (`tasks.task`). Whoever passes a port's contract suite in
`autocompress.testing` fits."""

from __future__ import annotations

import collections
import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from autocompress.core.outcome import Outcome, Proposal
from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import CompressionPolicy, Setting, Step


class Phase(enum.IntEnum):
    """The order in which steps must stand in a policy."""

    DEPTH = 1
    WIDTH = 2
    RANK = 3
    SPARSITY = 4
    ATTENTION_PATTERN = 5
    RECOVERY = 6
    PRECISION = 7
    DEPLOYMENT = 8


@dataclass(frozen=True, slots=True)
class SettingRule:
    """What a setting of an operator may be: one of `values`, or a number from `low` to `high`: a whole one (a `size`
    may also be written as a share of what the model has) that is a `multiple` of some, or any where it is `real`.
    Without a `default` it must be given, unless it is `optional`: then something else decides where it is not. A size
    may be one of some `words`, which mean a number once the space is bound. One that is `told_by` another setting need
    not be given, and cannot be otherwise, where that has one of these values. One that is `not_with` values of another
    has no place beside them; one that means something `only_with` some values of another is dropped where that has
    others."""

    values: tuple[Setting, ...] = ()
    low: float | None = None
    high: float | None = None
    real: bool = False
    size: bool = False
    default: Setting | None = None
    optional: bool = False
    multiple: int = 1
    words: tuple[str, ...] = ()
    told_by: tuple[str, Mapping[Any, Setting]] | None = None
    not_with: tuple[str, tuple[Setting, ...]] | None = None
    only_with: tuple[str, tuple[Setting, ...]] | None = None

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, or None."""
        if self.values:
            if any(value == allowed and type(value) is type(allowed) for allowed in self.values):
                return None
            return f"{value!r} is not offered (allowed: {', '.join(map(str, self.values))})"
        if isinstance(value, str) and value in self.words:
            return None
        kinds = (int, float) if self.real else (int,)
        if isinstance(value, bool) or not isinstance(value, kinds) or not math.isfinite(value):
            words = f", nor {' or '.join(map(repr, self.words))}" if self.words else ""
            return f"{value!r} is not a {'' if self.real else 'whole '}number{words}"
        if self.low is not None and value < self.low:
            return f"{value} is less than {self.low:g}"
        if self.high is not None and value > self.high:
            return f"{value} is more than {self.high:g}"
        if self.multiple > 1 and value % self.multiple:
            return f"{value} is no multiple of {self.multiple}"
        return None


class Operator(Protocol):
    """One way to make a model smaller, as numbers: `operators.operator.LiveOperator` is one that does it. `targets` are
    what a step of it may name, as globs of a model whose stack is called `layers`: a kind of part
    (`layers.*.attention`, `embeddings`), whole layers (`layers.*`), or `*`, the model.

    `reshape` says what a step does to a model, or None where it does nothing: such a step is dropped. What it changes
    must be seen in the parts it gives back, which a field of `Storage` or `Part` is enough for.
    """

    @property
    def name(self) -> str: ...

    @property
    def phase(self) -> Phase: ...

    @property
    def elastic(self) -> bool:
        """Whether what `apply` leaves of a `copy(linked=True)` stays connected to the tensors it was cut from, so that
        the elastic model is trained for it."""

    @property
    def targets(self) -> tuple[str, ...]: ...

    @property
    def rules(self) -> Mapping[str, SettingRule]: ...

    def fits(self, part: Part) -> bool:
        """Whether a step may name this part, or its layer, as far as `targets` hold such."""

    def size_of(self, part: Part, setting: str) -> int | None:
        """How many units the part has, for settings that are sizes; None otherwise."""

    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        """The model afterwards. Raises CandidateError when the step cannot be applied to it."""


class Sampler(Protocol):
    """Proposes points and learns from their outcomes.

    Given the same seed and the same tells in the same order, the same points are proposed, whether or not the process
    was restarted in between.
    """

    def ask(self, point: Mapping[str, Setting] | None = None) -> Proposal:
        """The next point; `point` itself where one is given."""

    def tell(self, number: int, outcome: Outcome) -> None: ...


@dataclass(frozen=True, slots=True)
class Job:
    """One candidate to evaluate."""

    number: int
    policy: CompressionPolicy
    attempt: int


@dataclass(frozen=True, slots=True)
class Done:
    """A job's outcome."""

    job: Job
    outcome: Outcome
    seconds: float


@dataclass(frozen=True, slots=True)
class Lost:
    """A job whose worker died, hung or ran out of memory; it may be tried again. Not `began`: the worker had not begun
    with it, so the job is not to blame. `error` is what the failure is called where it is not tried again."""

    job: Job
    reason: str
    began: bool = True
    error: str = "WorkerLost"


Evaluate = Callable[[CompressionPolicy], Outcome]


class Runner(Protocol):
    """Where evaluations run. At most `slots` jobs are in flight."""

    @property
    def slots(self) -> int: ...

    def submit(self, job: Job) -> None: ...

    def wait(self, seconds: float) -> Sequence[Done | Lost]:
        """Whatever ended, waiting at most this long for the first."""

    def close(self) -> None: ...


@dataclass(slots=True)
class Tally:
    """Where a search is: `target` candidates to judge, what became of those so far, the front, the seconds since
    the search began and their `limit`, if there is one, and the processor seconds that the `driver` itself took:
    workers have a job waiting, so they do not wait for it."""

    target: int
    evaluated: int = 0
    failed: int = 0
    infeasible: int = 0
    repeated: int = 0
    running: int = 0
    front: int = 0
    seconds: float = 0.0
    driver: float = 0.0
    limit: float | None = None
    causes: collections.Counter[str] = field(default_factory=collections.Counter)

    @property
    def judged(self) -> int:
        return self.evaluated + self.failed


class Observer(Protocol):
    """Who watches a study run. Called from the driver's thread; must not raise."""

    def stage(self, name: str, detail: str = "") -> None:
        """A stage begins: assets, teacher, importance, device, elastic model, workers, search, finalists, verification,
        done."""

    def progress(self, done: float, total: float | None, text: str = "") -> None:
        """How far the stage is, and in words what it does just now; without a `total` that is all that is known."""

    def tally(self, tally: Tally) -> None:
        """How far the search is."""

    def note(self, text: str) -> None:
        """A line worth keeping, such as the range a metric can reach; several lines are a table."""


class Logger(Protocol):
    """Keeps what a study finds where people look at many runs (`loggers/`). Called from the driver's thread; what it
    raises after `begin` is told, and it is told nothing more."""

    def begin(self, study: str, settings: Mapping[str, Any]) -> None:
        """A run of this study begins, or one that goes on with it: `settings` are the study as it was understood."""

    def numbers(self, values: Mapping[str, float], step: int) -> None: ...

    def words(self, name: str, text: str, step: int | None = None) -> None:
        """Markdown; without a `step` it is of the whole study."""

    def end(self, state: str) -> None:
        """The run ends with the study in this state: complete, interrupted, failed."""


class Meter(Protocol):
    """Milliseconds of one inference of several exported models, measured side by side."""

    def __call__(self, files: Sequence[Any]) -> Sequence[Sequence[float]]: ...
