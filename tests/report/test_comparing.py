"""Two candidates and two studies beside each other: what differs, by how much, how sure that is, and what must not be
compared."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest
from rich.console import Console

from autocompress.core.outcome import Measurement, Measurements
from autocompress.core.policy import BASELINE, CompressionPolicy, Step
from autocompress.errors import NotFoundError, SpecError
from autocompress.report.comparing import as_comparison, compare_candidates, compare_studies
from autocompress.report.comparing.deltas import Rated, deltas
from autocompress.report.comparing.policies import policy_difference
from autocompress.report.ties import PAIRS_FACT
from autocompress.store import Store

from . import given
from .test_expectation import LOST_AND_WON, keep, scores

EPYC = {"name": "host", "fingerprint": {"cpu": "AMD EPYC", "cores": "2", "isa": "avx2"}}


def printed(found: Any, width: int = 80) -> str:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the console
    console.print(as_comparison(found))
    console.file.close()
    return console.export_text()


def rated(number: int, low: float, value: float, high: float, metric: str = "quality") -> Rated:
    return Rated(number, {metric: Measurement(metric, value, "accuracy", "measured", (low, high))})


def set_facts(store: Store, name: str, facts: Mapping[str, Any]) -> None:
    with store.lease(name) as lease:
        for key, value in facts.items():
            store.set_fact(lease, key, value)


def test_layers_that_differ_alike_are_one_row_and_equal_ones_none() -> None:
    found = policy_difference(given.policy(6, 11), given.policy(5, 10), given.SHAPE)
    assert [(row.part, row.a, row.b) for row in found.differing] == [
        ("layers.0 to 4", "heads 11 of 12, ffn 1536, int8", "heads 10 of 12, ffn 1536, int8"),
        ("layers.5", "heads 11 of 12, ffn 1536, int8", "removed"),
    ]
    assert [row.part for row in found.parts if not row.differs] == ["embeddings"]
    assert found.unseen == []


def test_steps_that_no_part_shows_are_told_with_their_settings() -> None:
    by_magnitude = tuple(
        dataclasses.replace(step, settings={**step.settings, "importance": "magnitude"})
        if step.operator == "prune_heads"
        else step
        for step in given.policy(5, 10).steps
    )
    other = CompressionPolicy((*by_magnitude, Step("distill", "*", {"temperature": 4.0})))
    found = policy_difference(given.policy(5, 10), other, given.SHAPE)
    assert found.differing == []
    assert found.unseen == [
        "prune_heads at layers.0.attention, layers.1.attention, layers.2.attention and 2 more: "
        "importance fisher -> magnitude",
        "distill: added (temperature 4.0)",
    ]


def test_without_a_shape_steps_alone_are_compared() -> None:
    found = policy_difference(BASELINE, CompressionPolicy((Step("narrow", "hidden.0", {"width": 8}),)), None)
    assert found.parts == ()
    assert found.unseen == ["narrow at hidden.0: added (width 8)"]


def test_a_pair_that_was_kept_is_read_either_way_round() -> None:
    facts = {PAIRS_FACT: {"quality": {"1-2": [0.01, 0.002, 0.018]}, "latency_ms": {"1-2": [1.0, 0.6, 1.5]}}}
    one, two = rated(1, 0.90, 0.95, 0.99), rated(2, 0.88, 0.94, 0.98)
    (forth,), (back,) = deltas(one, two, facts), deltas(two, one, facts)
    assert forth.interval == (-0.018, -0.002)
    assert back.interval == (0.002, 0.018)
    assert (forth.how, forth.told_apart) == ("paired", True)
    slow, fast = rated(1, 3.9, 4.0, 4.1, "latency_ms"), rated(2, 1.9, 2.0, 2.1, "latency_ms")
    (faster,), (slower,) = deltas(slow, fast, facts), deltas(fast, slow, facts)
    assert faster.interval == pytest.approx((1 / 2.5, 1 / 1.6))
    assert slower.interval == pytest.approx((1.6, 2.5))


def test_two_intervals_make_one_of_their_difference_that_is_wider_than_either() -> None:
    """MOVER: of normal values the root of the summed squares."""
    (found,) = deltas(rated(1, 0.87, 0.90, 0.93), rated(2, 0.90, 0.94, 0.98))
    assert found.how == "two intervals"
    assert found.interval == pytest.approx((0.04 - 0.05, 0.04 + 0.05))
    assert found.told_apart is False
    (times,) = deltas(rated(1, 4.0, 5.0, 6.25, "latency_ms"), rated(2, 2.0, 2.5, 3.125, "latency_ms"))
    assert times.ratio == 0.5
    assert times.interval == pytest.approx((0.5 / 1.25**2**0.5, 0.5 * 1.25**2**0.5))


@pytest.mark.expectation(24, 29)
def test_answers_to_single_rows_pair_what_nothing_else_does(store: Store) -> None:
    apart = {one.metric: one for one in compare_candidates(store, "quickstart", 3, 4).deltas}
    assert apart["test_quality"].how == "two intervals"
    keep(store, "quickstart", {number: scores(number) for number in LOST_AND_WON})
    paired = {one.metric: one for one in compare_candidates(store, "quickstart", 3, 4).deltas}
    assert paired["test_quality"].how == "paired"
    widths = [one["test_quality"].interval for one in (apart, paired)]
    assert all(widths)
    wide, narrow = (ends[1] - ends[0] for ends in widths if ends)
    assert narrow < wide


def test_beside_the_baseline_drops_are_paired_in_both_directions(store: Store) -> None:
    forth = {one.metric: one for one in compare_candidates(store, "quickstart", 0, 2).deltas}
    back = {one.metric: one for one in compare_candidates(store, "quickstart", 2, 0).deltas}
    drop = given.BASELINE[0] - given.FINALISTS[1][0]
    assert forth["quality"].how == "paired"
    assert forth["quality"].interval == pytest.approx((-drop - 0.015, -drop + 0.015))
    assert back["quality"].interval == pytest.approx((drop - 0.015, drop + 0.015))
    assert forth["latency_ms"].ratio == pytest.approx(2.31 / 14.06)


def test_one_that_was_never_exported_is_compared_as_the_search_knew_both(store: Store) -> None:
    found = compare_candidates(store, "quickstart", 2, 6)
    assert found.by == "searched"
    assert "There is no exported file of" in found.notes[0]
    by_name = {one.metric: one for one in found.deltas}
    assert by_name["latency_ms"].a is not None
    assert by_name["latency_ms"].a.source == "predicted"
    assert by_name["latency_ms"].interval is None  # what a profile is off by is shared by both


def test_what_became_of_a_candidate_is_told(store: Store) -> None:
    notes = compare_candidates(store, "quickstart", 16, 17).notes
    assert "is infeasible: it breaks size_mb <= 60" in notes[0]
    assert "is failed: score: RuntimeError:" in notes[1]
    assert (
        "is rejected: quality of the exported file is 4.1 points below"
        in (compare_candidates(store, "quickstart", 1, 5).notes[0])
    )


def test_a_candidate_is_not_compared_with_itself_nor_with_nobody(store: Store) -> None:
    digest = store.record("quickstart", 2).candidate.digest
    with pytest.raises(SpecError, match=f"2 and {digest[:6]} are the same candidate, {digest}; name two"):
        compare_candidates(store, "quickstart", 2, digest[:6])
    with pytest.raises(NotFoundError, match="99"):
        compare_candidates(store, "quickstart", 2, 99)


def test_a_comparison_of_candidates_reads_at_80_columns(store: Store) -> None:
    keep(store, "quickstart", {number: scores(number) for number in LOST_AND_WON})
    shown = printed(compare_candidates(store, "quickstart", 1, 2))
    assert max(map(len, shown.splitlines())) <= 80
    assert "layers.0 to 4" in shown
    assert "accuracy, unseen" in shown
    assert "95 % intervals of accuracy and test accuracy are paired" in shown
    assert "Nothing measured tells the two apart in accuracy" in shown
    assert "−56 %" in shown
    assert "1 more part is the same in both." in shown


def faster(quality: float, test: float, latency_ms: float, size_mb: float) -> Measurements:
    return given.exported(quality, test, 0.5 * latency_ms, size_mb)


@pytest.mark.expectation(24)
def test_two_studies_share_one_reference_point(store: Store) -> None:
    given.finished(store, "other", measured=faster)
    set_facts(store, "other", {"reference_point": {"quality": 0.1, "latency_ms": 30.0, "size_mb": 90.0}})
    found = compare_studies(store, "quickstart", "other")
    assert found.reference == {"quality": 0.0, "latency_ms": 30.0, "size_mb": 100.0}
    assert found.b.volume > found.a.volume > 0
    assert (len(found.a.beaten), len(found.b.beaten)) == (4, 0)
    assert found.a.picked is not None
    assert found.a.picked.member.number == 3
    latency = next(one for one in found.deltas if one.metric == "latency_ms")
    assert latency.ratio == pytest.approx(0.5)


def test_without_reference_points_the_worst_of_both_fronts_is_one(store: Store) -> None:
    given.finished(store, "other", measured=faster)
    for name in ("quickstart", "other"):
        set_facts(store, name, {"reference_point": {}})
    found = compare_studies(store, "quickstart", "other")
    assert found.reference == {"quality": 0.9406, "latency_ms": 14.06, "size_mb": 90.9}


def test_what_was_asked_otherwise_and_of_which_files_is_told(store: Store) -> None:
    given.finished(store, "other", constraints={"latency_ms": {"max": 8.0}})
    found = compare_studies(store, "quickstart", "other")
    assert found.specs == ("constraints.latency_ms: {max: 8.0} added",)
    assert found.inputs == ()
    assert "constraints.latency_ms: {max: 8.0} added" in printed(found)


def test_numbers_that_must_not_be_held_against_each_other_are_named(store: Store) -> None:
    given.finished(store, "other")
    set_facts(store, "other", {"device": EPYC, "environment": {"runtimes": {"onnxruntime": "1.20"}}})
    set_facts(store, "quickstart", {"environment": {"runtimes": {"onnxruntime": "1.22"}}, "workload": {"batch": 1}})
    said = " ".join(compare_studies(store, "quickstart", "other").warnings)
    assert "the processors differ (quickstart: Xeon <b>8488C</b>, 2 cores (avx512_vnni); other: AMD EPYC, 2" in said
    assert "the runtimes differ: onnxruntime 1.22 and 1.20" in said
    assert "the workloads differ" in said
    assert "the held-out rows are not known to be the same" in said
    shown = printed(compare_studies(store, "quickstart", "other"))
    assert "Warning: the processors differ" in shown
    assert max(map(len, shown.splitlines())) <= 80


def test_the_same_rows_pair_the_picks_of_two_studies(store: Store) -> None:
    for name in ("first", "second"):
        resolved = {"name": name, "task": {"kind": "text-classification"}, "seed": 0}
        store.create_study(
            name, given=resolved, resolved=resolved, fingerprint={"data": "00"}, objectives=given.OBJECTIVES
        )
        with store.lease(name) as lease:
            given.search(store, lease)
            given.finish(store, lease)
        keep(store, name, {number: scores(number) for number in LOST_AND_WON})
    found = compare_studies(store, "first", "second")
    assert {one.metric: one.how for one in found.deltas}["quality"] == "paired"
    assert found.specs == ()
    assert not [line for line in found.warnings if "held-out rows" in line]
    assert "It keeps the bound with 96 %." in printed(found, width=200)


def test_studies_that_cannot_be_compared_say_why(store: Store) -> None:
    given.study(store, "begun")
    with pytest.raises(NotFoundError, match="study 'begun' is created and has no verified front to compare yet; go on"):
        compare_studies(store, "quickstart", "begun")
    with pytest.raises(SpecError, match="'quickstart' is one study; name two, or two of its candidates"):
        compare_studies(store, "quickstart", "quickstart")
    given.finished(store, "small", objectives={"size_mb": "minimize", "energy_mj": "minimize"})
    with pytest.raises(SpecError, match=r"'small' has size_mb and energy_mj; fronts are compared in at least two"):
        compare_studies(store, "quickstart", "small")


def test_qualities_by_two_metrics_are_not_compared(store: Store) -> None:
    def by_f1(*numbers: float) -> Measurements:
        found = given.exported(*numbers)
        return tuple(dataclasses.replace(one, unit="macro-f1") if "quality" in one.metric else one for one in found)

    given.finished(store, "f1", measured=by_f1)
    with pytest.raises(SpecError, match="is scored by accuracy, 'f1' by macro-f1: qualities by two metrics"):
        compare_studies(store, "quickstart", "f1")


def test_a_study_of_another_database_is_compared(store: Store, tmp_path: Any) -> None:
    with Store.open(str(tmp_path / "other.db")) as other:
        given.finished(other, measured=faster)
        found = compare_studies(store, "quickstart", "quickstart", other=other)
    assert found.b.volume > found.a.volume


def test_where_nothing_keeps_a_bound_the_reason_stands_in_its_place(store: Store) -> None:
    given.finished(store, "other")
    found = compare_studies(store, "quickstart", "other", max_quality_drop=-0.5)
    assert found.a.picked is None
    assert "none of the 4 verified finalists" in found.a.why_none
    assert found.deltas == ()
    assert "none: none of the 4" in printed(found, width=200)


def test_a_comparison_is_json_with_a_version(store: Store) -> None:
    given.finished(store, "other")
    for found in (compare_candidates(store, "quickstart", 1, 2), compare_studies(store, "quickstart", "other")):
        tree = json.loads(json.dumps(found.to_json(), allow_nan=False))
        assert tree["schema"] == "autocompress.comparison/1"
        assert tree["metrics"]["quality"]["interval_of"] == "difference"
    assert "<pre" in found._repr_html_()
