"""What a study may ask for at most: beyond these ends a number is a slip, and what it costs is seen only
hours later. They hold for files and options as they are written; what is stored already stays readable."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final

from autocompress.config.document import Place
from autocompress.config.problems import Problems
from autocompress.core.data_spec import SPLITS, Asset
from autocompress.core.metrics import METRICS
from autocompress.core.scores import MetricSpec
from autocompress.core.spec import StudySpec

_SEED: Final = 2**32 - 1  # what the generators behind the samplers take
_RANGES: Final[dict[Place, tuple[float, float]]] = {
    ("budget", "trials"): (1, 10**6),
    ("budget", "minutes"): (0, 10**6),
    ("budget", "search_minutes"): (0, 10**6),
    ("budget", "timeout_seconds"): (0, 10**6),
    ("budget", "memory_gb"): (0, 10**6),
    ("budget", "failure_share"): (0, 1),
    ("budget", "recovery_steps"): (0, 10**6),
    ("budget", "search_rows"): (1, 10**7),
    ("workload", "batch"): (1, 2**16),
    ("workload", "threads"): (1, 4096),
    ("task", "max_length"): (8, 2**17),
    ("task", "data", "split_seed"): (0, _SEED),
    ("teacher", "epochs"): (1, 10_000),
    ("teacher", "steps"): (1, 10**7),
    ("teacher", "batch_size"): (1, 2**16),
    ("teacher", "learning_rate"): (0, 1),
    ("elastic", "steps"): (0, 10**7),
    ("elastic", "minutes"): (0, 10**6),
    ("elastic", "subnetworks"): (1, 1000),
    ("elastic", "batch_size"): (1, 2**16),
    ("elastic", "learning_rate"): (0, 1),
    ("finalists", "count"): (1, 1000),
    ("finalists", "more"): (0, 1000),
    ("finalists", "quantization_epochs"): (1, 10_000),
    ("finalists", "training", "epochs"): (1, 10_000),
    ("finalists", "training", "steps"): (1, 10**7),
    ("finalists", "training", "batch_size"): (1, 2**16),
    ("finalists", "training", "learning_rate"): (0, 1),
    ("finalists", "tuning", "tries"): (1, 1000),
    ("finalists", "certify", "minutes"): (0, 10**6),
    ("seed",): (0, _SEED),
}
_COMMIT: Final = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_SOURCES: Final[dict[str, Place]] = {
    "model": ("model",),
    "data": ("task", "data", "source"),
    **{f"data.{name}": ("task", "data", name, "source") for name in SPLITS},
    "texts": ("finalists", "transfer", "texts", "source"),
}


def check_limits(spec: StudySpec, problems: Problems) -> None:
    """Reports every number of a study that lies beyond all use, and hub revisions that move."""
    for place, message in beyond_limits(spec):
        problems.add(place, message)


def beyond_limits(spec: StudySpec) -> list[tuple[Place, str]]:
    """Where a study asks for what no study is given, and why not."""
    return [*_of_numbers(spec), *_of_bounds(spec), *_of_revisions(spec)]


def _of_numbers(spec: StudySpec) -> Iterator[tuple[Place, str]]:
    for place, (low, high) in _RANGES.items():
        value = _at(spec, place)
        if value is not None and not low <= value <= high:
            yield place, f"must lie between {low:,} and {high:,}, got {_short(value)}"


def _of_bounds(spec: StudySpec) -> Iterator[tuple[Place, str]]:
    for metric, bound in spec.constraints.items():
        for end in ("min", "max"):
            value = getattr(bound, end)
            if value is not None and (wrong := _wrong_bound(metric, value, spec.task.scored)):
                yield ("constraints", metric, end), wrong


def _wrong_bound(metric: str, value: float, scored: MetricSpec) -> str:
    """Why no value of the metric lies there; empty when some do."""
    is_share = METRICS[metric].unit == "share"
    kind = scored.kind
    if is_share and kind.worst < 0:
        most = math.inf if scored.function else 1.0 if kind.direction == "maximize" else 0.0
        if kind.worst <= value <= most:
            return ""
        return f"must be at most {most:g}, as {kind.quality} is, got {_short(value)}"
    if 0 <= value <= (1 if is_share else math.inf):
        return ""
    if not is_share:
        return f"must be >= 0, as {metric} is, got {_short(value)}"
    hint = f"; {value:g} % is written {value / 100:g}" if 1 < value <= 100 else ""
    return f"must lie between 0 and 1, as {metric} is a share, got {_short(value)}{hint}"


def _of_revisions(spec: StudySpec) -> Iterator[tuple[Place, str]]:
    for name, asset in spec.sources.items():
        if asset.hub and not _COMMIT.fullmatch(asset.revision or ""):
            yield (*_SOURCES[name], "revision"), moving_revision(asset)


def moving_revision(asset: Asset) -> str:
    """What is said of a branch or tag where a commit is wanted: the study would be another one tomorrow."""
    return (
        f"must be a commit (40 hex digits), got {asset.revision!r}, a branch or tag, which moves; "
        f"`git ls-remote https://huggingface.co/{asset.hub} {asset.revision}` prints its commit"
    )


def _at(spec: Any, place: Place) -> Any:
    for name in place:
        spec = None if spec is None else getattr(spec, str(name))
    return spec


def _short(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
