"""What a study works on: the files it reads, its texts, its task."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import ClassVar, Literal

_FORBID = {"extra": "forbid"}

TextFormat = Literal["csv", "tsv", "jsonl", "lines"]


@dataclass(frozen=True, slots=True)
class Asset:
    """A file or folder: a local `path`, a `hub` repository at a pinned `revision`, or a `member` of a package `wheel`
    (`name==version`, checked against `sha256`)."""

    path: str | None = None
    hub: str | None = None
    revision: str | None = None
    wheel: str | None = None
    member: str | None = None
    sha256: str | None = None
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        given = [name for name in ("path", "hub", "wheel") if getattr(self, name)]
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
        if self.member and (self.member.startswith("/") or ".." in self.member.split("/")):
            raise ValueError(f"`member` must lie inside the wheel, got {self.member!r}")

    def __str__(self) -> str:
        if self.hub:
            return f"{self.hub}@{self.revision}"
        return self.path or f"{self.wheel}:{self.member}"


@dataclass(frozen=True, slots=True)
class DataSpec:
    """Labelled texts.

    `csv`, `tsv` and `jsonl` name their `text` and `label` columns (a header-less tsv or csv uses `columns`); `lines`
    gives a `pattern` with the groups `text` and `label`. With `threshold` the label column is a number and the classes
    are `at or below` and `above` it. Repeated texts are dropped when `distinct`; of texts with several labels the first
    is kept. `split` is training, validation, test.
    """

    source: Asset
    format: TextFormat
    text: str = "text"
    label: str = "label"
    columns: tuple[str, ...] = ()
    pattern: str | None = None
    encoding: str = "utf-8"
    threshold: float | None = None
    distinct: bool = True
    split: tuple[float, float, float] = (0.8, 0.1, 0.1)
    split_seed: int = 0
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if (self.format == "lines") != (self.pattern is not None):
            raise ValueError("`pattern` belongs to format `lines`, and `lines` needs it")
        if self.pattern is not None and not {"text", "label"} <= _groups(self.pattern):
            raise ValueError("`pattern` must name the groups (?P<text>...) and (?P<label>...)")
        if any(share <= 0 for share in self.split) or abs(sum(self.split) - 1) > 1e-6:
            raise ValueError(f"`split` must be three positive shares that sum to 1, got {list(self.split)}")


@dataclass(frozen=True, slots=True)
class TextSpec:
    """Texts without labels: laid out as labelled ones are (`DataSpec`), but that `lines` needs no `pattern`: every line
    is a text. Empty and repeated ones count for nothing; `most` are used, at random where there are more."""

    source: Asset
    format: TextFormat
    text: str = "text"
    columns: tuple[str, ...] = ()
    pattern: str | None = None
    encoding: str = "utf-8"
    most: int = 20_000
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.pattern is not None and self.format != "lines":
            raise ValueError("`pattern` belongs to format `lines`")
        if self.pattern is not None and "text" not in _groups(self.pattern):
            raise ValueError("`pattern` must name the group (?P<text>...)")
        if self.most < 1:
            raise ValueError(f"`most >= 1` must hold, got {self.most}")


def _groups(pattern: str) -> set[str]:
    try:
        return set(re.compile(pattern).groupindex)
    except re.error as error:
        raise ValueError(f"`pattern` is no regular expression: {error}") from error


@dataclass(frozen=True, slots=True)
class TaskSpec:
    """What the model is for. Texts are cut at `max_length` tokens."""

    data: DataSpec
    kind: Literal["text-classification"] = "text-classification"
    metric: Literal["accuracy", "macro-f1"] = "accuracy"
    max_length: int = 128
    __pydantic_config__: ClassVar[dict[str, str]] = _FORBID

    def __post_init__(self) -> None:
        if self.max_length < 8:
            raise ValueError(f"`max_length >= 8` must hold, got {self.max_length}")
