"""Tables, plots and pages: what they show, and what cannot get through them."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path

import pytest
from rich.console import Console

from autocompress.core.metrics import Direction
from autocompress.core.outcome import Measurement, Measurements
from autocompress.errors import HostError, NotFoundError
from autocompress.explain.steps import with_steps
from autocompress.report import (
    FrontReport,
    PickBounds,
    as_csv,
    as_html,
    as_markdown,
    as_picked,
    as_png,
    as_table,
    front_report,
    pick,
)
from autocompress.report.html import page as page_text
from autocompress.report.plain_text import one_line, plain, spreadsheet_cell
from autocompress.report.plot import plots_of
from autocompress.report.prediction import PACE
from autocompress.report.steps import as_steps, cells_of
from autocompress.store import Store

from . import given

HOSTILE = "<script>alert(1)</script> \x1b[31mred\x1b[0m [bold]x[/bold] =1+1 | \x1b]0;title\x07\u202eevil"


@pytest.fixture
def hostile(empty: Store) -> Store:
    given.finished(empty, description=HOSTILE)
    return empty


def printed(renderable: object, *, width: int = 200) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=False)
    console.print(renderable)
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


@pytest.mark.expectation(19, 21)
def test_the_table_shows_baseline_knee_differences_and_where_numbers_come_from(store: Store) -> None:
    text = printed(as_table(front_report(store, "quickstart")))
    (baseline,) = (line for line in text.splitlines() if line.strip().startswith("baseline"))
    (knee,) = (line for line in text.splitlines() if line.strip().startswith("◆") and "verified" in line)
    assert "14.1 ms" in baseline
    assert re.search(r"0\.957 +−0\.4 +0\.952 \[0\.932–0\.968\] +2\.31 ms +6\.1× +18\.1 MB +−80 % +verified", knee)
    assert "~0.640 ms" in text
    assert "the best in accuracy, as 95 % intervals of their values overlap" in text


def correlated(report: FrontReport) -> FrontReport:
    """The same numbers as if they were correlations."""

    def of(metrics: Mapping[str, Measurement]) -> dict[str, Measurement]:
        return {
            name: replace(one, unit="spearman" if one.unit == "accuracy" else one.unit) for name, one in metrics.items()
        }

    assert report.baseline is not None
    baseline = replace(report.baseline, metrics=of(report.baseline.metrics))
    members = tuple(replace(member, metrics=of(member.metrics)) for member in report.members)
    return replace(report, baseline=baseline, members=members)


def test_differences_of_a_correlation_are_no_points(store: Store, tmp_path: Path) -> None:
    report = correlated(front_report(store, "quickstart"))
    text = printed(as_table(report))
    (knee,) = (line for line in text.splitlines() if line.strip().startswith("◆") and "verified" in line)
    assert re.search(r"0\.957 +−0\.004 +0\.952 ", knee)
    as_html(report, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    for shown in (text, as_markdown(report), page):
        assert "−0.004" in shown
        assert not re.search(r"\d pt|Δ pt|points? by", shown)


def test_the_page_tells_facts_as_people_read_them(empty: Store, tmp_path: Path) -> None:
    given.finished(empty)
    with empty.lease("quickstart") as lease:
        empty.set_fact(lease, "task", {"metric": "accuracy", "chance": 0.23605947955390336})
        empty.set_fact(lease, "device", {"name": "host", "here": True})
    as_html(front_report(empty, "quickstart"), tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert "<dt>chance</dt><dd>0.2361</dd>" in page
    assert "<dt>here</dt><dd>yes</dd>" in page


@pytest.mark.expectation(23)
def test_the_page_tells_what_the_steps_of_verified_members_did(store: Store, tmp_path: Path) -> None:
    """The words of `show`, folded away under each member."""
    front = with_steps(store, front_report(store, "quickstart"))
    assert set(front.steps) == {one.digest for one in front.verified}
    as_html(front, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    for one in front.verified:
        assert f"<details><summary><code>{one.digest[:8]}</code> {one.summary}</summary>" in page
        for step in cells_of(front.steps[one.digest]).rows:
            assert f"<td>{step[0][0]}<small>{step[0][1]}</small>" in page
            assert step[0][0] in printed(as_steps(front.steps[one.digest]))
    assert '<th scope="col">took</th>' in page
    assert "do not add up" in page
    assert "<h2>What each step" not in page_text(front_report(store, "quickstart")), "nobody asked for them"


def test_a_narrow_terminal_gets_fewer_columns_and_whole_words(store: Store) -> None:
    text = printed(as_table(front_report(store, "quickstart")), width=80)
    assert "…" not in text
    assert "76bcfcf5" in text
    assert "verified" in text


@pytest.fixture
def energetic(empty: Store) -> Store:
    """A study with energy among its objectives."""
    given.finished(empty, objectives={"quality": "maximize", "energy_mj": "minimize", "latency_ms": "minimize"})
    return empty


def test_energy_is_shown_where_the_study_names_it_and_never_without_its_word(energetic: Store, tmp_path: Path) -> None:
    report = front_report(energetic, "quickstart")
    for width in (100, 140, 200):
        (knee,) = (line for line in printed(as_table(report), width=width).splitlines() if line.startswith(" ◆"))
        assert "~69.3 mJ modelled" in knee
    assert "~69.3 mJ (modelled, 34.6–104)" in as_markdown(report).replace("\\", "")
    as_html(report, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert "~69.3 mJ<small>modelled</small>" in page
    plot = plots_of(report)[0]
    assert plot.x.title == "energy, mJ, modelled (lower is better)"
    row = next(row for row in csv.DictReader(io.StringIO(as_csv(report))) if row["number"] == "2")
    assert row["energy_mj_source"] == "modelled"
    assert re.search(r"energy +~69\.3 mJ \[34\.6–104\] modelled", printed(as_picked(pick(energetic, "quickstart"))))


def test_a_memory_that_was_counted_says_so(empty: Store) -> None:
    given.finished(
        empty,
        constraints={"peak_memory_mib": {"max": 64}},
        measured=lambda *known: (*given.exported(*known), Measurement("peak_memory_mib", 9.9, "MiB", "counted")),
    )
    for text in (printed(as_table(front_report(empty, "quickstart"))), as_markdown(front_report(empty, "quickstart"))):
        assert len(re.findall(r"9\.90 MiB \(?counted", text)) == 5, "four models and the baseline"


def test_energy_that_the_study_does_not_name_is_in_csv_and_json_alone(store: Store) -> None:
    report = front_report(store, "quickstart")
    assert "mJ" not in printed(as_table(report))
    assert "energy_mj_source" in as_csv(report)
    assert report.to_json()["members"][0]["metrics"]["energy_mj"]["source"] == "modelled"


def test_a_bounded_metric_has_a_column_of_its_own(empty: Store) -> None:
    given.finished(empty, constraints={"parameters": {"max": 3e7}})
    assert "15.2 M" in printed(as_table(front_report(empty, "quickstart")))


def test_a_latency_that_nobody_measured_says_so_with_its_interval(empty: Store, tmp_path: Path) -> None:
    given.finished(empty, measured=given.elsewhere)
    report = front_report(empty, "quickstart")
    assert "~2.31 ms" in printed(as_table(report))
    assert "2.08–2.54 predicted" in printed(as_table(report))
    narrow = printed(as_table(report), width=80)
    assert "…" not in narrow
    assert narrow.count(" predicted ") == 5, "four models and the baseline"
    assert "Where latency reads predicted, the finalist was not timed on `host`" in printed(as_table(report))
    as_html(report, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert "~2.31 ms<small>2.08–2.54, predicted</small>" in page
    assert "faster at the knee, predicted" in page
    plot = plots_of(report)[0]
    assert plot.x.title == "latency, ms, predicted (lower is better)"
    assert "~2.31 ms [2.08–2.54] predicted" in printed(as_picked(pick(empty, "quickstart")))


def test_how_good_predictions_were_is_one_line(store: Store, tmp_path: Path) -> None:
    said = "Predicted against measured latency of 4 finalists: error 5.0 % (worst 5.0 %), rank correlation 1.00."
    report = front_report(store, "quickstart")
    assert said in printed(as_table(report))
    assert "Warning" not in printed(as_table(report))
    as_html(report, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert said in page
    assert "2.31 ms<small>predicted 2.43</small>" in page


def test_a_pace_that_changed_is_a_note_and_no_warning(empty: Store) -> None:
    """The machine has become 1.4 times slower since it was profiled."""
    given.finished(
        empty,
        measured=lambda quality, test, ms, mb: given.exported(quality, test, 1.4 * ms, mb),
        provenance={PACE: 1.4},
    )
    text = printed(as_table(front_report(empty, "quickstart")))
    assert (
        "This machine took 1.40 times as long as when it was profiled (its reference model, timed beside): predictions "
        "are read at that pace."
    ) in text
    assert "Warning" not in text


@pytest.mark.parametrize(
    ("device", "said"),
    [
        (
            {"name": "host"},
            "It was set aside: the next study here measures it anew, and `autocompress retarget quickstart --device "
            "host` reads this one by it.",
        ),
        (
            {"name": "my-xeon"},
            "Measure it anew with `autocompress profile --out my-xeon.yaml`; `autocompress retarget quickstart "
            "--device my-xeon.yaml` reads this study by it.",
        ),
        (
            {"name": "board", "here": False},
            "Measure it anew on that machine with `autocompress profile --out board.yaml`; ",
        ),
    ],
)
def test_a_profile_that_is_wrong_is_a_warning_that_says_what_helps(
    empty: Store, device: dict[str, object], said: str
) -> None:
    """Small models take twice as long as predicted, large ones do not."""
    given.finished(
        empty, measured=lambda quality, test, ms, mb: given.exported(quality, test, ms * (2 if ms < 3 else 1), mb)
    )
    with empty.lease("quickstart") as lease:
        empty.set_fact(lease, "device", device)
    text = printed(as_table(front_report(empty, "quickstart")), width=400)
    name = device["name"]
    wrong = f"Warning: the profile of `{name}` is off by 48 %, so the search chose by wrong latencies. "
    assert f"{wrong}{said}" in text


def test_the_picked_member_stands_beside_the_baseline(store: Store) -> None:
    text = printed(as_picked(pick(store, "quickstart")))
    assert re.search(r"latency +2\.31 ms \[2\.26–2\.38\] +14\.1 ms \[13\.8–14\.5\] +6\.1× faster", text)
    assert "−0.4 [−1.9 to +1.1] pt" in text, "with the paired interval of the drop"


def test_the_picked_member_fits_a_narrow_terminal_with_the_widest_intervals(empty: Store) -> None:
    def wide(quality: float, test: float, ms: float, mb: float) -> Measurements:
        energy = Measurement("energy_mj", 0.589, "mJ", "modelled", (0.294, 0.883))
        rate = Measurement("throughput", 20483.0, "1/s", "measured", (20378.0, 20572.0))
        return (*(one for one in given.exported(quality, test, ms, mb) if one.metric != "energy_mj"), energy, rate)

    given.finished(empty, measured=wide)
    text = printed(as_picked(pick(empty, "quickstart")), width=80)
    assert "[0.294–0.883]" in text
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 80
    assert any(line.rstrip().endswith("6.1× faster") for line in text.splitlines())


def test_text_of_others_reaches_no_terminal_as_a_command(hostile: Store) -> None:
    text = printed(as_table(front_report(hostile, "quickstart")))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "[bold]x[/bold]" in text, "markup is shown, not obeyed"


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("\x1b[2J\x1b[1;31mhi\x1b[0m", "hi"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x00\x08b\x9b31mc", "ab31mc"),
        ("tab\tand\nline", "tab\tand\nline"),
    ],
)
def test_escape_codes_are_taken_out(given_text: str, shown: str) -> None:
    assert plain(given_text) == shown


def test_a_long_line_is_cut() -> None:
    assert one_line("a  b\nc", width=4) == "a b…"


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1+cmd|' /C calc'!A0", "@SUM(A1)", "\t=1"])
def test_a_formula_becomes_text_in_csv(formula: str) -> None:
    assert spreadsheet_cell(formula).startswith("'")


def test_numbers_stay_numbers_in_csv(store: Store) -> None:
    assert spreadsheet_cell(-0.5) == "-0.5"
    rows = list(csv.DictReader(io.StringIO(as_csv(front_report(store, "quickstart")))))
    assert rows[0]["state"] == "baseline"
    best = next(row for row in rows if row["number"] == "1")
    assert float(best["quality_drop"]) == pytest.approx(-0.0018)
    assert best["latency_ms_source"] == "measured"


@pytest.mark.expectation(27)
def test_markdown_lists_what_is_verified_and_escapes_the_rest(hostile: Store) -> None:
    text = as_markdown(front_report(hostile, "quickstart"))
    assert text.count("\n| ") == 1 + 1 + 4, "the head, the baseline and four members"
    assert "<script>" not in text.replace("\\<", "")
    assert r"\|" in text


class Page(HTMLParser):
    """The tags of a page, and whether they are balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "line", "circle", "rect", "polyline"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.expectation(27)
