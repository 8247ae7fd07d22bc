"""Watching a run: what is shown, how often, and that a broken view costs nothing."""

from __future__ import annotations

import io
import itertools
from dataclasses import replace

import pytest
from rich.console import Console

from autocompress.cli.live import LiveView, TimedLines, watching
from autocompress.cli.session import Session
from autocompress.core.ports import Tally
from autocompress.report.progress import tally_in_words

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


def test_a_stage_says_how_far_it_is_and_when_it_ends(capsys: pytest.CaptureFixture[str]) -> None:
    """Of 400 batches 100 took 20 seconds, after 30 of reading that say nothing of the pace; a silence of 10 seconds is
    broken with what is known."""
    now = [0.0]
    lines = TimedLines(Session(), clock=lambda: now[0])
    lines.stage("teacher")
    now[0] = 12.0
    lines.progress(0, None, "reading the texts")
    lines.beat()
    now[0] = 30.0
    lines.progress(0, 400, "epoch 1 of 2, batch 0 of 200")
    now[0] = 50.0
    lines.progress(100, 400, "epoch 1 of 2, batch 100 of 200")
    now[0] = 59.0
    lines.beat()
    now[0] = 60.0
    lines.beat()
    now[0] = 65.0
    lines.beat()
    assert capsys.readouterr().err.splitlines() == [
        "[0:00] teacher",
        "[0:12] teacher, reading the texts",
        "[0:30] teacher 0%, epoch 1 of 2, batch 0 of 200",
        "[0:50] teacher 25%, epoch 1 of 2, batch 100 of 200, about 1:00 left",
        "[1:00] teacher 25%, epoch 1 of 2, batch 100 of 200, about 0:50 left",
    ]


def test_a_search_with_a_limit_ends_with_it() -> None:
    assert tally_in_words(replace(TALLY, limit=90.0)).endswith("0:30 left")
    assert tally_in_words(Tally(target=5, limit=120.0)).endswith("2:00 left")


@pytest.mark.expectation(8)
def test_the_view_fits_a_narrow_terminal_and_tells_the_end_of_a_stage() -> None:
    now = [0.0]
    view = LiveView(clock=lambda: now[0])
    view.stage("verification")
    view.progress(0, 4, "judging the uncompressed model")
    now[0] = 10.0
    view.progress(1, 4, "timing 6 models in turns, alone on the machine")
    console = Console(width=80, file=io.StringIO())
    console.print(view.render())
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    assert "about 0:30 left" in text
    assert "1/4" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.expectation(8)
def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Session(quiet=True)) as observer:
        observer.stage("search")
        observer.tally(TALLY)
        observer.note("latency_ms can reach 0.6 to 14")
    assert capsys.readouterr() == ("", "")


@pytest.mark.expectation(8)
def test_without_a_terminal_there_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with watching(Session()) as observer:
        observer.note("latency_ms can reach 0.6 to 14")
    assert "latency_ms can reach 0.6 to 14" in capsys.readouterr().err
