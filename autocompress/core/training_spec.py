"""How models are trained: teacher, elastic model and finalists."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from autocompress.core.data_spec import TextSpec

_FORBID = {"extra": "forbid"}

_FEATURES = ("attention", "relations", "hidden", "embeddings")
"""The losses that look inside of the teacher."""

_LEAST = {"learning_rate": 1e-8, "temperature": 0.1, "hard_weight": 0.0, "epochs": 1, **dict.fromkeys(_FEATURES, 0.0)}
"""The lowest end of each range that settings of a training are drawn from."""

AttentionForm = Literal["mse-scores", "mse-probabilities", "kl"]
ElasticSampling = Literal["random", "sandwich"]
Keep = Literal["best", "last"]
QuantizationAware = Literal["never", "lossy", "always"]
LayerMap = Literal["kept", "uniform", "last", "learned"]


@dataclass(frozen=True, slots=True)
class TrainingSpec:
    """How a model is trained: AdamW, linear warm-up and decay, best checkpoint on validation data.

    `dropout` replaces the model's own rates. Without it a step takes two thirds of the time on CPU (random numbers are
    dear), and students that learn from soft answers do not need it. `attention_dropout` does so for attention weights
    alone, whatever `dropout` says. `label_smoothing` is for true labels. `gradient_checkpointing` keeps no activations
    inside of layers but computes them again in the backward pass: slower, for machines short of memory.
    """

    epochs: int = 4
    batch_size: int = 32
    learning_rate: float = 2e-4
    weight_decay: float = 0.01
    warmup: float = 0.1
    clip_norm: float = 1.0
    label_smoothing: float = 0.0
    dropout: float | None = None
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    attention_dropout: float | None = None
    gradient_checkpointing: bool = False
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {getattr(self, name)}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name} > 0` must hold, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup", "label_smoothing", "dropout", "attention_dropout"):
            if not 0 <= (getattr(self, name) or 0.0) < 1:
                raise ValueError(f"`0 <= {name} < 1` must hold, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class DistillationSpec:
    """What a student learns from: `temperature` softens the teacher's logits; `hard_weight` is the share of that loss
    that the true labels keep (Hinton et al. 2015, section 2).

    The other losses are added by their weights; the formulas are in `distill/losses.py`. `attention` compares attention
    maps in `attention_form`; `relations` those of queries, keys and values among themselves, the choice where heads
    were pruned; `hidden` the layers' outputs and `embeddings` what goes into the first, through learned projections.
    Any of them takes a forward pass of the teacher for every step. `layer_map` says which layer of the teacher each of
    the student's learns from (`learned`: a weighted mean over all, the weights trained along). With `adaptive` every
    loss is scaled to the running size of the first, so that a weight of 1 lets it count as much.
    """

    temperature: float = 2.0
    hard_weight: float = 0.1
    attention: float = 0.0
    attention_form: AttentionForm = "kl"
    relations: float = 0.0
    hidden: float = 0.0
    embeddings: float = 0.0
    layer_map: LayerMap = "kept"
    adaptive: bool = False
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise ValueError(f"`temperature > 0` must hold, got {self.temperature}")
        if not 0 <= self.hard_weight <= 1:
            raise ValueError(f"`0 <= hard_weight <= 1` must hold, got {self.hard_weight}")
        for name, weight in self.feature_weights.items():
            if not 0 <= weight < math.inf:
                raise ValueError(f"`{name} >= 0` must hold, got {weight}")

    @property
    def feature_weights(self) -> dict[str, float]:
        """The weights of the losses that look inside of the teacher."""
        return {name: getattr(self, name) for name in _FEATURES}

    @property
    def looks_inside(self) -> bool:
        """Whether the teacher's answers are not enough to learn from."""
        return any(self.feature_weights.values())


@dataclass(frozen=True, slots=True)
class TransferSpec:
    """Texts that finalists learn from beside the labelled ones: `copies` variations of each, in which a token is
    replaced with probability `replace` by one of its `neighbours` nearest in the teacher's embeddings; `recombined` of
    each, its first part and the last part of another text of its class; and unlabelled `texts`. The teacher labels
    them; none comes near to a text of the validation or test split. At equal steps variations gain nothing that two
    seeds can show; they pay where more steps are trained than the labelled texts alone are worth."""

    copies: int = 0
    replace: float = 0.25
    neighbours: int = 8
    recombined: int = 0
    texts: TextSpec | None = None
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("copies", "recombined"):
            if not 0 <= getattr(self, name) <= 100:
                raise ValueError(f"`0 <= {name} <= 100` must hold, got {getattr(self, name)}")
        if not 0 < self.replace <= 1:
            raise ValueError(f"`0 < replace <= 1` must hold, got {self.replace}")
        if self.neighbours < 1:
            raise ValueError(f"`neighbours >= 1` must hold, got {self.neighbours}")