def test_the_page_is_one_file_without_a_request_and_runs_its_own_script_alone(hostile: Store, tmp_path: Path) -> None:
    file = tmp_path / "front.html"
    as_html(front_report(hostile, "quickstart"), file)
    text = file.read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == []
    assert page.links == []
    data, script = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; " in text
    assert f"script-src 'sha256-{digest}'\"" in text
    assert not re.search(r"\bon[a-z]+=|javascript:|https?:(?!//www.w3.org/2000/svg)", text)
    assert page.tags.count("script") == 2
    assert json.loads(data)["candidates"]
    assert "&lt;script&gt;" in text
    assert "Xeon &lt;b&gt;8488C" in text
    assert "\x1b" not in text
    assert file.stat().st_size < 1_000_000


def test_what_the_script_tells_is_what_the_page_says(store: Store, tmp_path: Path) -> None:
    """Each candidate has a row and a dot under the name by which it is told of."""
    as_html(front_report(store, "quickstart"), tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text)
    assert found is not None
    data = json.loads(found.group(1))
    assert [metric["name"] for metric in data["metrics"]][:3] == ["quality", "latency_ms", "size_mb"]
    assert data["metrics"][1]["title"] == "latency, ms (lower is better)"
    (knee,) = (one for one in data["candidates"] if one["knee"])
    assert knee["name"] == "76bcfcf5"
    assert knee["values"]["latency_ms"] == pytest.approx(2.31)
    assert knee["shown"]["latency_ms"] == "2.31 ms"
    rows = set(re.findall(r'<tr id="([^"]+)"', text))
    assert {one["id"] for one in data["candidates"]} == rows
    assert set(re.findall(r'data-id="([^"]+)"', text)) <= rows
    assert re.search(r"Written by autocompress [\d.]+ on \d{4}-\d\d-\d\d \d\d:\d\d UTC; anew with", text)


