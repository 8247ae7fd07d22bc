"""How models are trained: teacher, elastic model and finalists."""

from __future__ import annotations

import math
import random
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal

from autocompress.core.data_spec import TextSpec

_FORBID = {"extra": "forbid"}

ONE_POINT: Final = 0.01
"""The drop in quality that is asked about where none is named."""

EPOCH_ROWS: Final = 2000
"""The most validation rows on which an epoch's weights are told from another's: a training takes no longer for more."""

PER_LAYER: Final = ("attention", "relations", "hidden")
"""The losses that compare what layers say."""
_FEATURES = (*PER_LAYER, "embeddings")
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
    """How a model is trained: AdamW, linear warm-up and decay, best checkpoint on validation data."""

    epochs: int = 4
    """How often every text is learned from."""
    steps: int | None = None
    """At most so many steps in all, though one in each epoch: where `epochs` would take more, each learns from another
    random part of the texts. What a training takes then grows with this, and not with the number of labelled texts."""
    batch_size: int = 32
    """Texts a step."""
    learning_rate: float = 2e-4
    """The highest rate, which the warm-up ends at and the decay begins with."""
    weight_decay: float = 0.01
    """Of matrices; biases and normalisation are not decayed."""
    warmup: float = 0.1
    """The share of the steps in which the rate rises."""
    clip_norm: float = 1.0
    """The length to which longer gradients are cut."""
    label_smoothing: float = 0.0
    """The share of a true label that is spread over all classes."""
    dropout: float | None = None
    """Replaces the model's own rates. Without it (0.0) a step takes two thirds of the time on CPU, as random numbers
    are dear, and students that learn from soft answers do not need it."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """`bf16` multiplies in mixed precision; `auto` does so where this processor is clearly faster that way."""
    attention_dropout: float | None = None
    """Replaces the rate of attention weights alone, whatever `dropout` says."""
    gradient_checkpointing: bool = False
    """Keeps no activations inside of layers but computes them again in the backward pass: slower, for machines short of
    memory."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name} >= 1` must hold, got {getattr(self, name)}")
        if self.steps is not None and self.steps < 1:
            raise ValueError(f"`steps >= 1` must hold, got {self.steps}")
        for name in ("learning_rate", "clip_norm"):
            if not getattr(self, name) > 0:
                raise ValueError(f"`{name} > 0` must hold, got {getattr(self, name)}")
        for name in ("weight_decay", "warmup", "label_smoothing", "dropout", "attention_dropout"):
            if not 0 <= (getattr(self, name) or 0.0) < 1:
                raise ValueError(f"`0 <= {name} < 1` must hold, got {getattr(self, name)}")

    @property
    def identity(self) -> dict[str, Any]:
        """What the trained weights depend on. A limit that is not set is left out, so that models trained before there
        was one are found."""
        return {name: value for name, value in asdict(self).items() if not (name == "steps" and value is None)}

    def steps_an_epoch(self, rows: int) -> int:
        """Batches of an epoch over so many rows."""
        whole = math.ceil(rows / self.batch_size)
        return whole if self.steps is None else min(whole, max(1, self.steps // self.epochs))

    def going_on(self, *, epochs: int, learning_rate: float) -> TrainingSpec:
        """What follows it: another number of epochs, as long as its own."""
        steps = None if self.steps is None else max(1, self.steps // self.epochs) * epochs
        return replace(self, epochs=epochs, steps=steps, learning_rate=learning_rate)


@dataclass(frozen=True, slots=True)
class TeacherSpec(TrainingSpec):
    """How the uncompressed model is trained where it is not fine-tuned yet, and what is asked of it."""

    head: Literal["own", "new"] = "own"
    """With `new`, a model that was fine-tuned for something else keeps its encoder alone, and a classifier for the
    labels of the data is trained on it."""
    accept_poor: bool = False
    """Whether the study goes on with a teacher that answers no better than the commonest class does, or whose answers
    fit another order of labels."""

    @property
    def training(self) -> TrainingSpec:
        """What the trained weights depend on."""
        return TrainingSpec(**{one.name: getattr(self, one.name) for one in fields(TrainingSpec)})


@dataclass(frozen=True, slots=True)
class DistillationSpec:
    """What a student learns from. The formulas of all losses are in `distill/losses.py`; those beside the teacher's
    answers are added by their weights, and any of them takes a forward pass of the teacher for every step."""

    temperature: float = 2.0
    """Softens the teacher's logits (Hinton et al. 2015, section 2)."""
    hard_weight: float = 0.1
    """The share that the true labels keep beside the teacher's answers."""
    attention: float = 0.0
    """Weight of the loss between attention maps."""
    attention_form: AttentionForm = "kl"
    """What is compared of attention maps: scores or probabilities by their mean square, or distributions by their
    divergence."""
    relations: float = 0.0
    """Weight of the loss between the relations of queries, keys and values among themselves: the choice where heads
    were pruned."""
    hidden: float = 0.0
    """Weight of the loss between the layers' outputs, through learned projections."""
    embeddings: float = 0.0
    """Weight of the loss between what goes into the first layer, through a learned projection."""
    layer_map: LayerMap = "kept"
    """Which layer of the teacher each of the student's learns from: the one that it was (`kept`), at even distances,
    the last ones, or a weighted mean over all whose weights are trained along (`learned`)."""
    adaptive: bool = False
    """Scales every loss to the running size of the first, so that a weight of 1 lets it count as much."""
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
    """Texts that finalists learn from beside the labelled ones, all labelled by the teacher; none comes near to a text
    of the validation or test split. At equal steps variations gain nothing that two seeds can show; they pay where more
    steps are trained than the labelled texts alone are worth."""

    copies: int = 0
    """Variations of each labelled text, or of each image: moved by up to an eighth of its sides, every other one
    mirrored."""
    replace: float = 0.25
    """The probability with which a token of a variation is replaced by a near one."""
    neighbours: int = 8
    """How many of the nearest tokens, in the teacher's embeddings, one is taken from."""
    recombined: int = 0
    """Texts made of the first part of each text and the last part of another of its class."""
    texts: TextSpec | None = None
    """Unlabelled texts of yours."""
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
    first. What it learns from is that of the finalists."""

    steps: int = 500
    """Steps of training; 0: there is no elastic model, and candidates keep the weights of the teacher as they are."""
    minutes: float = 4.0
    """The longest that its training may take."""
    subnetworks: int = 2
    """How many random models that the study may choose are trained in a step."""
    batch_size: int = 32
    """Texts a step."""
    learning_rate: float = 3e-4
    """The highest rate."""
    sampling: ElasticSampling = "random"
    """With `sandwich` two of a step's sub-networks are the largest and the smallest that the study may choose, and only
    the others are random (Yu and Huang 2019, section 3.1)."""
    progressive: bool = False
    """Keeps all layers in the first half of the training: widths shrink first, and only then depth too (Cai et al.
    2020, section 3.3)."""
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
    """How often a finalist is trained with settings of its own, and between which: the first try is the study's recipe;
    the others are drawn, and those that fall behind after an epoch are stopped (ASHA). The best try on validation data
    is kept. Without Ray (`--workers 0`) there is only the first."""

    tries: int = 1
    """How often each finalist is trained."""
    learning_rate: tuple[float, float] = (1e-4, 6e-4)
    """The range that rates are drawn from, evenly on its logarithm."""
    temperature: tuple[float, float] = (1.0, 4.0)
    """The range of `distillation.temperature`."""
    hard_weight: tuple[float, float] = (0.0, 0.3)
    """The range of `distillation.hard_weight`."""
    attention: tuple[float, float] | None = None
    """The range of `distillation.attention`; not drawn where it is not given."""
    relations: tuple[float, float] | None = None
    """The range of `distillation.relations`; not drawn where it is not given."""
    hidden: tuple[float, float] | None = None
    """The range of `distillation.hidden`; not drawn where it is not given."""
    embeddings: tuple[float, float] | None = None
    """The range of `distillation.embeddings`; not drawn where it is not given."""
    epochs: tuple[int, int] | None = None
    """The range of `training.epochs`; not drawn where it is not given."""
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
class CertifySpec:
    """Cross-fitting, after verification: teacher and students are trained anew without a fold of the training split and
    judged on it, so that training rows tell too what is lost. Of finalists of which held-out rows cannot tell whether
    they keep a bound on the drop, the fastest first, until that can be told or the minutes are spent."""

    folds: int = 5
    """Parts that the training split is cut into."""
    minutes: float = 20.0
    """The longest that it takes; it comes on top of the rest of the study."""
    drop: float | None = None
    """The bound that `pick` will ask for: one point unless given, and to be given in the metric's own unit where that
    has no hundredths."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if not 2 <= self.folds <= 20:
            raise ValueError(f"`2 <= folds <= 20` must hold, got {self.folds}")
        if not self.minutes > 0:
            raise ValueError(f"`minutes > 0` must hold, got {self.minutes}")
        if self.drop is not None and not 0 <= self.drop < math.inf:
            raise ValueError(f"`drop >= 0` must hold, got {self.drop}")

    @property
    def bound(self) -> float:
        """The drop, as a number."""
        return ONE_POINT if self.drop is None else self.drop


@dataclass(frozen=True, slots=True)
class FinalistSpec:
    """How many members of the front are trained, exported and verified, and how."""

    count: int = 5
    """How many are trained; only they, and the `uncut` one, are offered by `pick`."""
    uncut: bool = True
    """Whether the model from which nothing is cut is one more of them, in the fewest bits that search found good: it
    needs no training, is what a strict bound falls back on, and the large member of cascades."""
    freeze_embeddings: bool = True
    """Keeps the word embeddings as the teacher had them: that takes a third off the time of an epoch; what it costs in
    quality (0.3 points in the mean) is within the noise of two seeds (studies/benchmarks/recovery.py). Those in fewer
    bits than 4 are trained in any case."""
    training: TrainingSpec = field(default_factory=TrainingSpec)
    """How they are trained."""
    distillation: DistillationSpec = field(default_factory=DistillationSpec)
    """What they learn from."""
    transfer: TransferSpec = field(default_factory=TransferSpec)
    """Texts that they learn from beside the labelled ones."""
    tuning: TuningSpec = field(default_factory=TuningSpec)
    """How often each is trained, with which settings."""
    keep: Keep = "last"
    """The weights of the `last` epoch, or of the one that was `best` on validation data: search and pick choose by the
    same few texts already, and one more choice by them finds luck rather than quality (studies/benchmarks/recovery.py).
    """
    more: int = 0
    """How many further candidates are trained where search scores rank the first finalists badly: at least four of them
    were trained, and Kendall's tau between their scores before training and after it is below `trusted`, or there is
    none, as all are alike. A study asks that once."""
    trusted: float = 0.5
    """The least Kendall's tau (1: the same order, 0: none) that needs no further finalists."""
    from_teacher: float = 0.25
    """Finalists that compute at least this share of what the model does (its multiply-accumulates) are cut from the
    teacher itself, smaller ones from the elastic model; above 1 all are cut from that. Larger students end higher from
    the teacher's weights, though they begin far lower (studies/benchmarks/origins.py)."""
    quantization_aware: QuantizationAware = "never"
    """Which finalists go on training with weights and activations rounded as they will be deployed: those that lose
    more than `quantization_loss` by their precision (`lossy`), or all that are quantized (`always`). The outcome is
    kept where it scores no less on validation data, deployed, than what it started from. A student in 4 bits gained
    nothing that one seed could show (studies/benchmarks/precision.py). What holds anything in 2 bits, in three values
    or in one bit is trained so from its first step on, whatever this says."""
    quantization_loss: float = 0.005
    """The loss by precision above which `lossy` trains on, as a share of what a student's quality has above chance."""
    quantization_epochs: int = 2
    """Epochs of that training."""
    certify: CertifySpec | None = None
    """Whether rows of the training split tell by cross-fitting what finalists lose, and for how long."""
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
