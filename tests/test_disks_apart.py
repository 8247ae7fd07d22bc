"""A real cluster of two nodes that share no disk, by the commands of docs/two-machines.md: finalists are trained on
both, and their checkpoints arrive; a study is run from end to end."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.runners.cluster import cluster
from autocompress.runners.tune import CHECKPOINT, OnEpoch, Settings, tune_finalists
from autocompress.store import Store
from tests.commands import command
from tests.drivers import cluster_with_disks_apart, in_a_driver
from tests.given_study import BOARD, CUTS, write_data, write_study, write_telling_model
from tests.postgres import is_installed, running_server

PAGE = Path(__file__).parents[1] / "docs" / "two-machines.md"
HERE = {
    "first:6379": "ADDRESS",
    "--port=6379": "--port=PORT",
    "--num-cpus=8": "--num-cpus=1",
    "--workers 16": "--workers 2",
}
"""What is otherwise where both are one machine of two cores."""


def shown(program: str) -> list[list[str]]:
    """The arguments of every line of the page with which this program is called."""
    page = PAGE.read_text(encoding="utf-8")
    lines = [line for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL) for line in block.splitlines()]
    for told, here in HERE.items():
        assert any(told in line for line in lines), f"{PAGE.name} shows {told} no more"
        lines = [line.replace(told, here) for line in lines]
    return [words[1:] for line in lines if (words := shlex.split(line, comments=True))[:1] == [program]]


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


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of the two nodes, started as the page shows."""
    if not _may_mount():
        pytest.skip("only the superuser may give a node a disk of its own")
    first, second = shown("ray")
    with cluster_with_disks_apart([*first, "--block"], second) as found:
        yield found


@pytest.mark.long
def test_finalists_trained_on_a_node_with_a_disk_of_its_own_reach_the_driver(address: str, tmp_path: Path) -> None:
    in_a_driver(drive, address, tmp_path)


@pytest.mark.long
def test_what_the_page_shows_makes_a_study_on_two_machines(address: str, tmp_path: Path) -> None:
    write_telling_model(tmp_path / "model")
    write_data(tmp_path / "texts.csv", rows=120)
    (tmp_path / "board.yaml").write_text(BOARD)
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}
    write_study(
        tmp_path,
        device="board.yaml",
        space=CUTS,
        budget={"trials": 6},
        elastic={"steps": 0},
        finalists={"count": 2, "training": training},
    )
    if not is_installed():
        in_a_driver(as_shown, address, tmp_path, str(tmp_path / "studies.db"))
        return
    with running_server() as server:
        in_a_driver(as_shown, address, tmp_path, server.create("studies"))


def as_shown(address: str, folder: Path, url: str) -> None:
    """Every command of the page. Called again where Ray ended the program in the middle, it goes on."""
    os.environ["AUTOCOMPRESS_STORAGE"] = url
    begun = folder / "begun"
    for words in shown("autocompress"):
        if words[0] == "run" and begun.exists():
            continue
        if words[0] == "run":
            begun.touch()
        ended = command(folder, *[word.replace("ADDRESS", address) for word in words])
        assert ended.returncode == 0, f"{words}\n{ended.stderr}"
        if words[0] == "run":
            assert len(re.findall(r"with 1 CPUs", ended.stderr)) == 2, "each of two workers takes one"
    os.chdir(folder)  # beside which the files of its studies lie
    with Store.open(url) as store:
        assert store.study("mine").state == "complete"
        assert store.counts("mine").failed == 0
        assert store.counts("mine").verified > 0
        assert store.check("mine") == []


def test_the_page_shows_a_cluster_of_two_with_a_token() -> None:
    first, second = shown("ray")
    assert (first[:2], second[0]) == (["start", "--head"], "start")
    assert "--address=ADDRESS" in second
    assert sum("RAY_AUTH_MODE=token" in words for words in shown("export")) == 2
    assert {"run", "resume", "pick", "verify"} <= {words[0] for words in shown("autocompress")}


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