def test_the_plot_of_the_page_says_what_it_shows(store: Store, tmp_path: Path) -> None:
    as_html(front_report(store, "quickstart"), tmp_path / "front.html")
    text = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert 'role="img" aria-labelledby="plot-title-latency_ms plot-text-latency_ms"' in text
    assert "6.1× 76bcfcf5: latency_ms 2.31, quality 0.9573." in text


def counted(quality: float, test: float, latency_ms: float, size_mb: float) -> Measurements:
    """With the throughput of batches of eight."""
    ends = 8e3 / (latency_ms * 1.03), 8e3 / (latency_ms * 0.98)
    rate = Measurement("throughput", 8e3 / latency_ms, "1/s", "measured", ends)
    return (*given.exported(quality, test, latency_ms, size_mb), rate)


@pytest.fixture
def busy(empty: Store) -> Store:
    """A study of throughput."""
    wanted: dict[str, Direction] = {"quality": "maximize", "throughput": "maximize", "size_mb": "minimize"}
    given.finished(empty, objectives=wanted, measured=counted)
    return empty


def test_throughput_stands_where_latency_does_in_a_study_that_asks_for_it(busy: Store, tmp_path: Path) -> None:
    report = front_report(busy, "quickstart")
    as_html(report, tmp_path / "front.html")
    texts = [printed(as_table(report), width=width) for width in (80, 200)]
    texts += [as_markdown(report), (tmp_path / "front.html").read_text(encoding="utf-8")]
    for text in texts:
        assert "throughput" in text
        assert "3,463 inputs/s" in text, "8 texts in 2.31 ms"
        assert "6.1×" in text
    assert "2.31 ms a batch" in texts[-1]
    assert all("latency" not in text.splitlines()[4] for text in texts[:2]), "in no column"


