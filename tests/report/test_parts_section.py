"""The time of a model's parts beside the machine's ceilings: as numbers, as text and as a picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress.core.device import Ceilings
from autocompress.core.workload import Workload
from autocompress.report.explanation import Explanation
from autocompress.report.parts_section import CACHED, PartsSection, PartTime

from .test_explanation import size
from .test_renderers import printed

PARTS = (
    PartTime("embeddings", "int8", 0, 250_000, 0.05, 0.0, 0.01, nodes=8),
    PartTime("layer 0 attention", "int8/fp32", 25_200_000, 150_000, 0.6, 0.1, 0.006, nodes=14),
    PartTime("layer 0 feed-forward", "int8", 37_700_000, 300_000, 0.3, 0.05, 0.012, nodes=5),
    PartTime("classifier", "fp32", 149_760, 600_000, 0.02, 0.002, 0.025, nodes=4),
    PartTime("normalisation", "fp32", 0, 9_216, 0.08, 0.0, 0.0004, nodes=3),
    PartTime("other", "", 0, 0, 0.01, 0.0, 0.0, nodes=2),
    PartTime("runtime", "", 0, 0, 0.04, 0.0, 0.0, nodes=0),
)
LOAD = Workload(1, 128, 1)
SECTION = PartsSection(LOAD, Ceilings(156.0, 1656.0, 24.7), "measured now", PARTS, whole_ms=1.1)


def test_the_numbers_say_of_every_part_how_far_it_is_from_its_ceiling() -> None:
    tree = json.loads(json.dumps(SECTION.to_json()))
    assert tree["parts"][1] == {
        "part": "layer 0 attention",
        "precision": "int8/fp32",
        "macs": 25_200_000,
        "weight_bytes": 150_000,
        "nodes": 14,
        "measured_ms": 0.6,
        "share": 0.54545,
        "ceiling_ms": 0.1,
        "limit": "arithmetic",
        "times_the_ceiling": 6.0,
    }
    assert tree["parts"][-1]["ceiling_ms"] == 0
    assert (
        tree["parts"][-1]["times_the_ceiling"] is tree["parts"][-1]["limit"] is tree["parts"][-1]["precision"] is None
    )
    assert sum(part["measured_ms"] for part in tree["parts"]) == pytest.approx(tree["whole"]["measured_ms"])
    assert tree["ceilings"]["known_from"] == "measured now"
    assert tree["workload"] == {"batch": 1, "length": 128, "threads": 1}


def test_a_ceiling_of_several_threads_says_that_it_is_of_as_many_cores() -> None:
    assert "ceilings of a core, measured now" in SECTION.about()
    assert not [line for line in SECTION.remarks() if "several threads" in line]
    two = replace(SECTION, workload=Workload(8, 32, 2))
    assert "batch 8, length 32, 2 threads · ceilings of a core, 2 of them used, measured now" in two.about()
    assert [
        line for line in two.remarks() if line.startswith("With several threads a ceiling is that of as many cores")
    ]


def test_the_ceiling_of_the_whole_is_that_of_all_its_work_at_once() -> None:
    whole = SECTION.whole
    assert whole.arithmetic_ms == pytest.approx(0.152)
    assert whole.memory_ms == pytest.approx(0.0534)
    assert whole.ceiling_ms < sum(part.ceiling_ms for part in PARTS)
    assert whole.times == pytest.approx(1.1 / 0.152)
    reading = replace(SECTION, parts=(PARTS[0], PARTS[3]))
    assert (reading.whole.limit, reading.whole.ceiling_ms) == ("memory", pytest.approx(0.035))


def test_the_text_has_a_row_a_part_and_one_for_the_whole() -> None:
    lines = printed(SECTION.table()).splitlines()
    assert (
        lines[0].strip().startswith("one inference takes 1.100 ms, 7.2× the machine's ceiling for its work (0.152 ms")
    )
    (attention,) = (line.split() for line in lines if "layer 0 attention" in line)
    assert attention[3:] == ["int8/fp32", "25.2", "M", "0.600", "ms", "55", "%", "0.100", "ms", "6.0×"]
    (whole,) = (line.split() for line in lines if line.strip().startswith("whole"))
    assert whole[-6:] == ["ms", "100", "%", "0.152", "ms", "7.2×"]
    text = " ".join(" ".join(lines).split())
    assert "other (2 nodes)" in text
    assert "batch 1, length 128, 1 thread · ceilings of a core, measured now: fp32 78 GMAC/s, int8 828 GMAC/s" in text
    assert CACHED in text, "the classifier reads its weights faster than memory gives them"
    assert CACHED not in " ".join(printed(replace(SECTION, parts=PARTS[:3]).table()).split())


def test_the_picture_is_drawn_and_grows_with_the_parts(tmp_path: Path) -> None:
    few, many = replace(SECTION, parts=PARTS[:3]), replace(SECTION, parts=PARTS * 3)
    for name, section in (("few", few), ("many", many)):
        (path,) = Explanation("mine", "0123", "1 layer", (section,)).write(tmp_path / name)
        assert path.name == "parts.png"
    heights = [size(tmp_path / name / "parts.png") for name in ("few", "many")]
    assert {width for width, _ in heights} == {2000}
    assert heights[0][1] < heights[1][1]
