"""Commands that read: what they print where, and how they end."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress.core.outcome import Proposal
from autocompress.store import Store
from tests.report import given

from .conftest import Run

READS = (
    ("pareto", "quickstart"),
    ("pick", "quickstart"),
    ("trials", "quickstart"),
    ("show", "quickstart", "2"),
    ("compare", "quickstart", "1", "2"),
    ("studies",),
    ("list",),
    ("spaces",),
    ("devices",),
)


@pytest.mark.expectation(9)
@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_every_read_command_prints_one_versioned_json_document(
    store: Store, run: Run, command: tuple[str, ...]
) -> None:
    ended = run(*command, "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out)["schema"].startswith("autocompress.")


@pytest.mark.parametrize("command", READS, ids=" ".join)
def test_every_read_command_prints_plain_text_without_a_terminal(
    store: Store, run: Run, command: tuple[str, ...]
) -> None:
    ended = run(*command)
    assert ended.code == 0
    assert "\x1b" not in ended.out + ended.err
    assert ended.out.strip()


def test_pareto_as_json_has_the_keys_of_the_acceptance(store: Store, run: Run) -> None:
    tree = json.loads(run("pareto", "quickstart", "--json").out)
    assert {"baseline", "members", "hypervolume", "counts"} <= tree.keys()


def test_pick_as_json_has_the_keys_of_the_acceptance(store: Store, run: Run) -> None:
    ended = run("pick", "quickstart", "--max-quality-drop", "0.01", "--minimize", "latency_ms", "--json")
    tree = json.loads(ended.out)
    assert {"digest", "policy", "verified", "metrics", "baseline", "relative", "why"} <= tree.keys()
    assert tree["digest"] == store.record("quickstart", 3).candidate.digest


@pytest.mark.expectation(9, 22)
def test_pick_says_why_on_stdout_and_what_next_on_stderr(store: Store, run: Run) -> None:
    ended = run("pick", "quickstart")
    assert "It is the knee of the 4 verified finalists" in ended.out
    assert "autocompress export quickstart" in ended.err
    assert run("pick", "quickstart", "--quiet").err == ""


@pytest.mark.expectation(10)
def test_pick_ends_with_3_when_nothing_fits(store: Store, run: Run) -> None:
    ended = run("pick", "quickstart", "--max-latency-ms", "0.1")
    assert (ended.code, ended.out) == (3, "")
    assert "with latency 1.12 ms where <= 0.1 ms was asked" in ended.err


def test_pick_takes_bounds_on_energy_throughput_and_memory(store: Store, run: Run) -> None:
    ended = run("pick", "quickstart", "--max-energy-mj", "40", "--json")
    assert json.loads(ended.out)["metrics"]["energy_mj"]["value"] == 33.6
    for option, said in (("--min-throughput", "throughput"), ("--max-memory-mib", "peak_memory_mib")):
        ended = run("pick", "quickstart", option, "1")
        assert ended.code == 3
        assert f"{option}: {said} is not known of any verified finalist" in ended.err


def test_pareto_writes_files_and_says_so_on_stderr(store: Store, run: Run, folder: Path) -> None:
    ended = run("pareto", "quickstart", "--png", "front.png", "--html", "front.html")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.split() == ["wrote", "front.png", "wrote", "front.html"]
    assert (folder / "front.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "front.html").read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(("option", "start"), [("--csv", "study,number,digest"), ("--markdown", "## quickstart")])
def test_pareto_has_other_forms(store: Store, run: Run, option: str, start: str) -> None:
    assert run("pareto", "quickstart", option).out.startswith(start)


def test_two_forms_at_once_are_refused(store: Store, run: Run) -> None:
    ended = run("pareto", "quickstart", "--json", "--csv")
    assert ended.code == 2
    assert "give one of --json, --csv and --markdown" in ended.err


def test_report_writes_as_many_files_as_are_named(store: Store, run: Run, folder: Path) -> None:
    ended = run("report", "quickstart", "--csv", "front.csv", "--json", "front.json", "--markdown", "front.md")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.split() == ["wrote", "front.csv", "wrote", "front.md", "wrote", "front.json"]
    assert json.loads((folder / "front.json").read_text()) == json.loads(run("pareto", "quickstart", "--json").out)
    ended = run("report", "quickstart")
    assert ended.code == 2
    assert "report: names no file to write; give one or more of --html FILE, --png FILE" in ended.err


@pytest.mark.expectation(28)
def test_trials_are_written_as_csv_json_and_parquet(store: Store, run: Run, folder: Path) -> None:
    import pandas

    assert run("trials", "quickstart", "--csv").out.startswith("number,digest,state")
    assert len(json.loads(run("trials", "quickstart", "--json").out)["trials"]) == 18
    assert run("trials", "quickstart", "--parquet", "all.parquet").err == "wrote all.parquet\n"
    assert run("trials", "quickstart", "--state", "failed", "--parquet", "all.parquet").code == 0
    failed = pandas.read_parquet(folder / "all.parquet")
    assert failed["why"].tolist() == ["score: RuntimeError: boom [bold]"]


@pytest.mark.expectation(17)
def test_libraries_are_told_to_tell_nobody(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from autocompress.runners.cluster import QUIET

    monkeypatch.delenv("HF_HUB_DISABLE_TELEMETRY", raising=False)
    assert run("studies").code == 0
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1"
    assert (QUIET["RAY_USAGE_STATS_ENABLED"], QUIET["HF_HUB_DISABLE_TELEMETRY"]) == ("0", "1")


def test_trials_can_be_narrowed_to_a_state(store: Store, run: Run) -> None:
    rows = json.loads(run("trials", "quickstart", "--state", "infeasible", "--json").out)["trials"]
    assert [(row["number"], row["constraint"]) for row in rows] == [(16, "size_mb <= 60")]
    ended = run("trials", "quickstart", "--state", "fail")
    assert ended.code == 2
    assert "did you mean 'failed'" in ended.err


@pytest.mark.expectation(14)
def test_failures_are_told_by_cause_and_without_their_escape_codes(store: Store, run: Run) -> None:
    ended = run("trials", "quickstart")
    assert "score: RuntimeError: boom [bold]" in ended.out
    assert "1 failed: score: RuntimeError: boom [bold]" in ended.err
    assert "Traceback: boom" in run("show", "quickstart", "17").out


def test_trials_as_csv_hold_no_formula(folder: Path, run: Run) -> None:
    from autocompress.core.outcome import Infeasible

    with Store.open() as store:
        given.study(store, "sheet")
        with store.lease("sheet") as lease:
            given.propose(store, lease, 0, given.policy(3, 3), Infeasible("=HYPERLINK(1)"))
    assert ",'=HYPERLINK(1)," in run("trials", "sheet", "--csv").out


@pytest.mark.expectation(23)
def test_show_finds_a_candidate_by_number_or_digest(store: Store, run: Run) -> None:
    digest = store.record("quickstart", 2).candidate.digest
    by_number, by_digest = (json.loads(run("show", "quickstart", ref, "--json").out) for ref in ("2", digest[:7]))
    assert by_number == by_digest
    assert by_number["finalist"]["state"] == "verified"
    assert by_number["finalist"]["metrics"]["latency_ms"]["n"] == 41
    assert by_number["explained"]["layers"][5]["bits"] == "removed"


@pytest.mark.expectation(24)
def test_two_studies_or_two_candidates_of_one_are_compared(store: Store, run: Run, folder: Path) -> None:
    given.finished(store, "again")
    tree = json.loads(run("compare", "quickstart", "again", "--max-quality-drop", "2%", "--json").out)
    assert tree["of"] == "studies"
    assert "lose at most 2 pt" in tree["rule"]
    there = json.loads(run("compare", "quickstart", "again", "--other-storage", "autocompress.db", "--json").out)
    assert there["b"]["study"] == "again"
    ended = run("compare", "quickstart")
    assert ended.code == 2
    assert "takes two studies (`compare A B`) or a study and two of its candidates" in ended.err
    ended = run("compare", "quickstart", "1", "2", "--max-quality-drop", "2%")
    assert "--max-quality-drop: belongs to two studies, and 1 and 2 are candidates" in ended.err
    assert run("compare", "quickstart", "agian").code == 3


def test_only_verified_candidates_are_exported(store: Store, run: Run, folder: Path) -> None:
    ended = run("export", "quickstart", "6", "--out", "picked")
    assert ended.code == 3
    assert "was not verified" in ended.err
    assert not (folder / "picked").exists()


@pytest.mark.expectation(32)
def test_the_list_counts_candidates_and_verified_models(store: Store, run: Run) -> None:
    (row,) = json.loads(run("list", "--json").out)["studies"]
    assert (row["name"], row["state"], row["counts"]["candidates"], row["counts"]["verified"]) == (
        "quickstart", "complete", 18, 4,
    )  # fmt: skip


@pytest.mark.expectation(30)
def test_an_unknown_study_ends_with_3_and_the_nearest_name(store: Store, run: Run) -> None:
    for command in (("pareto",), ("pick",), ("trials",), ("explain",), ("repro", "1"), ("resume",), ("rm", "--yes")):
        ended = run(command[0], "quikstart", *command[1:])
        assert (ended.code, ended.out) == (3, "")
        assert "did you mean 'quickstart'" in ended.err


def test_a_study_that_cannot_be_forked_is_refused_before_anything_is_run(store: Store, run: Run) -> None:
    given.study(store, "empty")
    for origin, code, said in (("quikstart", 3, "did you mean 'quickstart'"), ("empty", 2, "has judged nothing yet")):
        ended = run("run", "quickstart", "--name", "other", "--fork", origin)
        assert (ended.code, ended.out) == (code, "")
        assert said in ended.err


@pytest.mark.expectation(31)
def test_what_cannot_be_judged_again_is_refused_in_words(store: Store, run: Run) -> None:
    ended = run("repro", "quickstart", "99")
    assert (ended.code, ended.out) == (3, "")
    assert "there is no candidate 99 in this study" in ended.err
    with store.lease("quickstart") as lease:
        store.propose(lease, Proposal(18, {}), given.policy(4, 4, bits=4))
    ended = run("repro", "quickstart", "18")
    assert (ended.code, ended.out) == (3, "")
    assert "candidate 18 of 'quickstart' was not judged yet" in ended.err
    given.study(store, "there")
    with store.lease("there") as lease:
        store.set_fact(lease, "retargeted", {"from": "quickstart"})
        records = store.records("quickstart")[1:3]
        store.adopt(lease, [replace(one, provenance={"adopted": one.candidate.number}) for one in records])
    ended = run("repro", "there", "1")
    assert (ended.code, ended.out) == (2, "")
    assert "was judged by study 'quickstart', as its candidate 1; judge it there" in ended.err


def test_without_a_database_nothing_is_made(run: Run, folder: Path) -> None:
    ended = run("list")
    assert ended.code == 3
    assert "there is no study database" in ended.err
    assert list(folder.iterdir()) == []


def test_another_database_is_named_by_option_or_variable(
    run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store.open(str(folder / "other.db")) as store:
        given.study(store, "elsewhere")
    assert "elsewhere" in run("list", "--storage", "other.db").out
    monkeypatch.setenv("AUTOCOMPRESS_STORAGE", "other.db")
    assert "elsewhere" in run("list").out


@pytest.mark.parametrize(
    "command",
    [
        "pareto quickstart",
        "pick quickstart",
        "trials quickstart",
        "show quickstart 2",
        "compare quickstart 1 2",
        "studies",
        "devices",
        "spaces",
        "devices xeon-2core",
    ],
)
def test_a_table_fits_the_columns_that_it_is_given_when_piped(
    store: Store, run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """And nothing is cut but the names of models in a list of candidates."""
    monkeypatch.setenv("COLUMNS", "80")
    ended = run(*command.split())
    assert ended.code == 0
    assert max(len(line) for line in ended.out.splitlines()) <= 80
    assert ("…" in ended.out.partition("sha256")[0]) == (command == "trials quickstart")


@pytest.mark.parametrize(
    ("option", "file", "said"),
    [
        ("--png", "x.jpg", "x.jpg: a PNG is written, not a jpg file; name it x.png"),
        ("--png", "x.html", "x.html: a PNG is written, not a html file; name it x.png"),
        ("--html", "x.png", "x.png: an HTML page is written, not a png file; name it x.html"),
        ("--html", "x.pdf", "x.pdf: an HTML page is written, not a pdf file; name it x.html"),
    ],
)
def test_a_file_is_what_its_suffix_says_or_is_refused(
    store: Store, run: Run, folder: Path, option: str, file: str, said: str
) -> None:
    ended = run("pareto", "quickstart", option, file)
    assert ended.code == 2
    assert said in ended.err
    assert not (folder / file).exists()


@pytest.mark.expectation(19)
def test_the_baseline_is_called_so(store: Store, run: Run) -> None:
    ended = run("show", "quickstart", "0")
    assert "the baseline, the uncompressed model" in ended.out
    assert "rejected" not in ended.out
    assert json.loads(run("show", "quickstart", "0", "--json").out)["finalist"]["state"] == "baseline"
    assert "accuracy drop" in run("show", "quickstart", "2").out
