"""What a study is asked to do. Every rule a value must keep is checked where the value is made."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Final, Literal

from autocompress.core.data_spec import Asset, ModelAsset, TaskSpec
from autocompress.core.metrics import METRICS, Direction
from autocompress.core.opsets import ExportSpec
from autocompress.core.parts import WHOLE
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIME_STEP, RuntimeName
from autocompress.core.scores import score_named
from autocompress.core.space import Choice, SearchSpace, StepSpace
from autocompress.core.task_kinds import form_of
from autocompress.core.training_spec import ElasticSpec, FinalistSpec, TeacherSpec
from autocompress.core.workload import Workload
from autocompress.errors import did_you_mean

_FORBID = {"extra": "forbid"}
WORKLOAD_FACT: Final = "workload"
"""The fact of a study that holds its workload with the lengths of its texts."""

POPULATION_FACT: Final = "population_trials"
"""The fact of a study with an extended budget that holds the trials it began with: generations keep their size."""

RENOMINATE_FACT: Final = "renominate"
"""The fact of an extended study whose finalists are to be chosen again: `all` of a longer search, or `more` of the same
one; empty once they were."""

_STUDY_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

SamplerName = Literal["nsga2", "nsga3", "tpe", "gp", "qmc", "random"]


def check_study_name(name: str) -> str:
    """Returns the name. Raises ValueError for anything that could be a path, an escape code or a surprise."""
    if not _STUDY_NAME.fullmatch(name):
        raise ValueError(
            f"a study name holds 1 to 128 letters, digits, '.', '_', '-', starting with a letter or digit; got {name!r}"
        )
    return name


@dataclass(frozen=True, slots=True)
class Budget:
    """How much a study may take. Its search ends after `trials` or `search_minutes`, whichever comes first. It also
    stops when at least five candidates were judged and more than `failure_share` of them failed."""

    trials: int
    """Candidates that are judged, the uncompressed model first. Infeasible and repeated ones cost nothing and do not
    count."""
    minutes: float | None = None
    """The longest that the whole study takes, from the teacher to certification. Its stages are planned from steps that
    are timed first: what the study asks for is cut where it does not fit, `run --dry-run` shows where."""
    search_minutes: float | None = None
    """The longest that the search alone takes."""
    timeout_seconds: float = 120.0
    """A candidate that takes longer is stopped."""
    memory_gb: float | None = None
    """The most memory, in gigabytes, that a worker may hold with what it started, beside what all workers share; one
    that holds more is stopped, and its candidate fails once a fresh worker did so too. Looked at five times a second. A
    worker takes half a gigabyte before it judges anything. `null`: no limit, and none with `--workers 0`, where no
    process can be stopped alone."""
    failure_share: float = 0.5
    """The share of failed candidates above which the search stops."""
    recovery_steps: int = 0
    """Steps for which a candidate is trained before it is scored, which takes seconds: settings of distillation can be
    told apart in no other way."""
    search_rows: int | None = 2000
    """The most validation rows that a candidate of the search is judged on, the same ones for all; `null`: all. So many
    tell candidates apart, and a search takes no longer for more. Finalists are judged on all."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise ValueError(f"`trials >= 1` must hold, got {self.trials}")
        if self.recovery_steps < 0:
            raise ValueError(f"`recovery_steps >= 0` must hold, got {self.recovery_steps}")
        if self.search_rows is not None and self.search_rows < 1:
            raise ValueError(f"`search_rows >= 1` must hold, got {self.search_rows}")
        for name in ("minutes", "search_minutes", "timeout_seconds", "memory_gb", "failure_share"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"`{name} > 0` must hold, got {value}")