def test_the_front_of_throughput_is_drawn_towards_higher_values(busy: Store) -> None:
    plot = plots_of(front_report(busy, "quickstart"))[0]
    assert plot.x.metric == "throughput"
    assert plot.x.title == "throughput, inputs/s (higher is better)"
    assert plot.y.metric == "quality"
    rates, qualities = zip(*plot.front, strict=True)
    assert list(rates) == sorted(rates)
    assert list(qualities) == sorted(qualities, reverse=True), "more texts a second cost quality"


def test_the_fastest_by_throughput_is_picked_within_a_bound(busy: Store) -> None:
    picked = pick(busy, "quickstart", bounds=PickBounds(min_throughput=3000), maximize="quality")
    assert picked.member.metrics["throughput"].value == pytest.approx(8e3 / 2.31)
    assert "throughput >= 3000 inputs/s" in picked.why
    assert "3,463 inputs/s" in printed(as_picked(picked))
    fastest = pick(busy, "quickstart", maximize="throughput")
    assert fastest.member.metrics["latency_ms"].value == 1.12


@pytest.mark.parametrize("kind", ["store", "energetic", "busy"])
@pytest.mark.parametrize("place", [0, 1])
def test_labels_cover_neither_each_other_nor_a_verified_dot(
    kind: str, place: int, request: pytest.FixtureRequest
) -> None:
    plot = plots_of(front_report(request.getfixturevalue(kind), "quickstart"))[place]
    placed = plot.labels()
    assert len(placed) == 5
    assert all(a.overlap(b) == 0 for (_, a), (_, b) in combinations(placed, 2))
    for dot in plot.dots:
        x, y = plot.at(dot.x, dot.y)
        assert not any(box.x < x < box.x + box.width and box.y < y < box.y + box.height for _, box in placed)