@dataclass(frozen=True, slots=True)
class ElasticSpec:
    """How the elastic model is trained, from which candidates are cut: by `steps` or by `minutes`, whichever is spent
    first, each step on `subnetworks` random ones that the study may choose. 0 steps: candidates keep the weights of the
    teacher as they are. What it learns from is that of the finalists.

    With `sampling: sandwich` two of a step's sub-networks are the largest and the smallest that the study may choose,
    and only the others are random (Yu and Huang 2019, section 3.1). `progressive` keeps all layers in the first half of
    the training: widths shrink first, and only then depth too (Cai et al. 2020, section 3.3)."""

    steps: int = 500
    minutes: float = 4.0
    subnetworks: int = 2
    batch_size: int = 32
    learning_rate: float = 3e-4
    sampling: ElasticSampling = "random"
    progressive: bool = False
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"`steps >= 0` must hold, got {self.steps}")
        if self.sampling == "sandwich" and self.subnetworks < 3:
            raise ValueError(
                f"`subnetworks >= 3` must hold with `sampling: sandwich` (the largest, the smallest and a random one), "
                f"got {self.subnetworks}"
            )
        for name in ("subnetworks", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {getattr(self, name)}")
        for name in ("minutes", "learning_rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name} > 0` must hold, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True)
class TuningSpec:
    """How often a finalist is trained with settings of its own, and between which: the first try is the study's
    recipe; the others are drawn, and those that fall behind after an epoch are stopped (ASHA). Learning rates are drawn
    from the logarithm of their range. The weights of further losses and the number of epochs are drawn where a range is
    given. The best try on validation data is kept. Without Ray (`--workers 0`) there is only the first."""

    tries: int = 1
    learning_rate: tuple[float, float] = (1e-4, 6e-4)
    temperature: tuple[float, float] = (1.0, 4.0)
    hard_weight: tuple[float, float] = (0.0, 0.3)
    attention: tuple[float, float] | None = None
    relations: tuple[float, float] | None = None
    hidden: tuple[float, float] | None = None
    embeddings: tuple[float, float] | None = None
    epochs: tuple[int, int] | None = None
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.tries < 1:
            raise ValueError(f"`tries >= 1` must hold, got {self.tries}")
        for name, least in _LEAST.items():
            low, high = getattr(self, name) or (least, least)
            if not least <= low <= high:
                raise ValueError(f"`{least:g} <= low <= high` must hold for `{name}`, got [{low:g}, {high:g}]")
        if self.hard_weight[1] > 1:
            raise ValueError(f"`hard_weight` must end at 1 or below, got {self.hard_weight[1]:g}")

    def draws(self, seed: int) -> list[dict[str, float]]:
        """The settings of the second try and the following."""
        generator = random.Random(seed)

        def drawn() -> dict[str, float]:
            low, high = self.learning_rate
            found: dict[str, float] = {
                "learning_rate": math.exp(generator.uniform(math.log(low), math.log(high))),
                "temperature": generator.uniform(*self.temperature),
                "hard_weight": generator.uniform(*self.hard_weight),
            }
            wanted = {name: getattr(self, name) for name in _FEATURES if getattr(self, name)}
            found |= {name: generator.uniform(*ends) for name, ends in wanted.items()}
            return found | ({"epochs": generator.randint(*self.epochs)} if self.epochs else {})

        return [drawn() for _ in range(self.tries - 1)]


@dataclass(frozen=True, slots=True)
class FinalistSpec:
    """How many members of the front are trained, exported and verified, and how.

    `freeze_embeddings` keeps the word embeddings as the teacher had them: that takes a third off the time of an epoch;
    what it costs in quality (0.3 points in the mean) is within the noise of two seeds (studies/benchmarks/recovery.py).
    `keep` the last epoch's weights, or those of the epoch that was best on validation data: search and pick choose by
    the same few texts already, and one more choice by them finds luck rather than quality (same benchmark).

    `more` is how many further candidates are trained where search scores rank the first finalists badly: at least four
    of them were trained, and Kendall's tau (1: the same order, 0: none) between their search scores and their scores on
    validation data after training is below `trusted`, or there is none, as all are alike. A study asks that once.

    Finalists that compute at least the share `from_teacher` of what the model does (its multiply-accumulates) are cut
    from the teacher itself, smaller ones from the elastic model; with a share above 1 all are cut from that. Larger
    students end higher from the teacher's weights, though they begin far lower (studies/benchmarks/origins.py).

    `quantization_aware` training goes on for `quantization_epochs` with weights and activations rounded as they will be
    deployed: for those finalists alone that lose more than `quantization_loss` by their precision (`lossy`), or for all
    that are quantized. Its outcome is kept where it scores no less on validation data, deployed, than what it started
    from. It is off unless asked for: a student in 4 bits gained nothing that one seed could show
    (studies/benchmarks/precision.py).
    """

    count: int = 5
    freeze_embeddings: bool = True
    training: TrainingSpec = field(default_factory=TrainingSpec)
    distillation: DistillationSpec = field(default_factory=DistillationSpec)
    transfer: TransferSpec = field(default_factory=TransferSpec)
    tuning: TuningSpec = field(default_factory=TuningSpec)
    keep: Keep = "last"
    more: int = 0
    trusted: float = 0.5
    from_teacher: float = 0.25
    quantization_aware: QuantizationAware = "never"
    quantization_loss: float = 0.005
    quantization_epochs: int = 2
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"`count >= 1` must hold, got {self.count}")
        if self.more < 0:
            raise ValueError(f"`more >= 0` must hold, got {self.more}")
        if self.from_teacher < 0:
            raise ValueError(f"`from_teacher >= 0` must hold, got {self.from_teacher}")
        if not -1 <= self.trusted <= 1:
            raise ValueError(f"`-1 <= trusted <= 1` must hold, got {self.trusted}")
        if not 0 <= self.quantization_loss <= 1:
            raise ValueError(f"`0 <= quantization_loss <= 1` must hold, got {self.quantization_loss}")
        if self.quantization_epochs < 1:
            raise ValueError(f"`quantization_epochs >= 1` must hold, got {self.quantization_epochs}")
