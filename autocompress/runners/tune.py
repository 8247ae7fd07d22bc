"""Finalists as Ray Tune trials: one thread each, a checkpoint an epoch, started again from it when a worker is lost.

Checkpoints do not pass through Tune, which wants a disk that all nodes share, but are left in a `Deposit`. What Tune
itself writes (pickles, for a restart that nobody makes) ends with it.
"""

from __future__ import annotations

import functools
import logging
import math
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from autocompress.core.policy import CompressionPolicy
from autocompress.core.refusals import host_error
from autocompress.errors import CandidateError, HostError
from autocompress.runners.deposit import Deposit, deposit
from autocompress.runners.pool import in_short
from autocompress.runners.sessions import scratch_folder

logger = logging.getLogger(__name__)

CHECKPOINT = "checkpoint.safetensors"
"""The file in a training folder that holds all of a run's state."""

_AWARE = "aware.safetensors"
"""The file beside it that what went on from it may have left; it goes along."""

OnEpoch = Callable[[int, float, float], None]
"""Told of an epoch, its score and the score of the epoch that would be kept."""

Settings = Mapping[str, float]
"""What a try changes of a training, by name; nothing for the first."""

OnPlace = Callable[[str, str], None]
"""Told of a training and the node that it runs on."""

Errors = Mapping[str, object]
"""What Tune gave a trial up for, by its name."""

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


@dataclass(slots=True)
class _Heard:
    """What trials reported last, by name."""

    on_result: Callable[[str, int, float], None]
    on_place: OnPlace
    stopped: Callable[[], bool]
    last: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    refused: str = ""
    """Why a machine could not go on with a trial, whichever that was."""

    def report(self, name: str, result: Mapping[str, Any]) -> None:
        self.refused = self.refused or str(result.get("refused", ""))
        if self.refused:
            return
        if name not in self.last or self.last[name]["node"] != result["node"]:
            self.on_place(name, str(result["node"]))
        self.last[name] = dict(result)
        if not result.get("failure"):
            self.on_result(name, int(result["epoch"]), float(result["quality"]))

    def check(self) -> None:
        """Raises KeyboardInterrupt, the one thing that Tune lets through, when somebody asked to stop, or nothing is
        to be won by going on."""
        if self.stopped() or self.refused:
            raise KeyboardInterrupt


def tune_finalists(
    ray: Any,
    recovery: Recovery,
    policies: Sequence[CompressionPolicy],
    *,
    folder: Path,
    on_result: Callable[[str, int, float], None],
    on_place: OnPlace = lambda *_: None,
    stopped: Callable[[], bool] = lambda: False,
    tries: Mapping[str, Sequence[Settings]] | None = None,
    epochs: int = 1,
) -> list[Ended]:
    """Trains all policies, as many at a time as Ray has CPUs. `on_result(digest, epoch, score)` is called an epoch.

    `tries` are further settings for a policy, by digest: each is a training of its own, and those that fall behind the
    policy's others after an epoch are stopped (ASHA: Li et al. 2020, section 3; `epochs` are the most there are).

    A trial whose worker dies starts again from its last epoch, and so does one whose driver died: its newest checkpoint
    of any earlier call is looked up in `folder`. A policy whose training fails by itself (a loss that is no number) is
    not tried again. Raises KeyboardInterrupt soon after `stopped` says so, HostError as soon as a disk is full on
    whatever node: that says nothing of the finalist, which waits with its last checkpoint.
    """
    trials: dict[str, tuple[CompressionPolicy, Settings]] = {policy.digest: (policy, {}) for policy in policies}
    for policy in policies:
        for place, settings in enumerate((tries or {}).get(policy.digest, ()), start=2):
            trials[f"{policy.digest}-{place}"] = (policy, settings)
    heard = _Heard(on_result, on_place, stopped)
    with deposit(ray, folder, (CHECKPOINT, _AWARE)) as kept, scratch_folder() as scratch:
        train = functools.partial(_train_named, reference=ray.put(recovery), trials=trials, deposit=kept)
        halving = _halving(epochs) if len(trials) > len(policies) else None
        try:
            errors = _fit(train, list(trials), heard, scratch=str(scratch), scheduler=halving)
        except KeyboardInterrupt:
            if stopped() or not heard.refused:
                raise
        if heard.refused:
            raise HostError(heard.refused)
    ended: dict[str, list[tuple[float, Ended]]] = {policy.digest: [] for policy in policies}
    for name, (policy, settings) in trials.items():
        found = _ending(policy, settings, folder / name, heard.last.get(name), errors.get(name))
        ended[policy.digest].append(found)
    return [max(found, key=lambda end: end[0])[1] for found in ended.values()]


