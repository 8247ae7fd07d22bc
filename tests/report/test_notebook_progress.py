"""Watching a study run in a notebook: one display in its place, and nothing anywhere else."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from autocompress.core.ports import Tally
from autocompress.report.notebook_progress import Bundle, NotebookObserver
from autocompress.study.plans import SilentObserver, watcher

ROOT = Path(__file__).parents[2]
TALLY = Tally(target=120, evaluated=66, failed=1, running=2, front=14, seconds=60.0)


class Page:
    """What a notebook would show, one under the other, and how often anything was changed."""

    def __init__(self) -> None:
        self.displays: list[Bundle] = []
        self.changes = 0
        self.now = 10.0

    def show(self, bundle: Bundle) -> Callable[[Bundle], None]:
        self.displays.append(bundle)
        place = len(self.displays) - 1

        def update(other: Bundle) -> None:
            self.changes += 1
            self.displays[place] = other

        return update

    def clock(self) -> float:
        return self.now

    @property
    def text(self) -> str:
        (only,) = self.displays
        return only["text/plain"]


@pytest.fixture
def page() -> Page:
    return Page()


@pytest.fixture
def view(page: Page) -> NotebookObserver:
    return NotebookObserver("digits", show=page.show, clock=page.clock)


def test_a_stage_has_a_bar_its_share_and_the_time_that_is_left(page: Page, view: NotebookObserver) -> None:
    view.stage("teacher", "fine-tuning")
    assert page.text == "digits: teacher, fine-tuning"
    view.progress(0, 8, "epoch 1")
    page.now += 5
    view.progress(2, 8, "epoch 2")
    assert page.text == "digits: █████░░░░░░░░░░░░░░░  teacher 25%, epoch 2, about 0:15 left"
    assert '<progress value="0.250" max="1"' in page.displays[0]["text/html"]


def test_a_search_tells_what_it_judged_and_the_bar_follows_what_ends_it_first(
    page: Page, view: NotebookObserver
) -> None:
    view.stage("search")
    page.now += 1
    view.tally(TALLY)
    assert "search: 67 of 120 judged · 2 running · 1 failed" in page.text
    assert page.text.endswith("front 14 · 0:47 left")
    assert '<progress value="0.558"' in page.displays[0]["text/html"]
    page.now += 1
    view.tally(Tally(target=1000, evaluated=1, seconds=90.0, limit=100.0))
    assert '<progress value="0.900"' in page.displays[0]["text/html"]


def test_at_the_end_one_line_says_how_long_it_took_above_the_last_notes(page: Page, view: NotebookObserver) -> None:
    for number in range(6):
        view.note(f"note {number}")
    view.stage("search")
    view.tally(TALLY)
    page.now += 75
    view.stage("done")
    assert page.text.split("\n") == [
        "digits: done in 1:15 · 67 judged · 1 failed · front 14",
        *(f"note {number}" for number in range(2, 6)),
    ]
    assert "<progress" not in page.displays[0]["text/html"]


def test_it_is_one_display_that_changes_no_more_than_four_times_a_second(page: Page, view: NotebookObserver) -> None:
    view.stage("teacher")
    for step in range(1000):
        page.now += 0.001
        view.progress(step, 1000)
    assert len(page.displays) == 1
    # a second of this clock; what waits for its turn waits by the true one
    assert 3 <= page.changes <= 8
    view.stage("done")
    assert "done in 0:01" in page.text


def test_what_is_shown_has_no_tags_and_no_escape_codes_of_others(page: Page) -> None:
    view = NotebookObserver("<script>", show=page.show, clock=page.clock)
    view.stage("assets", "\x1b[2J<b>")
    page.now += 1
    view.note("plan:\n<i> \x1b[0m")
    assert "<script>" not in page.displays[0]["text/html"]

    assert "<i>" not in page.displays[0]["text/html"]
    assert "\x1b" not in str(page.displays)


def test_a_notebook_that_fails_does_not_stop_the_study() -> None:
    def broken(bundle: Bundle) -> Callable[[Bundle], None]:
        raise OSError("the page is closed")

    view = NotebookObserver(show=broken)
    view.stage("search")
    view.tally(TALLY)
    view.note("a note")
    view.stage("done")


def test_outside_of_a_notebook_nobody_watches_and_nothing_of_one_is_imported() -> None:
    assert isinstance(watcher(None, "digits"), SilentObserver)
    code = (
        "import sys; from autocompress.study.plans import watcher; "
        "print(type(watcher(None)).__name__, 'IPython' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.split() == ["SilentObserver", "False"]


def test_a_kernel_shows_one_display_which_the_end_of_a_cell_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    cells = [
        "import contextlib, io\n"
        "from autocompress.core.ports import Tally\n"
        "from autocompress.study.plans import watcher\n"
        "view = watcher(None, {'name': 'digits'})\n"
        "view.stage('search')\n"
        "for judged in range(9):\n"
        "    view.tally(Tally(target=9, evaluated=judged))\n"
        "view.stage('done')",
        "watcher(None, 'studies/mine.yaml').stage('teacher')",
        "watcher(None).stage('teacher')\nraise ValueError",
        "with contextlib.redirect_stdout(io.StringIO()):\n    silent = watcher(None)\nprint(type(silent).__name__)",
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=60, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = [cell.outputs for cell in notebook.cells]
    shown = [[one.data["text/plain"] for one in cell if one.output_type == "display_data"] for cell in outputs]
    assert [len(one) for one in shown] == [1, 1, 1, 0], outputs
    assert shown[0][0].startswith("digits: done in 0:00 · 8 judged")
    assert shown[1] == ["mine: done in 0:00"]
    assert shown[2][0] == "stopped after 0:00, in stage 'teacher'"
    assert outputs[3][0].text == "SilentObserver\n"
