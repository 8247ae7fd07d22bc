"""The front as a value: what is in it, in which order, compared with what."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from autocompress.core.outcome import Evaluated, Measurement, Measurements
from autocompress.core.pareto import hypervolume
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.trust import TRUST_FACT
from autocompress.errors import NotFoundError
from autocompress.report import FrontReport, Tie, front_report
from autocompress.report.notes import in_words, notes
from autocompress.report.prediction import PACE, Pace, common_pace, compare
from autocompress.report.ties import PAIRS_FACT
from autocompress.store import Store

from . import given


def test_verified_members_come_first_by_cost_and_estimates_after_them(store: Store) -> None:
    report = front_report(store, "quickstart")
    assert [member.number for member in report.verified] == [4, 3, 2, 1]
    assert [member.verified for member in report.members] == [True] * 4 + [False] * len(report.estimates)
    costs = [member.metrics["latency_ms"].value for member in report.estimates]
    assert costs == sorted(costs)


def test_a_rejected_finalist_is_shown_as_such_with_its_reason(store: Store) -> None:
    (rejected,) = (member for member in front_report(store, "quickstart").members if member.state == "rejected")
    assert (rejected.number, rejected.verified) == (5, False)
    assert "4.1 points below" in rejected.reason


def test_verified_members_are_compared_with_the_measured_baseline(store: Store) -> None:
    report = front_report(store, "quickstart")
    assert report.baseline is not None
    assert report.baseline.measured
    member = next(member for member in report.members if member.number == 2)
    quality, test, latency, size = given.FINALISTS[1]
    assert member.relative.speedup == pytest.approx(given.BASELINE[2] / latency)
    assert member.relative.quality_drop == pytest.approx(given.BASELINE[0] - quality)
    assert member.relative.test_quality_drop == pytest.approx(given.BASELINE[1] - test)
    low, high = member.relative.quality_drop_interval or (0.0, 0.0)
    assert (low + high) / 2 == pytest.approx(member.relative.quality_drop)
    assert not {"quality_drop", "test_quality_drop"} & member.metrics.keys(), "it is told once"
    assert member.relative.size_ratio == pytest.approx(size / given.BASELINE[3])


def test_estimates_and_verified_members_are_compared_with_one_baseline(store: Store) -> None:
    """The stock export: a faster estimate says that it is faster."""
    report = front_report(store, "quickstart")
    assert report.baseline is not None
    everyone = sorted(report.members, key=lambda one: one.metrics["latency_ms"].value)
    speedups = [one.relative.speedup or 0.0 for one in everyone]
    assert speedups == sorted(speedups, reverse=True)
    for one in everyone:
        assert one.relative.speedup == pytest.approx(given.BASELINE[2] / one.metrics["latency_ms"].value)
    assert report.estimates[0].relative.test_quality_drop is None


def test_predictions_are_read_at_the_pace_that_a_reference_model_told(empty: Store) -> None:
    """The machine takes 1.4 times as long as when it was profiled, which the reference beside the finalists showed."""
    given.finished(empty, measured=slower, provenance={PACE: 1.4})
    report = front_report(empty, "quickstart")
    assert report.pace == Pace(1.4, "reference")
    assert report.prediction is not None
    assert report.prediction.mape == pytest.approx(0.05), "what is left is the profile's own error"
    member = next(one for one in report.verified if one.number == 2)
    assert member.predicted is not None
    assert member.predicted.value == pytest.approx(1.4 * 1.05 * 2.31)
    estimate = next(one for one in report.estimates if one.number == 6)
    known = estimate.metrics["latency_ms"]
    assert known.value == pytest.approx(1.4 * 0.66)
    assert known.interval == pytest.approx((1.4 * 0.9 * 0.66, 1.4 * 1.1 * 0.66))
    assert estimate.relative.speedup == pytest.approx(1.4 * given.BASELINE[2] / known.value)
    assert report.to_json()["pace"] == {"value": 1.4, "told_by": "reference"}


def test_a_study_of_before_reference_models_tells_a_pace_by_its_finalists(empty: Store) -> None:
    given.finished(empty, measured=slower)
    report = front_report(empty, "quickstart")
    assert report.pace == Pace(pytest.approx(1.4 / 1.05), "finalists")
    assert report.prediction is not None
    assert report.prediction.mape == pytest.approx(0.0)


def test_a_factor_is_no_pace_of_one_model_of_several_factors_or_of_little() -> None:
    assert common_pace(pairs((1, 2))) is None
    assert common_pace(pairs((1, 2), (1, 3))) is None
    assert common_pace(pairs((1, 1.05), (2, 2.1))) is None
    assert common_pace(pairs((1, 1.5), (2, 3.1), (4, 5.9))) == Pace(1.5, "finalists")
    rate = Measurement("throughput", 300.0, "1/s", "predicted", (270.0, 330.0))
    assert Pace(1.5, "finalists").of(rate) == replace(rate, value=200.0, interval=(180.0, 220.0))


def slower(quality: float, test: float, ms: float, mb: float) -> Measurements:
    return given.exported(quality, test, 1.4 * ms, mb)


def test_one_verified_member_is_the_knee(store: Store) -> None:
    assert [member.number for member in front_report(store, "quickstart").members if member.knee] == [2]


def test_without_paired_intervals_those_that_meet_the_best_ones_are_ties(store: Store) -> None:
    """A study of before. In the order of the table: 4, 3, 2, 1."""
    found = front_report(store, "quickstart").ties
    assert found == (Tie("quality", 1, (4, 3, 2, 1), paired=False),)


@pytest.mark.expectation(29)
def test_ties_are_told_by_paired_intervals_against_the_best_in_the_order_of_the_table(store: Store) -> None:
    """Number 1 is the best in accuracy and 4 the fastest; intervals of the values would tie all four in accuracy."""
    quality = {"1-2": [-0.006, -0.01, 0.001], "1-3": [-0.009, -0.02, -0.002], "1-4": [-0.02, -0.03, -0.01]}
    latency = {"2-4": [1.06, 0.9, 1.2], "3-4": [0.0, -0.01, 0.01]}
    with store.lease("quickstart") as lease:
        store.set_fact(lease, PAIRS_FACT, {"quality": quality, "latency_ms": latency})
    report = front_report(store, "quickstart")
    assert report.ties == (Tie("quality", 1, (2, 1), True), Tie("latency_ms", 4, (4, 3), True))
    digests = {member.number: member.digest[:8] for member in report.members}
    assert (
        f"Tied with {digests[1]}, the best in accuracy, as 95 % intervals of their differences hold 0: {digests[2]}."
    ) in notes(report)
    assert report.to_json()["ties"][0] == {"metric": "quality", "best": 1, "numbers": (2, 1), "paired": True}
    json.dumps(report.to_json())


def test_of_zeros_is_said_that_they_are_not_faster(store: Store) -> None:
    report = front_report(store, "quickstart")
    first, *others = report.members
    policy = CompressionPolicy((*first.policy.steps, Step("prune_weights", "layers.0", {"pattern": "2:4"})))
    sparse = replace(report, members=(replace(first, policy=policy), *others))
    told = [line for line in notes(sparse) if line not in notes(report)]
    assert told == [
        "Zeros are not stored, but put back as a file is loaded and computed like other weights: they make it smaller, "
        "and are not faster here."
    ]


@pytest.mark.parametrize(("target", "bits", "said"), [("layers.0", 4, 1), ("embeddings", 2, 1), ("embeddings", 4, 0)])
def test_of_fewer_bits_than_are_computed_in_is_said_that_they_are_not_faster(
    store: Store, target: str, bits: int, said: int
) -> None:
    report = front_report(store, "quickstart")
    first, *others = report.members
    policy = CompressionPolicy((Step("quantize", target, {"bits": bits}),))
    small = replace(report, members=(replace(first, policy=policy), *others))
    assert sum("Fewer bits than 8 are unpacked" in line for line in notes(small)) == said


def test_predictions_of_the_search_are_compared_with_what_was_measured(store: Store) -> None:
    """The search counted on 5 % more than each of the four verified models takes."""
    report = front_report(store, "quickstart")
    assert report.prediction is not None
    assert (report.prediction.n, report.prediction.outside_interval) == (4, 0)
    for figure in (report.prediction.mape, report.prediction.bias, report.prediction.worst):
        assert figure == pytest.approx(0.05)
    assert report.prediction.spearman == pytest.approx(1.0)
    assert not report.prediction.is_far
    tree = report.to_json()
    assert {"n", "mape", "bias", "spearman", "worst", "outside_interval"} <= tree["prediction"].keys()
    first = tree["members"][0]
    assert first["predicted"]["latency_ms"]["source"] == "predicted"
    assert first["predicted"]["latency_ms"]["value"] == pytest.approx(1.05 * first["metrics"]["latency_ms"]["value"])
    assert "predicted" not in tree["members"][-1], "an estimate is nothing but predicted"


def test_models_that_nobody_timed_say_nothing_of_predictions(empty: Store) -> None:
    given.finished(empty, "elsewhere", measured=given.elsewhere)
    report = front_report(empty, "elsewhere")
    assert report.prediction is None
    assert report.to_json()["prediction"] is None
    assert report.verified[0].metrics["latency_ms"].source == "predicted"


def pairs(*milliseconds: tuple[float, float]) -> list[tuple[Measurement, Measurement]]:
    """Of predicted and measured latencies, predictions held for sure to a tenth."""
    return [(given.predicted(a), Measurement("latency_ms", b, "ms", "measured")) for a, b in milliseconds]


def test_a_profile_is_far_off_by_the_median_of_enough_models() -> None:
    """One wild model of four is no fault of the profile, nor are two disturbed ones; narrow intervals are told."""
    wild, biased, narrow, few = (
        compare(pairs(*found))
        for found in (
            [(1, 1), (2, 2.02), (3, 3), (4, 9)],
            [(1, 1.2), (2, 2.4), (3, 3.6)],
            [(1, 1.105), (2, 2.21), (3, 3.3)],
            [(1, 1.5), (2, 3)],
        )
    )
    assert wild is not None
    assert (wild.outside_interval, wild.is_far) == (1, False)
    assert biased is not None
    assert biased.is_far
    assert biased.bias == pytest.approx(-1 / 6)
    assert narrow is not None
    assert narrow.median < 0.10
    assert (narrow.outside_interval, narrow.is_far) == (2, False)
    assert in_words(narrow).endswith("rank correlation 1.00, 2 outside of their intervals.")
    assert few is not None
    assert not few.is_far


def test_ranks_are_compared_from_three_models_on_and_ties_share_theirs() -> None:
    def rank(*milliseconds: tuple[float, float]) -> float | None:
        found = compare(pairs(*milliseconds))
        assert found is not None
        return found.spearman

    assert rank((1, 1), (2, 2)) is None
    assert rank((1, 5), (1, 6), (1, 7)) is None
    assert rank((1, 3), (2, 2), (3, 1)) == pytest.approx(-1.0)
    assert rank((1, 1), (1, 2), (2, 3)) == pytest.approx(0.8660254), "scipy.stats.spearmanr"
    assert compare([]) is None


def test_what_a_study_decided_by_the_order_of_its_first_finalists_is_told(store: Store) -> None:
    before = front_report(store, "quickstart")
    assert before.to_json()["promotion"] is None
    assert not [line for line in notes(before) if "Search scores" in line]
    known = {"n": 4, "gain": 0.02, "tau": 0.2, "regret": 0.01}

    def after(**changes: object) -> tuple[FrontReport, list[str]]:
        with store.lease("quickstart") as lease:
            store.set_fact(lease, TRUST_FACT, {**known, **changes})
        report = front_report(store, "quickstart")
        return report, [line for line in notes(report) if "Search scores" in line]

    report, told = after(promoted=[4])
    assert report.to_json()["promotion"] == {**known, "promoted": [4]}
    assert told == ["Search scores ranked the first 4 finalists badly (Kendall's tau 0.20): 1 more was trained."]
    assert report.trust == before.trust, "that is read from the files of all"
    assert after(promoted=[4, 5], tau=None)[1] == [
        "Search scores ranked the first 4 finalists badly (no order to compare): 2 more were trained."
    ]
    assert after(promoted=[])[1] == []


def test_a_model_that_is_only_rounded_says_nothing_of_what_training_adds(empty: Store) -> None:
    given.study(empty)
    with empty.lease("quickstart") as lease:
        given.search(empty, lease)
        rounded = given.policy(6, 12)
        given.propose(empty, lease, 18, rounded, Evaluated(given.searched(0.955, 4.0, 24.0)))
        given.finish(empty, lease)
        trained = front_report(empty, "quickstart").trust
        empty.nominate(lease, [18])
        found = given.exported(0.955, 0.95, 4.0, 24.0)
        empty.conclude(lease, 18, verified=True, reason="", measurements=found, artifacts=[], provenance={})
    report = front_report(empty, "quickstart")
    (whole,) = (member for member in report.verified if member.number == 18)
    assert whole.untrained is None
    assert trained is not None
    assert report.trust == trained


def test_the_hypervolume_is_that_of_the_verified_front(store: Store) -> None:
    volume = front_report(store, "quickstart").hypervolume
    points = [(-quality, latency, size) for quality, _, latency, size in given.FINALISTS[:4]]
    assert volume.verified == pytest.approx(hypervolume(points, (0.0, 20.0, 100.0)))
    assert volume.reference == {"quality": 0.0, "latency_ms": 20.0, "size_mb": 100.0}


def test_a_policy_is_told_in_words(store: Store) -> None:
    report = front_report(store, "quickstart")
    assert report.baseline is not None
    assert report.baseline.summary == "6 layers · heads 12 · ffn 1536 · fp32"
    assert report.verified[0].summary == "3 layers · heads 8 · ffn 1536 · int8"


def test_the_json_has_what_the_documentation_says(store: Store) -> None:
    tree = json.loads(json.dumps(front_report(store, "quickstart").to_json(), allow_nan=False))
    assert tree["schema"] == "autocompress.front/1"
    assert {"study", "baseline", "members", "hypervolume", "counts", "objectives", "constraints"} <= tree.keys()
    first = tree["members"][0]
    assert first["metrics"]["latency_ms"].keys() == {"value", "unit", "source", "interval", "n"}
    of = ("quality", "test_quality", "expected")
    drops = {f"{name}_drop{end}" for name in of for end in ("", "_interval")}
    assert first["relative"].keys() == {"speedup", "size_ratio", *drops}
    assert tree["counts"]["verified"] == 4


def test_a_study_with_nothing_in_it_has_an_empty_front(empty: Store) -> None:
    given.study(empty, "new")
    report = front_report(empty, "new")
    assert (report.baseline, report.members, report.hypervolume.verified) == (None, (), None)
    json.dumps(report.to_json())


def test_before_verification_everything_is_an_estimate(empty: Store) -> None:
    given.study(empty, "searching")
    with empty.lease("searching") as lease:
        given.search(empty, lease)
    report = front_report(empty, "searching")
    assert report.baseline is not None
    assert not report.baseline.measured
    assert report.verified == ()
    assert report.estimates[0].summary.startswith("remove_layer"), "no shape is known: the steps are counted"


def test_an_unknown_study_is_named_with_the_nearest(store: Store) -> None:
    with pytest.raises(NotFoundError, match="did you mean 'quickstart'"):
        front_report(store, "quikstart")
