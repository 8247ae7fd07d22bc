"""Where evaluations run, with a real Ray: warm workers, lost workers, late workers."""

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch

from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.outcome import Evaluated
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Done, Job, Lost
from autocompress.core.spec import Budget
from autocompress.core.training_spec import FinalistSpec, TrainingSpec, TransferSpec
from autocompress.distill import Progress, Trained, kept_weights
from autocompress.errors import HostError
from autocompress.finalists.recovery import Recovery
from autocompress.importance import no_preference
from autocompress.runners import InProcessRunner, RayPool
from autocompress.runners.cluster import cluster
from autocompress.runners.pool import MEMORY_LIMIT
from autocompress.runners.tune import CHECKPOINT, OnEpoch, Settings, tune_finalists
from autocompress.tasks import TextClassification
from autocompress.testing import arithmetic_evaluate, runner_contract
from tests.dangers import Counting, Dangerous, Deadly, Handed, Rivals, Slow, Unborn, danger
from tests.search.arithmetic import digests, run_search

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with cluster(workers=2) as started:
        yield started


def pool(ray: Any, folder: Path, *, timeout: float = 60.0, memory_gb: float | None = None) -> RayPool:
    return RayPool(ray, Dangerous, folder, workers=2, timeout_seconds=timeout, memory_gb=memory_gb)


def drain(runner: RayPool, count: int) -> list[Done | Lost]:
    found: list[Done | Lost] = []
    deadline = time.monotonic() + 60
    while len(found) < count and time.monotonic() < deadline:
        found += runner.wait(1.0)
    return found


def test_nobody_else_gets_into_ray_s_session(ray: Any) -> None:
    """Ray opens its folders to everybody, sockets and all; the one around them is closed, and found after a crash."""
    folder = Path(ray._private.worker._global_node.get_temp_dir_path()).parent
    assert folder.name.startswith("ac-")
    assert (folder.stat().st_uid, folder.stat().st_mode & 0o777) == (os.getuid(), 0o700)
    assert (folder / "owner.json").is_file()


def test_a_signal_to_our_process_group_does_not_reach_ray_s_processes(ray: Any) -> None:
    groups = {os.getpgid(one.pid) for one in psutil.Process().children() if "ray" in " ".join(one.cmdline())}
    assert groups
    assert os.getpgid(0) not in groups


def test_both_runners_pass_the_contract(ray: Any) -> None:
    runner_contract(InProcessRunner)
    runner_contract(lambda evaluate: RayPool(ray, Handed, evaluate, workers=2, timeout_seconds=60))


@pytest.mark.parametrize("way", ["segfault", *(pytest.param(way, marks=pytest.mark.long) for way in ("kill", "exit"))])
def test_a_worker_that_dies_is_reported_and_replaced(way: str, ray: Any, tmp_path: Path) -> None:
    runner = pool(ray, tmp_path)
    try:
        runner.submit(Job(1, danger(way), 1))
        (event,) = drain(runner, 1)
        assert isinstance(event, Lost)
        assert event.began
        assert "the worker died" in event.reason
        assert ("SIGSEGV" in event.reason) == (way == "segfault")
        runner.submit(Job(1, danger(way), 2))
        runner.submit(Job(2, CompressionPolicy(), 1))
        assert all(isinstance(event, Done) for event in drain(runner, 2))
    finally:
        runner.close()


@pytest.mark.long
def test_a_job_that_waits_behind_one_that_kills_the_worker_is_done_by_the_next(ray: Any, tmp_path: Path) -> None:
    runner = RayPool(ray, Dangerous, tmp_path, workers=1, timeout_seconds=60)
    try:
        assert runner.slots == 1, "asked for one at a time, it still takes what it is given"
        runner.submit(Job(1, danger("kill"), 1))
        runner.submit(Job(2, CompressionPolicy(), 1))
        killed, waited = drain(runner, 2)
        assert (type(killed), killed.job.number) == (Lost, 1)
        assert (type(waited), waited.job.number) == (Done, 2)
    finally:
        runner.close()


