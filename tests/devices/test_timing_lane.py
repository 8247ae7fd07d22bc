"""One measurement at a time, on machines that others use too."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from pathlib import Path

import pytest

from autocompress.devices.timing import timing_lane


def lock_of(folder: Path) -> Path:
    return folder / f"autocompress-timing-{os.getuid()}.lock"


def test_measurements_take_turns_and_the_one_that_waits_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    order: list[str] = []

    def second() -> None:
        with timing_lane(tmp_path):
            order.append("second")

    other = threading.Thread(target=second)
    with timing_lane(tmp_path):
        other.start()
        while "waiting" not in caplog.text:
            other.join(0.01)
        order.append("first")
    other.join()
    assert order == ["first", "second"]
    assert "another measurement of yours is at work" in caplog.text


def test_a_lock_that_was_laid_as_a_link_empties_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    thesis = tmp_path / "thesis"
    thesis.write_text("years of work")
    lock_of(tmp_path).symlink_to(thesis)
    with timing_lane(tmp_path):
        assert thesis.read_text() == "years of work"
    assert "no lock" in caplog.text


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_is_no_lock_and_holds_nobody_up(make: object, tmp_path: Path) -> None:
    make(lock_of(tmp_path))  # type: ignore[operator]
    with timing_lane(tmp_path):
        pass


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")
def test_the_lock_of_somebody_else_is_not_waited_for(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = lock_of(tmp_path)
    path.touch()
    os.chown(path, 12345, 12345)
    with path.open() as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        with timing_lane(tmp_path):
            pass
    assert "belongs to user 12345" in caplog.text


def test_a_lock_holds_no_content_and_is_for_its_user_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        with timing_lane(tmp_path):
            assert (lock_of(tmp_path).stat().st_size, lock_of(tmp_path).stat().st_mode & 0o777) == (0, 0o600)
    assert caplog.text == ""
