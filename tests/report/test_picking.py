"""Picking one member: bounds, rules, and what is said about the choice."""

from __future__ import annotations

import json
import math

import pytest

from autocompress.core.outcome import Measurement, Measurements, Source
from autocompress.errors import NotFoundError, SpecError
from autocompress.report import PickBounds, pick
from autocompress.store import Store

from . import given


@pytest.mark.expectation(22)
def test_without_a_rule_the_knee_is_picked(store: Store) -> None:
    assert pick(store, "quickstart").member.number == 2
    assert pick(store, "quickstart", knee=True).member.knee


@pytest.mark.expectation(22)
def test_the_fastest_within_a_quality_drop_is_picked_and_explained(store: Store) -> None:
    picked = pick(store, "quickstart", bounds=PickBounds(max_quality_drop=0.01), minimize="latency_ms")
    assert picked.member.number == 3
    assert "lowest latency of the 3 of 4 verified finalists with accuracy drop <= 0.01" in picked.why
    runner_up = store.record("quickstart", 2).candidate.digest[:8]
    assert f"The runner-up is {runner_up} with 2.31 ms." in picked.why


@pytest.mark.parametrize("written", [0.01, "0.01", "1%", "1 pt", "+1.0pts", "1pp"])
def test_one_point_may_be_written_in_every_way(store: Store, written: float | str) -> None:
    picked = pick(store, "quickstart", bounds=PickBounds(max_quality_drop=written), minimize="latency_ms")
    assert picked.member.number == 3
    assert "with accuracy drop <= 0.01" in picked.why


def test_a_quality_may_be_written_in_hundredths(store: Store) -> None:
    assert pick(store, "quickstart", bounds=PickBounds(min_quality="96%")).member.number == 1
    assert PickBounds(max_quality_drop="100%").of("accuracy").drop == 1.0
    assert PickBounds(max_quality_drop="-0.5%").of("accuracy").drop == -0.005


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (1, r"--max-quality-drop: is 1 a share or hundredths\? write `1%` \(or 0.01\) for 1 of 100, `100%` for all"),
        ("1.0", r"is 1.0 a share or hundredths\? write `1%`"),
        ("2.5", r"write `2.5%` \(or 0.025\) for 2.5 of 100$"),
        (-1, "is -1 a share"),
        (950, r"must be a share of at most 1 \(0.95\) or 100 hundredths \(`95%`\), got 950"),
        ("950%", "must be at most 100 %, got 950%"),
        ("1 percent", "must be a share such as 0.01, or hundredths such as `1%` or `1pt`, got '1 percent'"),
        ("1e999", "must be a share"),
        (math.nan, "must be a share"),
        ("", "must be a share"),
    ],
)
def test_a_share_that_may_be_a_percentage_is_asked_about(written: float | str, said: str) -> None:
    with pytest.raises(SpecError, match=said):
        PickBounds(max_quality_drop=written).of("accuracy")


def test_a_bound_is_in_the_unit_of_the_studys_metric() -> None:
    assert PickBounds(max_quality_drop=2.5, min_quality=-40).of("-rmse").drop == 2.5
    assert PickBounds(max_quality_drop="1pt").of("spearman").drop == 0.01
    with pytest.raises(SpecError, match="--max-quality-drop: must be a number in the metric's own unit, .* got '1%'"):
        PickBounds(max_quality_drop="1%").of("-rmse")


def test_what_the_texts_cannot_rule_out_is_said(store: Store) -> None:
    """The picked one is 0.74 points below its baseline, give or take 1.5."""
    picked = pick(store, "quickstart", bounds=PickBounds(max_quality_drop=0.01), minimize="latency_ms")
    assert picked.why.endswith(
        "The validation texts cannot rule out a drop of up to 0.022 (95 %); with `--sure` they must."
    )
    for bounds in (PickBounds(max_quality_drop=0.03), PickBounds()):
        assert "rule out" not in pick(store, "quickstart", bounds=bounds, maximize="quality").why


def test_a_drop_within_its_bound_for_sure_is_one_whose_interval_is(store: Store) -> None:
    """Intervals reach 1.5 points further than the drops: -0.2, 0.4, 0.7 and 2.0 points."""

    def picked(bound: float) -> str:
        bounds = PickBounds(max_quality_drop=bound, sure=True)
        found = pick(store, "quickstart", bounds=bounds, minimize="latency_ms")
        assert "rule out" not in found.why
        return f"{found.member.number}: {found.why}"

    assert picked(0.0225).startswith("3: ")
    assert picked(0.0135).startswith("1: ")
    assert "with accuracy drop (95 % sure) <= 0.0135" in picked(0.0135)
    with pytest.raises(NotFoundError, match=r"with accuracy drop \(95 % sure\) 0\.0132 where <= 0\.01 was asked"):
        picked(0.01)
    with pytest.raises(SpecError, match="--sure: of which drop"):
        PickBounds(sure=True)


