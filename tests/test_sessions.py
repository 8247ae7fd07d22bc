"""Ray's session folders on a machine that others use too."""

import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import asdict, replace
from pathlib import Path

import psutil
import pytest

from autocompress.core.process import Process
from autocompress.errors import HostError
from autocompress.runners import sessions
from autocompress.runners.cluster import cluster
from autocompress.runners.sessions import (
    abandoned,
    end_session,
    end_started,
    new_session,
    remove_abandoned,
    why_not_started,
)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A private runtime folder with a short path; the machine's own folders of temporary files are not looked at."""
    place = tmp_path / "r"
    place.mkdir(mode=0o700)
    monkeypatch.setattr(sessions, "_LONGEST", 107)
    monkeypatch.setattr(sessions, "_bases", lambda: iter([place]))
    return place


def gone() -> Process:
    """A process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", "pass"])
    found = Process.of(process.pid)
    process.wait()
    assert found is not None
    return found


def left_by(process: Process, place: Path, *, started: tuple[Process, ...] = ()) -> Path:
    folder = new_session()
    tree = {"process": asdict(process), "started": [asdict(one) for one in started]}
    (folder / "owner.json").write_text(json.dumps(tree))
    (folder / "socket").touch()
    return folder


def test_a_session_is_this_user_s_alone_and_ends_without_a_trace(place: Path) -> None:
    folder = new_session()
    assert folder.parent == place
    assert folder.stat().st_mode & 0o777 == 0o700
    assert abandoned() == [], "its process lives"
    end_session(folder)
    assert list(place.iterdir()) == []


def test_the_end_of_a_session_spares_other_children_of_its_process(place: Path) -> None:
    """A server of forks, a loader of data, whatever a caller in Python has started."""
    folder = new_session()
    sleep = "import sys, time; print(flush=True); time.sleep(60)"
    of_session, other = (
        subprocess.Popen([sys.executable, "-c", sleep, *given], stdout=subprocess.PIPE)
        for given in ([f"--session-dir={folder}/r"], [])
    )
    for one in (of_session, other):
        assert one.stdout is not None
        one.stdout.readline()
        one.stdout.close()
    try:
        end_started(folder)
        of_session.wait(10)
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()


def test_what_a_killed_driver_left_is_ended_and_deleted(place: Path) -> None:
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    left = Process.of(sleeper.pid)
    assert left is not None
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    later = Process.of(other.pid)
    assert later is not None
    try:
        reused = replace(later, started=(later.started or 0) - 1)
        folder = left_by(gone(), place, started=(left, reused))
        assert abandoned() == [folder]
        assert remove_abandoned() == 1
        sleeper.wait(10)
        assert other.poll() is None, "its number alone is not enough"
        assert not folder.exists()
    finally:
        sleeper.kill()
        other.kill()
        sleeper.wait()
        other.wait()


@pytest.mark.parametrize(
    "way", ["open to others", "a link", "another container", "no note", "a linked note", "nonsense"]
)
def test_what_cannot_be_believed_is_left_alone(place: Path, tmp_path: Path, way: str) -> None:
    process = gone()
    if way == "another container":
        process = replace(process, kernel=f"{(process.kernel or '').partition('/')[0]}/pid:[1]")
    folder = left_by(process, place)
    if way == "open to others":
        folder.chmod(0o777)
    if way == "a link":
        elsewhere = tmp_path / "elsewhere"
        folder.rename(elsewhere)
        folder.symlink_to(elsewhere)
    if way == "no note":
        (folder / "owner.json").unlink()
    if way == "a linked note":
        (folder / "owner.json").rename(tmp_path / "note.json")
        (folder / "owner.json").symlink_to(tmp_path / "note.json")
    if way == "nonsense":
        (folder / "owner.json").write_text('{"process": {"host": 1, "pid": -1, "kernel": [], "started": "x"}}')
    assert remove_abandoned() == 0
    assert (folder / "socket").exists()


def test_a_session_of_an_earlier_boot_is_over(place: Path) -> None:
    folder = left_by(replace(Process.current(), kernel="another-boot/pid:[1]"), place)
    assert remove_abandoned() == 0
    assert not folder.exists()


def test_a_folder_whose_path_is_too_long_for_sockets_is_refused_in_words(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "_LONGEST", len(os.fsencode(place)))
    with pytest.raises(HostError, match=r"path of at most \d+ bytes .*its path is too long.*set TMPDIR"):
        new_session()
    assert list(place.iterdir()) == []


def test_a_ray_that_does_not_start_is_told_with_the_reason_in_its_logs(place: Path) -> None:
    assert why_not_started(place / "r") == "", "it has written nothing"
    logs = place / "r" / "session_1" / "logs"
    logs.mkdir(parents=True)
    (logs / "raylet.out").write_text("all is well\n")
    (logs / "gcs_server.err").write_text("[E] pipe2: Too many open files\nCheck failed\n")
    assert why_not_started(place / "r") == "gcs_server: Too many open files"


@pytest.mark.ray
@pytest.mark.long
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Ray forgets what it gave up
def test_a_ray_that_does_not_stand_in_time_is_started_again(caplog: pytest.LogCaptureFixture) -> None:
    """Ray gives its processes 30 s; the first one's raylet sleeps through them, as on a machine that is busy."""
    asleep: list[psutil.Process] = []

    def put_the_first_to_sleep() -> None:
        while not asleep:
            for child in psutil.Process().children():
                if child.name() == "raylet":
                    child.suspend()
                    asleep.append(child)
            time.sleep(0.005)

    watcher = threading.Thread(target=put_the_first_to_sleep)
    watcher.start()
    with caplog.at_level("WARNING"), cluster(workers=1) as ray:
        assert ray.get(ray.put(1)) == 1
        watcher.join()
        (first,) = asleep
        assert not first.is_running() or first.status() == psutil.STATUS_ZOMBIE
    assert "did not stand within the time that it gives itself; starting it again" in caplog.text
