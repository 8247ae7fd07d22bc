"""Ctrl-C and SIGTERM: noted at once, acted on where nothing breaks."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import autocompress
from autocompress.core.interruption import SIGNALS, Switch, interruptible, reinstall, shielded


@pytest.fixture
def switch() -> Iterator[Switch]:
    with interruptible() as thrown:
        yield thrown


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_interrupts_at_once_and_says_how_the_process_ends(
    switch: Switch, number: signal.Signals, code: int
) -> None:
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
    assert (switch.thrown, switch.exit_code) == (number, code)
    with pytest.raises(KeyboardInterrupt):
        switch.check()


def test_the_patient_only_note_a_first_signal_and_the_first_one_counts(switch: Switch) -> None:
    with switch.patient():
        signal.raise_signal(signal.SIGTERM)
        assert switch.thrown is signal.SIGTERM
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert switch.exit_code == 143


class Dying:
    """An object in whose last moment a signal comes."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_comes_in_a_finalizer_is_not_lost(switch: Switch, monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt raised there would be printed with its traceback, and forgotten."""
    forgotten: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", forgotten.append)

    def work() -> None:
        Dying()
        time.sleep(10)

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        work()
    assert time.monotonic() - started < 5
    assert switch.exit_code == 143
    assert not forgotten


def test_what_is_shielded_ends_before_a_signal_acts(switch: Switch) -> None:
    done = []

    def work() -> None:
        with shielded():
            with shielded():
                signal.raise_signal(signal.SIGINT)
            done.append("the outer one too")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["the outer one too"]


def test_a_shield_inside_of_patience_lets_nothing_through(switch: Switch) -> None:
    with switch.patient():
        with shielded():
            signal.raise_signal(signal.SIGINT)
        assert switch.thrown is signal.SIGINT


def test_an_error_inside_of_a_shield_goes_before_the_signal(switch: Switch) -> None:

    def fail() -> None:
        with shielded():
            signal.raise_signal(signal.SIGINT)
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        fail()
    with pytest.raises(KeyboardInterrupt), shielded():
        pass  # the next one lets it act


def test_handlers_are_those_of_before_afterwards_and_taken_back_from_libraries() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with interruptible() as switch:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)  # as a library does
        reinstall()
        with interruptible() as inner:
            assert inner is switch, "there is one a process"
        with switch.patient():
            signal.raise_signal(signal.SIGTERM)
        assert switch.thrown is signal.SIGTERM
    assert [signal.getsignal(number) for number in SIGNALS] == before
    with shielded():
        pass


def test_other_threads_neither_hear_signals_nor_shield_the_main_one(switch: Switch) -> None:
    entered, ended = threading.Event(), threading.Event()

    def aside() -> None:
        with interruptible() as own, shielded():
            assert own is not switch
            entered.set()
            ended.wait(10)

    thread = threading.Thread(target=aside)
    thread.start()
    entered.wait(10)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    finally:
        ended.set()
        thread.join()


def test_an_interrupt_that_passed_through_exec_does_not_change_the_exit_code(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import sys\n"
        "from autocompress.core.interruption import exit_code_keeper\n"
        "keep = exit_code_keeper()\n"
        "try:\n    exec('raise KeyboardInterrupt')\nexcept KeyboardInterrupt:\n    pass\n"
        "print('all of it')\n"
        "keep(143)\n"
        "sys.exit(143)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "program"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(autocompress.__path__[0]).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (143, "all of it\n", "")