def test_a_study_of_before_paired_intervals_cannot_be_sure(empty: Store) -> None:
    given.study(empty)
    with empty.lease("quickstart") as lease:
        given.search(empty, lease)
        given.finish(empty, lease, paired=False)
    with pytest.raises(NotFoundError, match="kept no paired intervals of its drops"):
        pick(empty, "quickstart", bounds=PickBounds(max_quality_drop=0.5, sure=True))
    assert pick(empty, "quickstart", bounds=PickBounds(max_quality_drop=0.5)).member.number == 2


def test_a_tie_with_the_runner_up_is_said(store: Store) -> None:
    assert "tied in accuracy and latency" in pick(store, "quickstart", minimize="latency_ms",
                                                   bounds=PickBounds(min_quality=0.95)).why  # fmt: skip
    assert "tied in accuracy: nothing measured tells them apart" in pick(store, "quickstart", maximize="quality").why


def test_a_drop_of_exactly_the_bound_fits(empty: Store) -> None:
    """0.95 - 0.94 is more than 0.01 in floating point."""
    given.study(empty, "exact")
    with empty.lease("exact") as lease:
        given.search(empty, lease)
        empty.nominate(lease, [1])
        for number, quality in ((0, 0.95), (1, 0.94)):
            empty.conclude(
                lease, number, verified=True, reason="", measurements=given.exported(quality, 0.9, 5.0, 20.0),
                artifacts=[], provenance={},
            )  # fmt: skip
    assert pick(empty, "exact", bounds=PickBounds(max_quality_drop=0.01)).member.number == 1


def test_bounds_are_never_on_the_test_split(store: Store) -> None:
    picked = pick(store, "quickstart", bounds=PickBounds(min_quality=0.96))
    assert picked.member.number == 1, "its test quality is 0.948"
    with pytest.raises(SpecError, match="test split is reported, never selected on"):
        pick(store, "quickstart", maximize="test_quality")


def test_when_nothing_fits_the_nearest_member_and_every_broken_bound_are_named(store: Store) -> None:
    nearest = store.record("quickstart", 4).candidate.digest
    with pytest.raises(NotFoundError) as caught:
        pick(store, "quickstart", bounds=PickBounds(max_latency_ms=0.5, min_quality=0.95, max_size_mb=50))
    said = str(caught.value)
    assert f"the nearest is {nearest}" in said
    assert "latency 1.12 ms where <= 0.5 ms was asked" in said
    assert "accuracy 0.9406 where >= 0.95 was asked" in said
    assert "size" not in said


def test_a_drop_that_nobody_keeps_is_told_as_a_drop(store: Store) -> None:
    with pytest.raises(NotFoundError, match="accuracy drop -0.0018 where <= -0.01 was asked"):
        pick(store, "quickstart", bounds=PickBounds(max_quality_drop=-0.01))


def test_a_named_candidate_is_picked_by_its_number_or_the_beginning_of_its_digest(store: Store) -> None:
    digest = store.record("quickstart", 4).candidate.digest
    assert pick(store, "quickstart", candidate=digest[:6]).digest == digest
    assert pick(store, "quickstart", candidate=4).digest == digest


def test_a_candidate_that_was_not_verified_is_refused_with_its_state(store: Store) -> None:
    rejected, estimate = (store.record("quickstart", number).candidate.digest for number in (5, 6))
    with pytest.raises(NotFoundError, match=r"is rejected \(quality of the exported file"):
        pick(store, "quickstart", candidate=rejected)
    with pytest.raises(NotFoundError, match="was never trained and exported; verified are: "):
        pick(store, "quickstart", candidate=estimate)
    with pytest.raises(NotFoundError, match="is the baseline, the uncompressed model; verified are: "):
        pick(store, "quickstart", candidate=store.record("quickstart", 0).candidate.digest)
    with pytest.raises(NotFoundError, match="has no verified finalist 'zz'"):
        pick(store, "quickstart", candidate="zz")
    for number, said in ((0, "is the baseline"), (5, "is rejected"), (6, "was never trained"), (99, "finalist 99")):
        with pytest.raises(NotFoundError, match=said):
            pick(store, "quickstart", candidate=number)


def test_a_study_without_verified_members_says_where_it_is_and_how_to_go_on(empty: Store) -> None:
    given.study(empty, "young")
    with empty.lease("young") as lease:
        given.search(empty, lease)
        empty.set_state(lease, "interrupted")
    with pytest.raises(NotFoundError, match="it is interrupted, with 18 candidates judged.*autocompress resume young"):
        pick(empty, "young")


