from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.config import check_file, dump_device, load_device
from autocompress.core.device import (
    COST_FEATURES,
    Accuracy,
    Block,
    Ceilings,
    Correction,
    CostModel,
    DeviceProfile,
    EnergyModel,
    KernelRow,
    KernelTable,
    Runtime,
)
from autocompress.core.ports import Operator
from autocompress.core.workload import Workload
from autocompress.errors import SpecError

positive = st.floats(1e-3, 1e6)
shares = st.floats(0, 10)
texts = st.one_of(
    st.text(max_size=20), st.sampled_from(["no", "1e-3", "1", "~", "", "on", ".nan", "2026-11-22", "<<", "="])
)
names = st.one_of(
    st.text("ab1 é🙂:#'-_", min_size=1, max_size=20).map(lambda text: f"a{text}"),
    st.sampled_from(["no", "1e-3", "1", "~", "on", "2026-11-22", "<<", "="]),
)


@st.composite
def rows(draw: st.DrawFn, block: str) -> KernelRow:
    low, middle, high = sorted(draw(st.lists(st.floats(1e-9, 1e6), min_size=3, max_size=3)))
    return KernelRow(block, draw(st.sampled_from([8, 32])), draw(st.integers(0, 4096)), middle, low, high)  # type: ignore[arg-type]


accuracies = st.builds(Accuracy, st.integers(1, 99), shares, shares, shares, shares, shares, shares, texts)
corrections = st.builds(
    Correction,
    st.dictionaries(st.sampled_from(COST_FEATURES), shares),
    spread=shares,
    models=st.integers(1, 99),
    reference_ms=shares,
)
costs = st.builds(
    CostModel, positive, positive, shares, st.integers(1, 64), st.none() | positive, shares, shares, st.none()
)
energies = st.builds(
    lambda idle, more, *rest: EnergyModel(idle, idle + more, *rest),
    shares, shares, st.integers(1, 64), shares, shares, shares, st.just("a datasheet"), shares,
)  # fmt: skip


@st.composite
def profiles(draw: st.DrawFn) -> DeviceProfile:
    tables = [
        KernelTable(
            hidden,
            draw(st.integers(1, 256)),
            Workload(),
            tuple(draw(rows(block)) for block in get_args(Block)),
            draw(st.none() | corrections),
            draw(st.none() | accuracies),
        )
        for hidden in draw(st.lists(st.integers(1, 4096), min_size=1, max_size=2, unique=True))
    ]
    return DeviceProfile(
        name=draw(names),
        version=draw(st.integers(0, 9)),
        source=draw(st.sampled_from(["measured", "fitted", "datasheet"])),
        description=draw(texts),
        fingerprint=draw(st.dictionaries(texts, texts, max_size=3)),
        runtime=draw(st.builds(Runtime, texts, texts, st.dictionaries(texts, texts, max_size=3))),
        measured_on=draw(texts),
        tables=tuple(tables),
        cost=draw(costs),
        ceilings=draw(st.none() | st.builds(Ceilings, positive, positive, positive)),
        energy=draw(st.none() | energies),
        notes=tuple(draw(st.lists(texts, max_size=2))),
    )


@given(profiles())
def test_a_profile_survives_being_written_as_yaml(
    tmp_path_factory: pytest.TempPathFactory, profile: DeviceProfile
) -> None:
    path = tmp_path_factory.getbasetemp() / "profile.yaml"
    path.write_text(dump_device(profile), encoding="utf-8")
    assert load_device(path) == profile


def test_impossible_times_are_refused_by_line(tmp_path: Path, operators: Mapping[str, Operator]) -> None:
    rows = (
        KernelRow("attention", 8, 12, 1.5, 1.0, 2.0),
        KernelRow("base", 32, 0, 0.1, 0.1, 0.1),
        KernelRow("feed_forward", 32, 768, 3.0, 3.0, 3.0),
        KernelRow("last_attention", 32, 12, 0.5, 0.5, 0.5),
        KernelRow("last_feed_forward", 32, 768, 0.2, 0.2, 0.2),
    )
    profile = DeviceProfile(
        "box", 1, "measured", "", {}, Runtime("r", "1"), "2026-11-22", (KernelTable(384, 32, Workload(), rows),)
    )
    path = tmp_path / "box.yaml"
    text = dump_device(profile).replace("milliseconds: 1.5", "milliseconds: -1").replace("high: 2.0", "high: .nan")
    path.write_text(text.replace("bits: 8", "bits: 5"))
    with pytest.raises(SpecError) as caught:
        load_device(path)
    assert [problem.split(": ", 1)[1] for problem in caught.value.problems] == [
        "tables[0].rows[0].bits: got 5; allowed: 32, 4, 8",
        "tables[0].rows[0].milliseconds: must be a finite number of milliseconds >= 0, got -1.0",
        "tables[0].rows[0].high: must be a finite number of usual size, got .nan",
    ]
    assert check_file(path, operators=operators) == list(caught.value.problems)
