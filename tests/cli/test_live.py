"""Watching a run: what is shown, how often, and that a broken view costs nothing."""

from __future__ import annotations

import io
import itertools

import pytest
from rich.console import Console

from autocompress.cli.live import LiveView, TimedLines, tally_in_words, watching
from autocompress.cli.session import Session
from autocompress.core.ports import Tally

TALLY = Tally(target=120, evaluated=66, failed=1, infeasible=12, repeated=9, running=2, front=14, seconds=60.0)


def shown(view: LiveView) -> str:
    console = Console(width=120, file=io.StringIO())
    console.print(view.render())
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_the_tally_is_one_line() -> None:
    assert tally_in_words(TALLY) == (
        "67 of 120 judged · 2 running · 1 failed · 12 infeasible · 9 repeated · 67/min · front 14 · 0:47 left"
    )
    assert tally_in_words(Tally(target=5)) == "0 of 5 judged · 0 running"


def test_stages_are_ticked_off_with_their_seconds() -> None:
    clock = itertools.count(0, 2).__next__
    view = LiveView(clock=lambda: float(clock()))
    view.stage("teacher", "fine-tuning")
    view.stage("search")
    view.tally(TALLY)
    text = shown(view)
    assert "✓  teacher" in text
    assert "2.0 s" in text
    assert "67/120" in text
    assert "front 14" in text


def test_escape_codes_in_a_detail_are_not_shown() -> None:
    view = LiveView()
    view.stage("assets", "\x1b[2Jcleared")
    view.note("[red]reach\x1b[0m[/red]")
    assert "\x1b" not in shown(view)
    assert "[red]reach[/red]" in shown(view)


def test_a_view_that_fails_does_not_stop_the_run() -> None:
    looks = 0

    def broken() -> float:
        nonlocal looks
        looks += 1
        raise OSError("no clock")

    view = LiveView(clock=broken)
    view.stage("search")
    view.progress(1, 2)
    view.tally(TALLY)
    assert looks > 0, "the view did look at its clock, and went on without"


def test_lines_come_at_most_every_few_seconds(capsys: pytest.CaptureFixture[str]) -> None:
    now = [0.0]
    lines = TimedLines(Session(), clock=lambda: now[0])
    lines.stage("search", "two workers")
    for _ in range(100):
        now[0] += 0.1
        lines.tally(TALLY)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "[0:00] search: two workers"
    assert 1 <= len(said) - 1 <= 2
    assert said[1].endswith(tally_in_words(TALLY))


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Session(quiet=True)) as observer:
        observer.stage("search")
        observer.tally(TALLY)
        observer.note("latency_ms can reach 0.6 to 14")
    assert capsys.readouterr() == ("", "")


def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Session()) as observer:
        observer.note("latency_ms can reach 0.6 to 14")
    assert "latency_ms can reach 0.6 to 14" in capsys.readouterr().err