def _fit(train: Callable[..., None], names: Sequence[str], heard: _Heard, *, scratch: str, scheduler: Any) -> Errors:
    """Runs the trials. Returns the error of each that Tune gave up."""
    from ray import tune

    for name in ("ray.tune", "ray.train"):  # a trial's error is told as what became of its finalist
        logging.getLogger(name).setLevel(logging.CRITICAL)
    tuner = tune.Tuner(
        tune.with_resources(lambda config: train(config["trial"]), {"cpu": 1}),
        param_space={"trial": tune.grid_search(list(names))},
        tune_config=tune.TuneConfig(
            trial_dirname_creator=lambda trial: str(trial.config["trial"]), scheduler=scheduler
        ),
        run_config=tune.RunConfig(
            name="finalists",
            storage_path=scratch,
            failure_config=tune.FailureConfig(max_failures=_MAX_FAILURES),
            callbacks=[_reporter(heard)],
            verbose=0,
        ),
    )
    # by folder: a trial that never reported tells nothing else of itself
    return {Path(result.path).name: result.error for result in tuner.fit() if result.error}


def _ending(
    policy: CompressionPolicy, settings: Settings, folder: Path, last: Mapping[str, Any] | None, error: object
) -> tuple[float, Ended]:
    """A trial's best score, and how it ended; one that failed or never reported has none."""
    failure = str((last or {}).get("failure") or "") or (_why(error) if error or not last else "")
    if failure or last is None:
        return -math.inf, Ended(policy, None, failure)
    return float(last["kept"]), Ended(policy, folder / CHECKPOINT, settings=settings)


def _why(error: object) -> str:
    if type(error).__name__ in {"ActorDiedError", "ActorUnavailableError", "RayActorError", "NoneType"}:
        return f"its worker died {1 + _MAX_FAILURES} times{f': {in_short(error)}' if error else ''}"
    lines = [line.strip() for line in str(error or "").splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


def _train_named(
    name: str, *, reference: Any, trials: Mapping[str, tuple[CompressionPolicy, Settings]], deposit: Deposit
) -> None:
    """Runs inside a Tune trial."""
    import ray

    _train_one(ray.get(reference), *trials[name], name, deposit)


def _train_one(recovery: Recovery, policy: CompressionPolicy, settings: Settings, name: str, deposit: Deposit) -> None:
    import torch
    from ray import tune

    torch.set_num_threads(1)
    node = platform.node() or platform.machine()
    failed = {"quality": math.nan, "kept": -math.inf, "epoch": -1, "node": node}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        deposit.fetch(name, folder)
        reported = False

        def on_epoch(epoch: int, score: float, kept: float) -> None:
            nonlocal reported
            reported = True
            deposit.leave(name, folder)  # before it is told of: what was reported is on the driver's disk
            tune.report({"quality": score, "kept": kept, "epoch": epoch, "failure": "", "node": node})

        try:
            trained = recovery(policy, folder=folder, on_epoch=on_epoch, settings=settings)
            if not reported:  # everything was done already
                on_epoch(-1, trained.score, trained.score)
        # reported, not raised: Tune would take it for a lost worker and train again to the same end
        except CandidateError as error:
            tune.report({**failed, "failure": str(error)})
        except Exception as error:
            told = _refused(error)
            if not told:
                raise
            tune.report({**failed, "failure": told, "refused": told})


def _refused(error: Exception) -> str:
    """What this node, or the one that keeps the checkpoints, refused to write; empty for another error."""
    cause = getattr(error, "cause", error)  # of one that came from another process
    told = cause if isinstance(cause, HostError) else host_error(error)
    return "" if told is None else str(told)


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


def _reporter(heard: _Heard) -> Any:
    from ray import tune

    class Reporter(tune.Callback):  # type: ignore[misc]
        """Tune pickles its callbacks into every snapshot; the listener stays behind."""

        def __init__(self, listener: _Heard | None) -> None:
            self._listener = listener

        def __reduce__(self) -> tuple[Any, ...]:
            return type(self), (None,)

        def on_step_begin(self, iteration: int, trials: Any, **info: Any) -> None:
            if self._listener:
                self._listener.check()

        def on_trial_result(self, iteration: int, trials: Any, trial: Any, result: Any, **info: Any) -> None:
            if self._listener:
                self._listener.report(trial.config["trial"], result)

    return Reporter(heard)
