"""Students of a study's teacher, trained alone on one thread each and judged: what several benchmarks compare."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from autocompress.candidates.evaluate import SliceEvaluator, quality
from autocompress.core.cores import usable_cores
from autocompress.core.outcome import values
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.distill import CHECKPOINT, kept_weights, predict
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.tasks import batches

SPLITS = ("validation", "test")

Row = dict[str, Any]
Job = tuple[Row, Recovery, CompressionPolicy]
"""What the row says of it, how it is trained, and what is trained."""


def student(kept: tuple[int, ...], heads: int, channels: int) -> CompressionPolicy:
    """Only the layers `kept` of six, each with so many heads and channels, all in int8."""
    return sized(dict.fromkeys(kept, (heads, channels)))


def sized(sizes: dict[int, tuple[int, int]]) -> CompressionPolicy:
    """Of six layers those named, each with its heads and channels, all in int8."""
    removed = [Step("remove_layer", f"layers.{i}") for i in range(6) if i not in sizes]
    how = {"importance": "fisher"}
    heads = [Step("prune_heads", f"layers.{i}.attention", {"heads": n, **how}) for i, (n, _) in sizes.items()]
    channels = [
        Step("prune_channels", f"layers.{i}.feed_forward", {"channels": n, **how}) for i, (_, n) in sizes.items()
    ]
    return CompressionPolicy(
        (*removed, *heads, *channels, *(Step("quantize", f"layers.{i}", {"bits": 8}) for i in sizes))
    )


THREE = {
    "2 layers": student((1, 4), 6, 768),
    "3 layers": student((0, 2, 4), 6, 384),
    "4 layers": student((0, 1, 3, 5), 6, 768),
}
SIX = {
    "1 layer": student((4,), 12, 768),
    **THREE,
    "5 narrow layers": sized({0: (6, 384), 1: (3, 384), 3: (6, 384), 4: (9, 768), 5: (3, 384)}),
    "3 whole layers": student((0, 2, 4), 12, 1536),
}


def scored(recovery: Recovery, policy: CompressionPolicy) -> dict[str, float]:
    """The cheap score alone."""
    torch.set_num_threads(1)
    return {"cheap": values(SliceEvaluator(recovery.setup)(policy).measurements)["quality"]}  # type: ignore[union-attr]


def judge(recovery: Recovery, policy: CompressionPolicy) -> dict[str, float]:
    """Cheap and trained scores of one policy, and the seconds that training took."""
    cheap = scored(recovery, policy)
    started = time.monotonic()
    weights = trained_weights(recovery, policy)
    seconds = time.monotonic() - started
    return {**cheap, **deployed_scores(recovery, policy, weights), "seconds": seconds}


def trained_weights(recovery: Recovery, policy: CompressionPolicy) -> Any:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        recovery(policy, folder=Path(folder))
        return kept_weights(Path(folder) / CHECKPOINT)[0]


def deployed_scores(recovery: Recovery, policy: CompressionPolicy, weights: Any) -> dict[str, float]:
    """On both splits, with the numbers of the deployed file."""
    setup = recovery.setup
    model = deployed_student(setup, policy, weights).model
    logits = {split: predict(model, batches(setup.task.examples(split), 32), precision="fp32") for split in SPLITS}
    return {split: quality(setup.task, found, setup.task.examples(split)).value for split, found in logits.items()}


def side_by_side(jobs: Sequence[Job], judged: Callable[..., Any] = judge) -> Iterator[tuple[Row, Any]]:
    """What each row says, and what came of it, one worker a core."""
    abouts, recoveries, policies = zip(*jobs, strict=True) if jobs else ((), (), ())
    with ProcessPoolExecutor(usable_cores(), mp_context=get_context("spawn")) as pool:
        yield from zip(abouts, pool.map(judged, recoveries, policies), strict=True)


def mean_of_both(row: Row) -> float:
    """Points on validation and test texts together: twice as many as either."""
    return 50 * float(row["validation"] + row["test"])
