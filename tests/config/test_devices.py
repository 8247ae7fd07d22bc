from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.config import check_file, dump_device, load_device
from autocompress.core.device import DeviceProfile, KernelRow, KernelTable, Runtime, Workload
from autocompress.core.ports import Operator
from autocompress.errors import SpecError

milliseconds = st.floats(0, 1e6)
texts = st.one_of(
    st.text(max_size=20), st.sampled_from(["no", "1e-3", "1", "~", "", "on", ".nan", "2026-11-22", "<<", "="])
)
rows = st.builds(
    KernelRow,
    st.sampled_from(["base", "attention", "feed_forward"]),
    st.sampled_from([8, 32]),
    st.integers(0, 4096),
    milliseconds,
    milliseconds,
    milliseconds,
)
tables = st.builds(
    KernelTable, st.integers(1, 4096), st.integers(1, 256), st.builds(Workload), st.lists(rows, max_size=4).map(tuple)
)
profiles = st.builds(
    DeviceProfile,
    name=texts,
    version=st.integers(0, 9),
    source=st.sampled_from(["measured", "fitted", "datasheet"]),
    description=texts,
    fingerprint=st.dictionaries(texts, texts, max_size=3),
    runtime=st.builds(Runtime, texts, texts, st.dictionaries(texts, texts, max_size=3)),
    measured_on=texts,
    tables=st.lists(tables, max_size=2).map(tuple),
)


@given(profiles)
def test_a_profile_survives_being_written_as_yaml(
    tmp_path_factory: pytest.TempPathFactory, profile: DeviceProfile
) -> None:
    path = tmp_path_factory.getbasetemp() / "profile.yaml"
    path.write_text(dump_device(profile), encoding="utf-8")
    assert load_device(path) == profile


def test_impossible_times_are_refused_by_line(tmp_path: Path, operators: Mapping[str, Operator]) -> None:
    row = KernelRow("attention", 8, 12, 1.5, 1.0, 2.0)
    profile = DeviceProfile(
        "box", 1, "measured", "", {}, Runtime("r", "1"), "2026-11-22", (KernelTable(384, 32, Workload(), (row,)),)
    )
    path = tmp_path / "box.yaml"
    text = dump_device(profile).replace("milliseconds: 1.5", "milliseconds: -1").replace("high: 2.0", "high: .nan")
    path.write_text(text.replace("bits: 8", "bits: 4"))
    with pytest.raises(SpecError) as caught:
        load_device(path)
    assert [problem.split(": ", 1)[1] for problem in caught.value.problems] == [
        "tables[0].rows[0].bits: got 4; allowed: 32, 8",
        "tables[0].rows[0].milliseconds: must be a finite number of milliseconds >= 0, got -1.0",
        "tables[0].rows[0].high: must be a finite number of usual size, got .nan",
    ]
    assert check_file(path, operators=operators) == list(caught.value.problems)
