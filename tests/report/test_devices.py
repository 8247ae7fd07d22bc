"""Device profiles as text and as pictures."""

from __future__ import annotations

import datetime
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress.core.device import KernelRow
from autocompress.core.lowering import Lowering, Tried
from autocompress.errors import HostError
from autocompress.report.ceilings import block_macs, least_ms, share_of_ceiling
from autocompress.report.device_png import _apart, _spread, as_device_png
from autocompress.report.devices import age_days, as_device, as_device_list, largest_models, validated

from . import given_devices as given
from .test_renderers import HOSTILE, printed

TABLE = given.BOX.tables[0]


def test_the_multiply_accumulates_of_a_block_are_those_of_its_products() -> None:
    """Hidden 64, heads of 16, 32 tokens: q, k, v and o, then q.k and p.v, which stay fp32."""
    assert block_macs(TABLE, "attention", 32, 4) == {8: 0, 32: 32 * 4 * 64 * 64 + 2 * 32 * 32 * 64}
    assert block_macs(TABLE, "attention", 8, 4) == {8: 32 * 4 * 64 * 64, 32: 2 * 32 * 32 * 64}
    assert block_macs(TABLE, "feed_forward", 8, 256) == {8: 32 * 2 * 64 * 256, 32: 0}
    assert block_macs(TABLE, "last_feed_forward", 8, 256) == {8: 2 * 64 * 256, 32: 0}, "the first token alone"
    assert block_macs(TABLE, "base", 32, 0) == {8: 0, 32: 0}


def test_a_block_at_the_ceiling_takes_the_least_time_and_a_slower_one_its_share() -> None:
    """20 GFLOP/s are 10^7 multiply-accumulates a millisecond; two threads have two cores."""
    least = least_ms(TABLE, given.CEILINGS, "feed_forward", 32, 256)
    assert least == pytest.approx(32 * 2 * 64 * 256 / 1e7)
    two = replace(TABLE, workload=replace(TABLE.workload, threads=2))
    assert least_ms(two, given.CEILINGS, "feed_forward", 32, 256) == pytest.approx(least / 2)
    row = KernelRow("feed_forward", 32, 256, 2 * least, least, 3 * least)
    assert share_of_ceiling(TABLE, given.CEILINGS, row) == pytest.approx(0.5)
    assert share_of_ceiling(TABLE, None, row) is None
    assert share_of_ceiling(TABLE, given.CEILINGS, KernelRow("base", 32, 0, 1.0, 1.0, 1.0)) is None


def test_a_device_shows_the_throughput_of_every_workload() -> None:
    eight = replace(TABLE, workload=replace(TABLE.workload, batch=8, threads=2))
    box = replace(given.BOX, tables=(TABLE, eight))
    text = printed(as_device(box))
    milliseconds = largest_models(TABLE)[32].value
    lines = [line.split() for line in text.splitlines() if line.split()[:2] in (["1", "32"], ["8", "32"])]
    assert [line[:3] for line in lines] == [["1", "32", "1"], ["8", "32", "2"]]
    for line, batch in zip(lines, (1, 8), strict=True):
        assert float(line[3]) == pytest.approx(milliseconds, rel=0.01)
        assert float(line[4].replace(",", "")) == pytest.approx(1e3 * batch / milliseconds, rel=0.01)


def test_a_measured_profile_is_shown_in_full() -> None:
    text = printed(as_device(given.BOX))
    for said in (
        "box  measured, 2026-11-22",
        "A small box",
        "Test CPU 3000",
        "onnxruntime 1.30 (provider CPUExecutionProvider)",
        "fp32 10 GMAC/s, int8 40 GMAC/s, memory 5 GB/s",
        "Batch 1, length 32, 1 thread · hidden 64, heads of 16",
        "Corrected by 24 whole models, ±4.0 % (95 %): base ×1.1, layers +0.02 ms each.",
        "Against 40 whole models that the fit had not seen (random policies): error 2.5 % (median 2.0 %), 90 % within "
        "5 %, 100 % within 10 %, rank correlation 0.990.",
        "5 W at rest, 20 W with all 4 cores busy",
        "Horowitz 2014",
        "- Nobody else was on it.",
    ):
        assert said in text
    (wide,) = (line for line in text.splitlines() if "256 wide" in line and "last" not in line)
    assert wide.split() == ["feed-forward", "256", "wide", "0.210", "0.200–0.220", "50", "%", *("-" for _ in "1")]


