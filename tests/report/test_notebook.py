"""How results show themselves in a notebook."""

from __future__ import annotations

import html
import re
from dataclasses import replace

import pytest

from autocompress.report import front_report, pick
from autocompress.report.html import page
from autocompress.store import Store
from autocompress.study.study import Study


def test_a_study_is_a_table_with_a_row_for_each_candidate(store: Store) -> None:
    study = Study(store, "quickstart")
    table, records = study.to_pandas(), study.records()
    assert list(table.index) == [record.candidate.number for record in records]
    assert set(table["state"]) == {"evaluated", "infeasible", "failed"}
    finalist = next(one for one in store.finalists("quickstart") if one.position == 1)
    row = table.loc[finalist.candidate.number]
    known = {one.metric: one.value for one in finalist.measurements}
    assert row["file.latency_ms"] == known["latency_ms"]
    assert row["file"] == "verified"
    assert "layers" in row["model"]
    assert table.loc[table["state"] == "infeasible", "why"].tolist() == ["size_mb <= 60"]


@pytest.mark.expectation(33)
def test_the_best_is_what_pick_takes_by_itself(store: Store) -> None:
    study = Study(store, "quickstart")
    assert study.best is not None
    assert study.best.digest == study.pick().digest


def test_a_front_shows_itself_as_its_page_in_a_frame_that_runs_nothing(store: Store) -> None:
    report = front_report(store, "quickstart")
    shown = report._repr_html_()
    frame = re.fullmatch(r'<iframe title="[^"]*" sandbox srcdoc="([^"]*)" style="[^"]*"></iframe>', shown)
    assert frame is not None
    assert html.unescape(frame.group(1)) == page(report)
    assert Study(store, "quickstart")._repr_html_() == shown


def test_a_picked_model_shows_itself_as_it_is_printed(store: Store) -> None:
    picked = pick(store, "quickstart")
    shown = picked._repr_html_()
    assert shown.startswith("<pre")
    assert picked.digest in shown
    assert "faster" in shown


def test_what_a_pick_changes_is_shown_however_wide_its_values_are(store: Store) -> None:
    picked = pick(store, "quickstart")
    latency = picked.member.metrics["latency_ms"]
    wide = replace(latency, value=12_345.678, interval=(10_234.567, 14_345.678), source="predicted")
    metrics = {**picked.member.metrics, "latency_ms": wide, "energy_mj": replace(wide, metric="energy_mj", unit="mJ")}
    known = replace(picked.baseline, metrics={**picked.baseline.metrics, "latency_ms": wide})
    shown = replace(picked, member=replace(picked.member, metrics=metrics), baseline=known)._repr_html_()
    told = html.unescape(re.sub("<[^>]+>", "", shown))
    assert re.search(r"picked +baseline +change", told)
    assert re.search(r"latency +~12,346 ms +~12,346 ms +\S+ faster", told), "intervals stand below"