def test_a_study_whose_finalists_were_all_rejected_says_why(empty: Store) -> None:
    given.study(empty, "unlucky")
    with empty.lease("unlucky") as lease:
        given.search(empty, lease)
        empty.nominate(lease, [1])
        empty.conclude(lease, 1, verified=False, reason="parity 0.2", measurements=(), artifacts=[], provenance={})
        empty.set_state(lease, "complete")
    with pytest.raises(NotFoundError, match="none of its finalists was verified.*parity 0.2"):
        pick(empty, "unlucky")


def test_two_rules_an_unknown_metric_and_no_number_are_refused(store: Store) -> None:
    with pytest.raises(SpecError, match="give one of --minimize"):
        pick(store, "quickstart", minimize="latency_ms", knee=True)
    with pytest.raises(SpecError, match="did you mean 'latency_ms'"):
        pick(store, "quickstart", minimize="latency")
    with pytest.raises(SpecError, match="--max-latency-ms: must be a finite number"):
        PickBounds(max_latency_ms=math.nan)


def test_a_bound_on_energy_names_how_the_energy_was_come_by(store: Store) -> None:
    picked = pick(store, "quickstart", bounds=PickBounds(max_energy_mj=69), maximize="quality")
    assert picked.member.number == 3, "number 2 is better and takes 69.3 mJ"
    assert "the 2 of 4 verified finalists with energy <= 69 mJ" in picked.why
    assert (
        "lowest energy of the 4 verified finalists: ~33.6 mJ (modelled, 16.8–50.4)"
        in pick(store, "quickstart", minimize="energy_mj").why
    )
    with pytest.raises(NotFoundError, match="with energy 33.6 mJ modelled where <= 9 mJ was asked"):
        pick(store, "quickstart", bounds=PickBounds(max_energy_mj=9))


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        (PickBounds(min_throughput=100), "--min-throughput: throughput is not known of any verified finalist"),
        (PickBounds(max_memory_mib=64), "--max-memory-mib: peak_memory_mib is not known of any verified finalist"),
    ],
)
def test_a_bound_on_what_nobody_looked_at_is_refused(store: Store, bounds: PickBounds, said: str) -> None:
    with pytest.raises(NotFoundError, match=f"{said} .*name it in the objectives or constraints"):
        pick(store, "quickstart", bounds=bounds)


def remembered(source: Source, *, ratio: float = 1.0) -> given.Measured:
    """With a peak memory of so many times the size."""

    def measured(quality: float, test: float, latency_ms: float, size_mb: float) -> Measurements:
        peak = Measurement("peak_memory_mib", ratio * size_mb, "MiB", source)
        return (*given.exported(quality, test, latency_ms, size_mb), peak)

    return measured


def test_a_bound_on_memory_selects_by_what_was_measured(empty: Store) -> None:
    """Number 4 was measured at 30.4 MiB, and the others were counted at a third of what they take."""
    given.finished(empty, measured=remembered("counted", ratio=0.7))
    counted = pick(empty, "quickstart", bounds=PickBounds(max_memory_mib=11), maximize="quality")
    assert counted.member.number == 4
    assert counted.why.endswith(
        "Its peak memory was counted (weights and activations), not measured: a process takes more."
    )
    with empty.lease("quickstart") as lease:
        found = remembered("measured", ratio=2.0)(*given.FINALISTS[3])
        empty.conclude(lease, 4, verified=True, reason="", measurements=found, artifacts=[], provenance={})
    picked = pick(empty, "quickstart", bounds=PickBounds(max_memory_mib=31), maximize="quality")
    assert picked.member.number == 4, "what was only counted is not held against a bound any more"
    assert "counted" not in picked.why
    with pytest.raises(NotFoundError, match="with peak memory 30.4 MiB where <= 11 MiB was asked"):
        pick(empty, "quickstart", bounds=PickBounds(max_memory_mib=11))


def test_a_latency_that_nobody_measured_is_told_as_predicted(empty: Store) -> None:
    given.finished(empty, "elsewhere", measured=given.elsewhere)
    why = pick(empty, "elsewhere", minimize="latency_ms").why
    assert "lowest latency of the 4 verified finalists: ~1.12 ms (predicted, 1.01–1.23)." in why


def test_the_json_is_what_acceptance_asks_for(store: Store) -> None:
    tree = json.loads(json.dumps(pick(store, "quickstart").to_json(), allow_nan=False))
    assert {"digest", "policy", "verified", "metrics", "baseline", "relative", "why"} <= tree.keys()
    assert tree["verified"] is True
    assert all({"value", "unit", "source"} <= metric.keys() for metric in tree["metrics"].values())
    drops = {f"{of}_drop{end}" for of in ("quality", "test_quality", "expected") for end in ("", "_interval")}
    assert tree["relative"].keys() == {"speedup", "size_ratio", *drops}
    assert tree["policy"][0].keys() == {"operator", "target", "settings"}
    assert tree["baseline"]["metrics"]["latency_ms"]["source"] == "measured"