def test_every_cost_has_a_picture_whose_line_never_falls(store: Store, tmp_path: Path) -> None:
    report = front_report(store, "quickstart")
    plots = plots_of(report)
    assert [plot.x.metric for plot in plots] == ["latency_ms", "size_mb"]
    for plot in plots:
        qualities = [quality for _, quality in plot.front]
        assert qualities == sorted(qualities), "a model on the front for its size may lie behind another in latency"
    assert any(dot.label.startswith("−") for dot in plots[1].dots), "sizes are told beside the uncompressed model's"
    as_html(report, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text(encoding="utf-8")
    assert page.count('<svg class="plot"') == 2
    assert len(set(re.findall(r' id="([^"]+)"', page))) == len(re.findall(r' id="', page))


def test_estimates_far_below_do_not_flatten_the_plot(store: Store) -> None:
    plot = plots_of(front_report(store, "quickstart"))[0]
    assert plot.y.low > 0.85
    assert plot.hidden > 0


def test_the_png_is_a_picture(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "front.png"
    as_png(front_report(store, "quickstart"), file)
    assert file.read_bytes().startswith(b"\x89PNG")


def test_files_that_cannot_be_written_are_named(store: Store, tmp_path: Path) -> None:
    report = front_report(store, "quickstart")
    for write in (as_png, as_html):
        with pytest.raises(HostError, match="nowhere/front.*cannot be written"):
            write(report, tmp_path / "nowhere" / "front")


def test_a_study_with_nothing_in_it_is_shown_as_such(empty: Store, tmp_path: Path) -> None:
    given.study(empty, "new")
    report = front_report(empty, "new")
    assert "autocompress resume new" in printed(as_table(report))
    assert as_csv(report).count("\n") == 1
    assert as_markdown(report).startswith("## new")
    as_html(report, tmp_path / "new.html")
    with pytest.raises(NotFoundError, match="nothing to draw yet"):
        as_png(report, tmp_path / "new.png")


def test_a_missing_matplotlib_is_an_extra_to_install(store: Store, tmp_path: Path) -> None:
    """In a process of its own, where the import finds nothing."""
    program = (
        "import sys; sys.modules['matplotlib'] = None\n"
        "from pathlib import Path\n"
        "from autocompress.report import as_png, front_report\n"
        "from autocompress.store import Store\n"
        f"with Store.open({str(tmp_path / 'studies.db')!r}) as store:\n"
        "    as_png(front_report(store, 'quickstart'), Path('x.png'))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert "pip install 'autocompress[plots]'" in done.stderr