@pytest.mark.expectation(16)
def test_a_worker_that_hangs_or_hoards_is_stopped_at_its_limit_and_replaced(ray: Any, tmp_path: Path) -> None:
    runner = pool(ray, tmp_path, timeout=8.0, memory_gb=1.0)
    try:
        runner.submit(Job(0, CompressionPolicy(), 1))
        runner.warm()
        drain(runner, 1)
        started = time.monotonic()
        runner.submit(Job(1, danger("hang"), 1))
        runner.submit(Job(2, danger("hoard"), 1))
        hung, hoarded = sorted(drain(runner, 2), key=lambda event: event.job.number)
        assert isinstance(hung, Lost)
        assert isinstance(hoarded, Lost)
        assert "took longer than timeout_seconds=8" in hung.reason
        assert time.monotonic() - started < 8 + 5
        assert (hoarded.job.number, hoarded.error, hoarded.began) == (2, MEMORY_LIMIT, True)
        assert re.fullmatch(
            r"the worker held [12]\.\d\d GB of memory, more than budget.memory_gb=1, and was stopped; raise that key "
            "or leave it out",
            hoarded.reason,
        )
        for job in (Job(1, danger("hang"), 2), Job(2, danger("hoard"), 2)):
            runner.submit(job)
        assert all(isinstance(event, Done) for event in drain(runner, 2))
    finally:
        runner.close()


def test_a_search_over_ray_workers_keeps_its_budget_and_counts_nobody_twice(ray: Any, tmp_path: Path) -> None:
    runner = RayPool(ray, Handed, arithmetic_evaluate, workers=2, timeout_seconds=60)
    try:
        tally = run_search(tmp_path / "study.db", runner=runner, budget=Budget(40))
    finally:
        runner.close()
    assert tally.evaluated == 40
    found = digests(tmp_path / "study.db")
    assert len(found) == len(set(found))


def test_a_worker_that_is_killed_while_it_starts_is_not_its_job_s_fault(ray: Any, tmp_path: Path) -> None:
    runner = RayPool(ray, Unborn, tmp_path, workers=1, timeout_seconds=60)
    try:
        runner.submit(Job(1, CompressionPolicy(), 1))
        (event,) = drain(runner, 1)
        assert isinstance(event, Lost)
        assert not event.began
        runner.submit(Job(1, CompressionPolicy(), 2))
        assert isinstance(drain(runner, 1)[0], Done)
    finally:
        runner.close()