@dataclass(frozen=True, slots=True)
class Bound:
    """What a metric must keep: at least `min`, at most `max`."""

    min: float | None = None
    """The least that the metric may be."""
    max: float | None = None
    """The most that the metric may be."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.min is None and self.max is None:
            raise ValueError("a constraint needs `min`, `max` or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"`min <= max` must hold, got min={self.min}, max={self.max}")

    def violation(self, value: float) -> float:
        """How far a value lies outside the bound; 0 inside."""
        below = self.min - value if self.min is not None else 0.0
        above = value - self.max if self.max is not None else 0.0
        return max(below, above, 0.0)

    def overlaps(self, low: float, high: float) -> bool:
        """Whether some value between `low` and `high` lies inside the bound."""
        return (self.max is None or low <= self.max) and (self.min is None or high >= self.min)

    def __str__(self) -> str:
        return " and ".join(
            text
            for text in (self.min is not None and f">= {self.min:g}", self.max is not None and f"<= {self.max:g}")
            if text
        )


@dataclass(frozen=True, slots=True)
class StudySpec:
    """One study: a model, what it is for, where it must run, what may be done to it and what counts."""

    name: str
    """What the study is called in the database and on the command line."""
    version: int
    """Yours to raise when the study changes."""
    model: ModelAsset
    """The model to compress: BERT, RoBERTa, DistilBERT and their like, fine-tuned or not."""
    task: TaskSpec
    """What the model is for, and the data."""
    space: SearchSpace
    """What may be done to the model: the name of a search space, a path, or the space itself."""
    device: str
    """Where it must run: `host` is this machine; others are names of hardware profiles, or paths."""
    objectives: Mapping[str, Direction]
    """The metrics that count, each with its direction. There are no weights between them: the result is a front to pick
    from."""
    budget: Budget
    """How much the study may take, and when its search ends."""
    workload: Workload = field(default_factory=Workload)
    """What one inference is."""
    constraints: Mapping[str, Bound] = field(default_factory=dict)
    """What every candidate must keep, by metric."""
    sampler: SamplerName = "nsga2"
    """Who proposes candidates."""
    teacher: TeacherSpec = field(default_factory=TeacherSpec)
    """How the uncompressed model is trained for the task, where it is not fine-tuned yet, and what is asked of one
    that is. It is the baseline, and the teacher of the finalists."""
    elastic: ElasticSpec = field(default_factory=ElasticSpec)
    """How the model is trained that candidates are cut from."""
    finalists: FinalistSpec = field(default_factory=FinalistSpec)
    """How many of the front are trained, exported and verified, and how."""
    seed: int = 0
    """Of everything that is random: the same seed finds the same with one worker."""
    description: str = ""
    """A sentence for lists and reports."""
    runtime: RuntimeName = DEFAULT_RUNTIME
    """Where every model is deployed, unless the space chooses among several."""
    export: ExportSpec = field(default_factory=ExportSpec)
    """How files are written."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        check_study_name(self.name)
        if not self.objectives:
            raise ValueError("`objectives` must name at least one metric")
        for part in ("objectives", "constraints"):
            for metric in getattr(self, part):
                if metric not in METRICS:
                    raise ValueError(f"{part}: unknown metric {metric!r}; {did_you_mean(metric, METRICS)}")
        for metric, way in self.objectives.items():
            if way != METRICS[metric].direction:
                raise ValueError(f"objectives.{metric}: `{METRICS[metric].direction}` must hold, got {way}")
        if self.runtime != DEFAULT_RUNTIME and self._runtime_steps:
            raise ValueError(
                f"`runtime` must be left out, as the space {self.space.name!r} chooses it by itself, got {self.runtime}"
            )
        certify, unit = self.finalists.certify, str(self.task.scored)
        if certify is not None and certify.drop is None and not score_named(unit).points:
            raise ValueError(f"`finalists.certify.drop` must be given, in the unit of {unit}, which has no hundredths")
        is_text = form_of(self.task.kind).modality == "text"
        if not is_text:
            self._refuse_texts()
        if is_text and self.workload.length > self.task.max_length:
            raise ValueError(
                f"`workload.length <= task.max_length` must hold, got {self.workload.length} > {self.task.max_length}"
            )

    @property
    def most_lessons(self) -> int | None:
        """Rows that students can look at in all their steps, where the finalists' are bounded."""
        training = self.finalists.training
        if training.steps is None:
            return None
        return max(training.steps * training.batch_size, self.elastic.steps * self.elastic.batch_size)

    def _refuse_texts(self) -> None:
        """Raises ValueError for settings of texts in a study of images."""
        transfer = self.finalists.transfer
        named = {
            "model.positions": self.model.positions,
            "workload.lengths": self.workload.lengths != "padded",
            "finalists.transfer.recombined": transfer.recombined,
            "finalists.transfer.texts": transfer.texts,
        }
        if found := [name for name, given in named.items() if given]:
            raise ValueError(f"{', '.join(found)}: of texts, and {self.task.kind} reads none; leave that out")

    def as_served(self, facts: Mapping[str, Any]) -> StudySpec:
        """With the lengths of its texts, which a study keeps among its facts once its data were read."""
        known = facts.get(WORKLOAD_FACT)
        return replace(self, workload=Workload.of(known)) if known else self

    @property
    def policies(self) -> SearchSpace:
        """The space, every policy of which says so where the study's runtime is not the default."""
        if self.runtime == DEFAULT_RUNTIME:
            return self.space
        last = StepSpace(RUNTIME_STEP, WHOLE, settings={RUNTIME_STEP: self.runtime})
        return replace(self.space, steps=(*self.space.steps, last))

    @property
    def runtimes(self) -> tuple[str, ...]:
        """Every runtime that models of the study are measured in; the baseline's is the default."""
        found: list[str] = [DEFAULT_RUNTIME, self.runtime]
        for step in self._runtime_steps:
            knob = step.knobs.get(RUNTIME_STEP)
            chosen = knob.choices if isinstance(knob, Choice) else (step.settings.get(RUNTIME_STEP, DEFAULT_RUNTIME),)
            found += map(str, chosen)
        return tuple(dict.fromkeys(found))

    @property
    def _runtime_steps(self) -> list[StepSpace]:
        return [step for step in self.space.steps if step.operator == RUNTIME_STEP]

    @property
    def sources(self) -> dict[str, Asset]:
        """What is fetched before anything is run, by the names under which digests of it are kept."""
        texts = self.finalists.transfer.texts
        return {"model": self.model, **self.task.data.sources} | ({"texts": texts.source} if texts else {})
