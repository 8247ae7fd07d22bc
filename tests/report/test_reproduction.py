"""What is said of a candidate that was judged again."""

from __future__ import annotations

import pytest

from autocompress.core.outcome import Evaluated, Failed, Measurement
from autocompress.report.reproduction import Repeated, Reproduction, Verdict

QUALITY = Measurement("quality", 0.9, "accuracy", "measured", interval=(0.87, 0.92))


@pytest.mark.expectation(31)
@pytest.mark.parametrize(
    ("stored", "now", "verdict"),
    [
        (QUALITY, 0.9, "equal"),
        (QUALITY, 0.88, "within"),
        (QUALITY, 0.93, "differs"),
        (QUALITY, None, "missing"),
        (Measurement("latency_ms", 2.0, "ms", "predicted", interval=(1.0, 3.0)), 2.1, "differs"),
        (Measurement("size_mb", 2.0, "MB", "measured"), 2.1, "differs"),
    ],
)
def test_a_measured_metric_lies_in_its_interval_and_every_other_is_equal(
    stored: Measurement, now: float | None, verdict: Verdict
) -> None:
    again = None if now is None else Measurement(stored.metric, now, stored.unit, stored.source)
    one = Repeated("searched", stored, again)
    assert one.verdict == verdict
    found = Reproduction("mine", 3, "0" * 16, "2 layers", Evaluated((stored,)), Evaluated(()), (one,))
    assert found.ok == (verdict in ("equal", "within"))
    assert found.told.startswith("Reproduced" if found.ok else "Not reproduced: ")


def test_what_failed_then_and_is_judged_now_is_not_reproduced() -> None:
    failed = Failed("score", "ValueError", "no such thing")
    found = Reproduction("mine", 3, "0" * 16, "2 layers", failed, Evaluated(()), ())
    assert (found.ok, found.told) == (False, "Not reproduced: what became of it.")
    again = Reproduction("mine", 3, "0" * 16, "2 layers", failed, Failed("score", "ValueError", "none such"), ())
    assert again.ok