@pytest.mark.long
def test_a_worker_gets_twice_the_time_to_start_after_one_that_was_late(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("autocompress.runners.pool._START_SECONDS", 0.5)
    runner = RayPool(ray, Slow, tmp_path, workers=1, timeout_seconds=2.0)
    late = 0
    try:
        runner.submit(Job(1, CompressionPolicy(), 1))
        while isinstance(event := drain(runner, 1)[0], Lost):
            assert not event.began
            assert event.reason.startswith("did not stand within 2.5 s") or late
            late += 1
            runner.submit(Job(1, CompressionPolicy(), 1 + late))
    finally:
        runner.close()
    assert late > 0


@pytest.mark.long
def test_a_finalist_whose_every_worker_dies_has_no_checkpoint_but_a_reason(ray: Any, tmp_path: Path) -> None:
    (ended,) = tune_finalists(ray, Deadly(), [danger("kill")], folder=tmp_path, on_result=lambda *_: None)
    assert ended.checkpoint is None
    assert "its worker died 3 times" in ended.reason
    assert len(ended.reason.splitlines()) == 1


def test_trials_end_soon_after_somebody_asked_to_stop(ray: Any, tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "training"
    marks.mkdir()
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        tune_finalists(
            ray, Rivals(marks), [danger("first")], folder=folder, on_result=lambda *_: None, stopped=lambda: True
        )
    assert time.monotonic() - started < 10


def test_a_cluster_that_is_not_there_is_an_error_with_a_way_out() -> None:
    with (
        pytest.raises(HostError, match="cannot join the Ray cluster at .*--workers 0"),
        cluster(workers=1, address="127.0.0.1:1"),
    ):
        pass


@pytest.mark.long
def test_tries_of_a_finalist_are_halved_and_the_best_is_kept(ray: Any, tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "training"
    marks.mkdir()
    folder.mkdir()
    policies = [danger("first"), danger("second")]
    tries = [{"learning_rate": rate} for rate in (0.9, 0.1, 0.2)]
    ended = tune_finalists(
        ray,
        Rivals(marks),
        policies,
        folder=folder,
        on_result=lambda *_: None,
        tries={policy.digest: tries for policy in policies},
        epochs=4,
    )
    assert [end.policy for end in ended] == policies
    for end in ended:
        assert end.settings == {"learning_rate": 0.9}
        assert end.checkpoint is not None
        assert end.checkpoint.read_text() == "0.9 3"
    run = {policy.digest: sorted(path.name for path in marks.glob(f"{policy.digest}-*")) for policy in policies}
    assert all(f"{digest}-0.9-3" in names for digest, names in run.items())
    assert all(f"{digest}-0.1-3" not in names for digest, names in run.items()), "it fell behind and was stopped"


def epochs_run(folder: Path, policy: CompressionPolicy) -> list[str]:
    return sorted(path.name.split("-")[1] for path in folder.glob(f"{policy.digest}-[0-9]-*"))


def test_finalists_train_as_tune_trials_and_survive_a_lost_worker(ray: Any, tmp_path: Path) -> None:
    marks, folder = tmp_path / "marks", tmp_path / "training"
    marks.mkdir()
    folder.mkdir()
    good, killed, bad = danger("good"), danger("kill"), danger("diverge")
    seen: list[tuple[str, int, float]] = []
    ended = tune_finalists(
        ray, Counting(marks), [good, killed, bad], folder=folder, on_result=lambda *result: seen.append(result)
    )
    by_digest = {end.policy.digest: end for end in ended}
    for policy in (good, killed):
        checkpoint = by_digest[policy.digest].checkpoint
        assert checkpoint is not None
        assert checkpoint.read_text() == "3"
        assert epochs_run(marks, policy) == ["0", "1", "2"], "each epoch was trained once"
    assert by_digest[bad.digest].checkpoint is None
    assert by_digest[bad.digest].reason == "the training loss became nan"
    assert (good.digest, 2, 0.2) in seen
    # a new driver finds what the old one left
    (again,) = tune_finalists(ray, Counting(marks), [good], folder=folder, on_result=lambda *_: None)
    assert again.checkpoint is not None
    assert again.checkpoint.read_text() == "3"
    assert epochs_run(marks, good) == ["0", "1", "2"]


class KilledOnce:
    """A real recovery whose process dies in the middle of its second epoch, the first time."""

    def __init__(self, recovery: Recovery, mark: Path) -> None:
        self._recovery, self._mark = recovery, mark

    def __call__(
        self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch, settings: Settings | None = None
    ) -> Trained:
        def die(at: Progress) -> None:
            if at.epoch == 1 and at.done == at.total // 2 + 3 and not self._mark.exists():
                self._mark.touch()
                os.kill(os.getpid(), signal.SIGKILL)

        return self._recovery(policy, folder=folder, on_epoch=on_epoch, on_progress=die, settings=settings)


@pytest.mark.long
def test_a_finalist_whose_worker_is_killed_inside_an_epoch_ends_with_the_weights_it_would_have_had(
    ray: Any, bert: Anatomy, small_task: TextClassification, tmp_path: Path
) -> None:
    setup = Setup.of(bert.model, no_preference(bert.shape()), small_task, precision="fp32")
    training = TrainingSpec(epochs=2, batch_size=8, learning_rate=2e-3, precision="fp32")
    recovery = Recovery(setup, Lessons.of(setup, TransferSpec(), seed=0), FinalistSpec(1, training=training), 0)
    policy, mark, folder = CompressionPolicy((Step("remove_layer", "layers.1"),)), tmp_path / "mark", tmp_path / "tune"
    recovery(policy, folder=tmp_path / "whole")
    folder.mkdir()
    seen: list[int] = []
    (ended,) = tune_finalists(
        ray, KilledOnce(recovery, mark), [policy], folder=folder, on_result=lambda _, epoch, __: seen.append(epoch)
    )
    assert mark.exists(), "it was killed"
    assert seen == [0, 1], "and went on after its first epoch"
    assert ended.checkpoint is not None
    (whole, history), (found, same) = (
        kept_weights(path) for path in (tmp_path / "whole" / CHECKPOINT, ended.checkpoint)
    )
    assert same == history
    assert all(torch.equal(whole[name], found[name]) for name in whole)


def test_evaluated_outcomes_cross_the_process_border_unchanged(ray: Any, tmp_path: Path) -> None:
    runner = pool(ray, tmp_path)
    try:
        runner.submit(Job(0, CompressionPolicy(), 1))
        (event,) = drain(runner, 1)
    finally:
        runner.close()
    assert isinstance(event, Done)
    assert isinstance(event.outcome, Evaluated)
    assert event.outcome == arithmetic_evaluate(CompressionPolicy())
