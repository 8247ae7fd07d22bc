"""`devices`: the list, and one profile in full."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from autocompress.config import dump_device
from autocompress.core.cores import usable_cores
from tests.report import given_devices as given

from .conftest import Run


@pytest.fixture
def profiles(folder: Path) -> Path:
    """Two good profiles and a bad one among those that can be named here."""
    kept = folder / "hardware_profiles"
    kept.mkdir()
    for profile in (given.BOX, given.BOARD):
        (kept / f"{profile.name}.yaml").write_text(dump_device(profile), encoding="utf-8")
    (kept / "bad.yaml").write_text("name: bad\nspeed: high\n")
    return kept


def test_the_list_tells_source_age_and_error(profiles: Path, run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("devices", "--json").out)["devices"]}
    assert rows["host"]["source"] == "host"
    assert rows["box"]["accuracy"]["within_10"] == 1.0
    assert rows["box"]["measured_on"] == "2026-11-22"
    assert rows["board"]["age_days"] > 900
    assert rows["board"]["accuracy"] is None
    lines = {line.split()[0]: line for line in run("devices").out.splitlines() if line.strip()}
    assert lines["box"].split()[4:8] == ["2.5", "%", "100", "%"]
    assert "fitted" in lines["board"]
    assert lines["board"].split()[2:5] == [f"{rows['board']['age_days'] / 365.25:.1f}", "years", "-"]


def test_a_bad_profile_does_not_hide_the_others(profiles: Path, run: Run) -> None:
    rows = {row["name"]: row for row in json.loads(run("devices", "--json").out)["devices"]}
    assert "speed" in rows["bad"]["problem"]
    assert "bad.yaml" in run("devices").out


def test_a_profile_is_shown_by_name_or_file(profiles: Path, run: Run) -> None:
    by_name, by_file = (run("devices", ref) for ref in ("box", "hardware_profiles/box.yaml"))
    assert by_name == by_file
    assert "Batch 1, length 32, 1 thread" in by_name.out
    tree = json.loads(run("devices", "box", "--json").out)
    assert tree["schema"] == "autocompress.device/1"
    assert tree["profile"]["tables"][0]["workload"] == {"batch": 1, "length": 32, "threads": 1}


def test_a_profile_is_drawn_into_a_file(profiles: Path, run: Run, folder: Path) -> None:
    ended = run("devices", "box", "--png", "box.png")
    assert (ended.code, ended.out, ended.err) == (0, "", "wrote box.png\n")
    assert (folder / "box.png").read_bytes().startswith(b"\x89PNG")
    ended = run("devices", "--png", "all.png")
    assert ended.code == 2
    assert "--png: a plot shows one device" in ended.err


def test_an_unknown_device_is_named_with_the_nearest(profiles: Path, run: Run) -> None:
    ended = run("devices", "bax")
    assert ended.code == 3
    assert "did you mean 'box'" in ended.err
    ended = run("devices", "bad")
    assert ended.code == 2
    assert "speed" in ended.err


def test_this_machine_is_shown_by_the_profile_made_of_it(run: Run) -> None:
    ended = run("devices", "host")
    assert ended.code == 3
    assert "make one with `autocompress profile --out FILE`" in ended.err


def test_a_profile_takes_no_more_threads_than_there_are_cores(run: Run) -> None:
    for written in ("99999", "0", "many", "1.5"):
        ended = run("profile", "--threads", "1", "--threads", written, "--out", "box.yaml")
        assert ended.code == 2
        assert (
            f"--threads: must be 1 to {usable_cores()}, the cores of this machine, or all; got '{written}'" in ended.err
        )


def test_threads_of_a_study_are_told_as_a_number_before_it_runs(run: Run) -> None:
    told = run("run", "throughput", "--dry-run").out
    plural = "" if usable_cores() == 1 else "s"
    assert f"host, batch 32, real lengths, at most 128 tokens, {usable_cores()} thread{plural}" in " ".join(
        told.split()
    )
