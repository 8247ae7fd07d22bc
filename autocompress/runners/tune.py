"""Finalists as Ray Tune trials: one thread each, a checkpoint an epoch, started again from it when a worker is lost."""

from __future__ import annotations

import logging
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autocompress.core.policy import CompressionPolicy

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""The file in a training folder that holds all of a run's state."""

OnEpoch = Callable[[int, float, float], None]
"""Told of an epoch, its score and the score of the epoch that would be kept."""

Settings = Mapping[str, float]
"""What a try changes of a training, by name; nothing for the first."""

_MAX_FAILURES = 2


class Trained(Protocol):
    """What came of a training."""

    @property
    def score(self) -> float: ...


class Recovery(Protocol):
    """Trains one policy with checkpoints in a folder."""

    def __call__(
        self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch, settings: Settings = ...
    ) -> Trained: ...


@dataclass(frozen=True, slots=True)
class Ended:
    """How one finalist's training ended: the checkpoint and settings of its best try, or why there is none."""

    policy: CompressionPolicy
    checkpoint: Path | None
    reason: str = ""
    settings: Settings = field(default_factory=dict)


def tune_finalists(
    ray: Any,
    recovery: Recovery,
    policies: Sequence[CompressionPolicy],
    *,
    folder: Path,
    on_result: Callable[[str, int, float], None],
    tries: Mapping[str, Sequence[Settings]] | None = None,
    epochs: int = 1,
) -> list[Ended]:
    """Trains all policies, as many at a time as Ray has CPUs. `on_result(digest, epoch, score)` is called an epoch.

    `tries` are further settings for a policy, by digest: each is a training of its own, and those that fall behind the
    policy's others after an epoch are stopped (ASHA: Li et al. 2020, section 3; `epochs` are the most there are).

    A trial whose worker dies starts again from its last epoch, and so does one whose driver died: its newest checkpoint
    of any earlier call is looked up in `folder`. A policy whose training fails by itself (a loss that is no number) is
    not tried again.
    """
    from ray import tune

    reference = ray.put(recovery)
    trials: dict[str, tuple[CompressionPolicy, Settings]] = {policy.digest: (policy, {}) for policy in policies}
    for policy in policies:
        for place, settings in enumerate((tries or {}).get(policy.digest, ()), start=2):
            trials[f"{policy.digest}-{place}"] = (policy, settings)
    starts = {name: _newest(folder, name) for name in trials}

    def trainable(config: dict[str, Any]) -> None:
        name = config["trial"]
        _train_one(ray.get(reference), *trials[name], starts[name])

    tuner = tune.Tuner(
        tune.with_resources(trainable, {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(trials))},
        tune_config=tune.TuneConfig(
            trial_dirname_creator=lambda trial: str(trial.config["trial"]),
            scheduler=_halving(epochs) if len(trials) > len(policies) else None,
        ),
        run_config=tune.RunConfig(
            name=f"run-{len(list(folder.glob('run-*'))) + 1}",
            storage_path=str(folder),
            failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
            callbacks=[_reporter(on_result)],
            verbose=0,
        ),
    )
    ended: dict[str, list[tuple[float, Ended]]] = {policy.digest: [] for policy in policies}
    for result in tuner.fit():
        policy, settings = trials[result.config["trial"]]
        ended[policy.digest].append(_ending(policy, settings, result))
    return [max(found, key=lambda end: end[0])[1] for found in ended.values()]


def _ending(policy: CompressionPolicy, settings: Settings, result: Any) -> tuple[float, Ended]:
    """A trial's best score, and how it ended; one without a checkpoint has none."""
    metrics = result.metrics or {}
    if result.error or metrics.get("failure"):
        return -math.inf, Ended(policy, None, str(metrics.get("failure") or result.error))
    return float(metrics["kept"]), Ended(policy, Path(result.checkpoint.path) / CHECKPOINT, settings=settings)


def _newest(folder: Path, trial: str) -> Path | None:
    found = sorted(folder.glob(f"run-*/{trial}/checkpoint_*/{CHECKPOINT}"), key=lambda path: path.stat().st_mtime_ns)
    return found[-1] if found else None


def _train_one(recovery: Recovery, policy: CompressionPolicy, settings: Settings, start: Path | None) -> None:
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

        def on_epoch(epoch: int, score: float, kept: float) -> None:
            nonlocal reported
            reported = True
            checkpoint = tune.Checkpoint.from_directory(name)
            tune.report({"quality": score, "kept": kept, "epoch": epoch, "failure": ""}, checkpoint=checkpoint)

        try:
            trained = recovery(policy, folder=folder, on_epoch=on_epoch, settings=settings)
            if not reported:  # everything was done already; Tune still wants to be given the checkpoint
                on_epoch(-1, trained.score, trained.score)
        except CandidateError as error:
            # reported, not raised: Tune would take it for a lost worker and train again to the same end
            tune.report({"quality": 0.0, "kept": -math.inf, "epoch": -1, "failure": str(error)})


def _halving(epochs: int) -> Any:
    """Successive halving among the tries of each policy: models of different sizes are not rivals."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler

    class Halving(FIFOScheduler):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self._of: dict[str, Any] = {}

        def _rivals(self, trial: Any) -> Any:
            digest = str(trial.config["trial"]).partition("-")[0]
            if digest not in self._of:
                self._of[digest] = ASHAScheduler(
                    time_attr="training_iteration",
                    metric="quality",
                    mode="max",
                    max_t=epochs,
                    grace_period=1,
                    reduction_factor=2,
                )
            return self._of[digest]

        def on_trial_add(self, controller: Any, trial: Any) -> None:
            self._rivals(trial).on_trial_add(controller, trial)

        def on_trial_result(self, controller: Any, trial: Any, result: dict[str, Any]) -> str:
            return str(self._rivals(trial).on_trial_result(controller, trial, result))

        def on_trial_complete(self, controller: Any, trial: Any, result: dict[str, Any]) -> None:
            self._rivals(trial).on_trial_complete(controller, trial, result)

    return Halving()


def _reporter(on_result: Callable[[str, int, float], None]) -> Any:
    from ray import tune

    class Reporter(tune.Callback):  # type: ignore[misc]
        """Tune pickles its callbacks into every snapshot; the listener stays behind."""

        def __init__(self, listener: Callable[[str, int, float], None] | None) -> None:
            self._listener = listener

        def __reduce__(self) -> tuple[Any, ...]:
            return type(self), (None,)

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            if self._listener:
                self._listener(trial.config["trial"], int(result["epoch"]), float(result["quality"]))

    return Reporter(on_result)
