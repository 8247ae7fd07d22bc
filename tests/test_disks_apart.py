"""A real cluster of two nodes that share no disk: finalists are trained on both, and their checkpoints arrive."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.runners.cluster import cluster
from autocompress.runners.tune import CHECKPOINT, OnEpoch, Settings, tune_finalists
from tests.drivers import cluster_with_disks_apart, in_a_driver


def _may_mount() -> bool:
    hidden = Path("/tmp").resolve()
    if any(Path(needed).resolve().is_relative_to(hidden) for needed in (__file__, sys.prefix, autocompress.__file__)):
        return False  # a disk of its own there would hide the program
    apart = ["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", "/tmp"]
    try:
        return os.geteuid() == 0 and subprocess.run(apart, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


class Score:
    score = 0.5


class Telling:
    """A training of two epochs that writes down, in its checkpoint, where it ran: beside the driver or apart."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __call__(
        self, policy: CompressionPolicy, *, folder: Path, on_epoch: OnEpoch, settings: Settings | None = None
    ) -> Score:
        file = folder / CHECKPOINT
        for epoch in range(len(file.read_text().split()) if file.exists() else 0, 2):
            time.sleep(1.0)  # so that no node does all of them
            place = "beside" if self._mark.exists() else "apart"
            with file.open("a") as opened:
                opened.write(f"{place} ")
            on_epoch(epoch, 0.5, 0.5)
        return Score()


def drive(address: str, folder: Path) -> None:
    policies = [CompressionPolicy((Step("first", "x", {"n": number}),)) for number in range(4)]
    mark = folder / "mark"
    mark.touch()
    with cluster(workers=2, address=address) as ray:
        deadline = time.monotonic() + 60
        while len([one for one in ray.nodes() if one["Alive"]]) < 2 and time.monotonic() < deadline:
            time.sleep(0.2)
        training = folder / "training"

        def trained() -> list[str]:
            ended = tune_finalists(ray, Telling(mark), policies, folder=training, on_result=lambda *_: None)
            places = [end.checkpoint for end in ended if end.checkpoint is not None]
            assert len(places) == len(policies), [end.reason for end in ended]
            return [path.read_text() for path in places]

        found = trained()
        assert {told.split()[0] for told in found} == {"beside", "apart"}
        assert all(len(told.split()) == 2 for told in found)
        assert trained() == found, "what is on the driver's disk is found again, from wherever"
        assert sorted(path.name for path in training.iterdir()) == sorted(policy.digest for policy in policies)


@pytest.mark.skipif(not _may_mount(), reason="only the superuser may give a node a disk of its own")
@pytest.mark.long
def test_finalists_trained_on_a_node_with_a_disk_of_its_own_reach_the_driver(tmp_path: Path) -> None:
    with cluster_with_disks_apart() as address:
        in_a_driver(drive, address, tmp_path)


def test_a_cluster_named_in_the_environment_is_joined_or_refused_before_anything_is_done(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from autocompress.errors import HostError
    from autocompress.runners.cluster import address_of, check_cluster

    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(HostError, match=r"cannot join .* at 127\.0\.0\.1:1, which RAY_ADDRESS names: .*--workers 0"):
        check_cluster(workers=None, address=None)
    assert check_cluster(workers=0, address=None) == [], "without Ray there is nothing to join"
    monkeypatch.setenv("RAY_ADDRESS", "local")
    found: list[Any] = check_cluster(workers=2, address=None)
    assert found == []
    assert address_of("10.0.0.1:6379") == "10.0.0.1:6379"
