from __future__ import annotations

import json
import random
import re
from dataclasses import replace
from pathlib import Path

import pytest

import autocompress
from autocompress import operators
from autocompress.config import dump_device, load_device, load_space, load_study
from autocompress.core.device import DeviceProfile
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.kept_tokens import keeps_tokens
from autocompress.core.parts import ModelParts
from autocompress.core.prediction import predictor_of
from autocompress.core.storage import Bits, Storage
from autocompress.core.workload import Workload
from autocompress.errors import CandidateError
from autocompress.pricing import draw
from autocompress.study.preflight import misfits

FOLDER = Path(autocompress.__path__[0]).parent / "hardware_profiles"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))
SPACES = sorted(path.stem for path in (FOLDER.parent / "search_spaces").glob("*.yaml"))

PLAUSIBLE = {
    "jetson-orin-nano": (50, 1000),
    "raspberry-pi-4": (80, 2000),
    "raspberry-pi-5": (30, 600),
    "snapdragon-8-gen-3": (10, 250),
    "titan-xp": (1, 30),
    "xeon-2core": (5, 120),
    "xeon-e5-2640": (3, 60),
}
"""Milliseconds of MiniLM in fp32 at 128 tokens, with the profile's threads: an order of magnitude, by hand."""


def minilm(bits: Bits) -> ModelParts:
    held = Storage(bits)
    layers = (encoder_layer(i, 384, heads=12, head_size=32, channels=1536, held=held) for i in range(6))
    return encoder(384, layers, words=30522, others=514, head=(384, 2), words_in=held)


def workload(profile: DeviceProfile) -> Workload:
    return Workload(threads=profile.cost.threads if profile.cost else 1)


@pytest.fixture(params=NAMES)
def profile(request: pytest.FixtureRequest) -> DeviceProfile:
    name: str = request.param
    return load_device(name)


def test_a_profile_is_called_like_its_file_and_says_where_it_is_from(profile: DeviceProfile) -> None:
    assert profile.name in NAMES
    assert profile.source in ("measured", "fitted", "datasheet")
    assert profile.description
    assert profile.measured_on
    if profile.source != "measured":
        assert profile.cost is not None
        assert any(note.startswith("spread: ") for note in profile.notes)
        assert any("gmacs_int8" in note for note in profile.notes)
        assert any("gbytes_per_second" in note for note in profile.notes)
    if profile.source == "datasheet":
        assert profile.cost is not None
        assert profile.cost.accuracy is None
        assert profile.cost.spread >= 0.5
    if profile.source == "fitted":
        assert profile.cost is not None
        assert profile.cost.accuracy is not None
        assert "cross-validation" in profile.cost.accuracy.how


def test_a_profile_is_written_as_it_is_dumped(profile: DeviceProfile, tmp_path: Path) -> None:
    (tmp_path / "again.yaml").write_text(dump_device(profile), encoding="utf-8")
    assert load_device(tmp_path / "again.yaml") == profile


def test_a_known_model_costs_what_such_a_machine_takes(profile: DeviceProfile) -> None:
    predict = predictor_of(profile, hidden=384, head_size=32, workload=workload(profile))
    low, high = PLAUSIBLE.get(profile.name, (0.1, 10_000))
    whole, small = predict(minilm(32)), predict(minilm(8))
    assert low < whole.value < high
    assert whole.low < whole.value < whole.high
    if profile.cost and profile.cost.gmacs_int8 is None:
        # Nobody measured int8: it is promised no speed, but for layers that wait for their weights.
        assert small.value == pytest.approx(whole.value, rel=0.01)
    else:
        assert small.value < whole.value


@pytest.mark.parametrize("name", SPACES)
def test_whatever_a_space_that_ships_leads_to_has_a_price(profile: DeviceProfile, name: str) -> None:
    predict = predictor_of(profile, hidden=384, head_size=32, workload=workload(profile))
    space = operators.bound(load_space(name, operators=operators.OPERATORS), minilm(32))
    knobs, generator = space.knobs(), random.Random(0)
    for _ in range(40):
        point = {knob: draw(known, generator) for knob, known in knobs.items()}
        try:
            _, shape = operators.effective(space.policy(lambda knob, _, point=point: point[knob]), minilm(32))
        except CandidateError:  # no layer is left
            continue
        if profile.tables and any(one.rank for part in shape.blocks() for one in part.matrices):
            with pytest.raises(ValueError, match="was not measured .measured (ranks: nothing|hidden sizes: 384)"):
                predict(shape)
            continue
        if profile.tables and any(part.mixing and part.mixing.form.window for part in shape.blocks()):
            with pytest.raises(ValueError, match="of the form local, window .* was not measured"):
                predict(shape)
            continue
        if profile.tables and keeps_tokens(shape):
            with pytest.raises(
                ValueError, match="tokens of .* heads was not measured .measured: nothing.; profile it for"
            ):
                predict(shape)
            continue
        if profile.tables and shape.width != 384:
            with pytest.raises(ValueError, match="was not measured .measured hidden sizes: 384.*--widths"):
                predict(shape)
            continue
        assert predict(shape).value > 0


@pytest.mark.parametrize("name", ["bert-wide", "transformer-wide"])
def test_a_wide_space_is_wide_and_few_of_its_points_fight_with_themselves(name: str) -> None:
    space = operators.bound(load_space(name, operators=operators.OPERATORS), minilm(32))
    assert space.size() > 1e12
    knobs, generator, refused = space.knobs(), random.Random(0), []
    for _ in range(200):
        point = {knob: draw(known, generator) for knob, known in knobs.items()}
        try:
            operators.effective(space.policy(lambda knob, _, point=point: point[knob]), minilm(32))
        except CandidateError as error:
            refused.append(str(error))
    assert len(refused) < 20
    assert {one.partition(": ")[2] for one in refused} <= {"the last layer must stay", "the last attention must stay"}


def test_a_space_that_a_device_was_not_measured_for_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert", "vocab_size": 30522, **sizes}))
    known = load_study("quickstart", operators=operators.OPERATORS)
    asked = replace(known, device="xeon-2core", space=load_space("bert-lowrank", operators=operators.OPERATORS))
    (told,) = misfits(asked, tmp_path)
    assert re.match(
        r"device 'xeon-2core': (last_)?(attention|feed_forward) of size \d+ in .* bits in rank \d+ was not measured "
        r"\(measured ranks: nothing\); profile the device again with `autocompress profile --low-rank`, or write "
        "`device: host`",
        told,
    )
    assert misfits(replace(asked, space=known.space), tmp_path) == []


def test_a_profile_that_was_not_measured_says_what_energy_it_models_and_from_where(profile: DeviceProfile) -> None:
    if profile.source == "measured":
        pytest.skip("a measured profile's energy is the matter of whoever measured it")
    assert profile.energy is not None
    assert "Horowitz" in profile.energy.source
    load = workload(profile)
    latency = predictor_of(profile, hidden=384, head_size=32, workload=load)(minilm(32))
    energy = profile.energy(minilm(32), load, latency)
    at_rest, busy = (watts * latency.value for watts in (profile.energy.idle_watts, profile.energy.active_watts))
    assert at_rest < energy.value < 1.2 * busy  # milliseconds times watts are millijoules


def test_a_profile_described_for_some_threads_answers_for_no_others() -> None:
    profile = load_device("raspberry-pi-4")
    with pytest.raises(ValueError, match="'raspberry-pi-4' is described for 4 threads, the workload asks for 1"):
        predictor_of(profile, hidden=384, head_size=32, workload=Workload())
