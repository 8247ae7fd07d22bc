"""Finalists as Ray Tune trials: one thread each, a checkpoint an epoch, started again from it when a worker is lost."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from autocompress.core.policy import CompressionPolicy

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""The file in a training folder that holds all of a run's state."""

OnEpoch = Callable[[int, float], None]
_MAX_FAILURES = 2


class Recovery(Protocol):
    """Trains one policy with checkpoints in a folder."""

    def __call__(self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch) -> object: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How one finalist's training ended: its last checkpoint, or the reason why there is none."""

    policy: CompressionPolicy
    checkpoint: Path | None
    reason: str = ""


def tune_finalists(
    ray: Any,
    recovery: Recovery,
    policies: Sequence[CompressionPolicy],
    *,
    folder: Path,
    on_result: Callable[[str, int, float], None],
) -> list[Ended]:
    """Trains all policies, as many at a time as Ray has CPUs. `on_result(digest, epoch, score)` is called an epoch.

    A trial whose worker dies starts again from its last epoch, and so does one whose driver died: its newest checkpoint
    of any earlier call is looked up in `folder`. A policy whose training fails by itself (a loss that is no number) is
    not tried again.
    """
    from ray import tune

    reference = ray.put(recovery)
    by_digest = {policy.digest: policy for policy in policies}
    starts = {digest: _newest(folder, digest) for digest in by_digest}

    def trainable(config: dict[str, Any]) -> None:
        digest = config["digest"]
        _train_one(ray.get(reference), by_digest[digest], starts[digest])

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"digest": tune.grid_search(list(by_digest))},
        tune_config=tune.TuneConfig(trial_dirname_creator=lambda trial: str(trial.config["digest"])),
        run_config=tune.RunConfig(
            name=f"run-{len(list(folder.glob('run-*'))) + 1}",
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            callbacks=[_reporter(on_result)],
            verbose=0,
        ),
    )
    ended = []
    for result in tuner.fit():
        policy = by_digest[result.config["digest"]]
        metrics = result.metrics or {}
        if result.error or metrics.get("failure"):
            ended.append(Ended(policy, None, str(metrics.get("failure") or result.error)))
        else:
            ended.append(Ended(policy, Path(result.checkpoint.path) / CHECKPOINT))
    return ended


def _newest(folder: Path, digest: str) -> Path | None:
    found = sorted(folder.glob(f"run-*/{digest}/checkpoint_*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else None


def _train_one(recovery: Recovery, policy: CompressionPolicy, start: Path | None) -> None:
    """Runs inside a Tune trial."""
    import torch
    from ray import tune

    from autocompress.errors import CandidateError

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        last = tune.get_checkpoint()
        if last is not None:
            with last.as_directory() as stored:
                shutil.copy(Path(stored) / CHECKPOINT, folder / CHECKPOINT)
        elif start is not None and start.exists():
            shutil.copy(start, folder / CHECKPOINT)
        reported = False

        def on_epoch(epoch: int, score: float) -> None:
            nonlocal reported
            reported = True
            checkpoint = tune.Checkpoint.from_directory(name)
            tune.report({"quality": score, "epoch": epoch, "failure": ""}, checkpoint=checkpoint)

        try:
            recovery(policy, folder=folder, on_epoch=on_epoch)
            if not reported:  # everything was done already; Tune still wants to be given the checkpoint
                on_epoch(-1, 0.0)
        except CandidateError as error:
            # reported, not raised: Tune would take it for a lost worker and train again to the same end
            tune.report({"quality": 0.0, "epoch": -1, "failure": str(error)})


def _reporter(on_result: Callable[[str, int, float], None]) -> Any:
    from ray import tune

    class Reporter(tune.Callback):  # type: ignore[misc]
        """Tune pickles its callbacks into every snapshot; the listener stays behind."""

        def __init__(self, listener: Callable[[str, int, float], None] | None) -> None:
            self._listener = listener

        def __reduce__(self) -> tuple[Any, ...]:
            return type(self), (None,)

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:  # noqa: ARG002
            if self._listener:
                self._listener(trial.config["digest"], int(result["epoch"]), float(result["quality"]))

    return Reporter(on_result)