def test_a_table_says_in_which_form_its_graphs_are_written() -> None:
    chosen = Lowering(int8=("attention_node",))
    tried = (Tried(32, ("attention_node",), 0.99), Tried(8, ("attention_node",), 0.921))
    text = printed(as_device(replace(given.BOX, tables=(replace(TABLE, lowering=chosen, tried=tried),))))
    assert (
        "Graphs are written as measured: fp32 plain, int8 attention_node, session plain. Time of what was tried, "
        "against plain: fp32 with attention_node 99.0 %; int8 with attention_node 92.1 %."
    ) in text


def test_what_nobody_measured_is_said_in_words() -> None:
    bare = replace(TABLE, correction=None, accuracy=None)
    text = printed(as_device(replace(given.BOX, tables=(bare,), ceilings=None, energy=None, notes=())))
    assert "of ceiling" not in text
    assert "Graphs are written plainly: no other form was compared." in text
    assert "Not corrected by whole models" in text
    assert "Never compared with whole models" in text
    assert "Not measured in int8: outside of the layers, feed-forward, attention, last layer, feed-forward" in text
    described = printed(as_device(given.BOARD))
    assert "no int8 kernel known: counted as fp32" in described
    assert "9.5 GMAC/s with 4 threads" in described


def test_nothing_of_a_profile_moves_the_terminal() -> None:
    hostile = replace(
        given.BOX, description=HOSTILE, fingerprint={HOSTILE: HOSTILE}, notes=(HOSTILE,),
        measured_on=HOSTILE,
    )  # fmt: skip
    row = {"name": HOSTILE, "source": HOSTILE, "problem": HOSTILE}
    for text in (printed(as_device(hostile)), printed(as_device_list([row]))):
        assert "\x1b" not in text
        assert "\u202e" not in text


def test_the_age_is_counted_from_the_day_of_the_numbers() -> None:
    assert age_days(given.BOX, datetime.date(2026, 12, 2)) == 10
    assert age_days(given.BOX, datetime.date(2026, 1, 1)) == 0, "a clock that goes wrong makes nothing younger than new"
    assert age_days(replace(given.BOX, measured_on="some day"), datetime.date(2026, 12, 2)) is None


def test_the_error_of_a_device_is_that_of_all_its_tables() -> None:
    assert TABLE.accuracy is not None
    other = replace(TABLE.accuracy, n=10, mape=0.10, within_10=0.5, spearman=0.8)
    longer = replace(TABLE, workload=replace(TABLE.workload, length=64), accuracy=other)
    found = validated(replace(given.BOX, tables=(TABLE, longer)))
    assert found is not None
    assert (found.n, found.spearman) == (50, 0.8)
    assert found.mape == pytest.approx((40 * 0.025 + 10 * 0.10) / 50)
    assert found.within_10 == pytest.approx(0.9)
    assert validated(given.BOARD) is None


@pytest.mark.parametrize("profile", [given.BOX, given.BOARD, replace(given.BOX, ceilings=None)])
def test_a_profile_is_drawn(profile: given.DeviceProfile, tmp_path: Path) -> None:
    file = tmp_path / "device.png"
    as_device_png(profile, file)
    data = file.read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width == 2000
    assert height > 600
    with pytest.raises(HostError, match="nowhere/device.png: cannot be written"):
        as_device_png(profile, tmp_path / "nowhere" / "device.png")


def test_labels_beside_lines_keep_a_gap_and_stay_where_there_is_room() -> None:
    assert _spread([0.1, 0.5, 0.9], gap=0.1) == [0.1, 0.5, 0.9]
    assert _spread([0.5, 0.5, 0.5, 0.95], gap=0.1) == pytest.approx([0.4, 0.5, 0.6, 0.95])
    crowded = _spread([0.50, 0.52, 0.61, 0.68], gap=0.1)
    assert all(b - a > 0.1 - 1e-9 for a, b in zip(crowded, crowded[1:], strict=False))


def test_numbers_of_an_axis_leave_each_other_room() -> None:
    assert _apart([1, 384, 768, 1152, 1536]) == [1, 384, 768, 1152, 1536]
    assert _apart([1, 16, 32, 384, 768, 1152, 1536]) == [32, 384, 768, 1152, 1536]
