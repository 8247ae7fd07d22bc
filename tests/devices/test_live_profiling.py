"""Families of other blocks than an encoder like BERT has are profiled by their own layers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from torch import Tensor

from autocompress import config
from autocompress.anatomy import LiveAnatomy, anatomy_of
from autocompress.anatomy.factored import Factors
from autocompress.core.device import KernelRow, KernelTable
from autocompress.core.lowering import Form
from autocompress.core.prediction import LatencyPredictor
from autocompress.core.signature import signature
from autocompress.core.wording import units
from autocompress.core.workload import Workload
from autocompress.deploy.session import runtime
from autocompress.devices.live_profiling import measure_layers
from autocompress.devices.profiling import profile_of
from autocompress.devices.timing import Timed
from autocompress.devices.validation import Seen, correct
from tests.families.given import telling

LOAD = Workload(1, 8, 1)


def some_factors(weight: Tensor, bias: Tensor | None, _: object) -> Factors:
    return Factors(weight[:7], weight[:, :7], bias)


OF_POSITIONS = {"pos_att_type": ["p2c", "c2p"], "share_att_key": False}


def opened(form: str, **more: Any) -> LiveAnatomy:
    anatomy = anatomy_of(telling(form, vocab_size=100, num_labels=3, **more).float())
    assert isinstance(anatomy, LiveAnatomy)
    return anatomy


def test_products_of_positions_are_part_of_what_a_block_is() -> None:
    shape = opened("DebertaV2ForSequenceClassification", **OF_POSITIONS).shape()
    block = next(part for part in shape.blocks() if part.mixing is not None)
    known, heads = signature(block)
    assert (known.positions, heads) == (2, block.units["heads"])
    few = tuple(one for one in block.matrices if not one.name.startswith("position_"))
    assert signature(replace(block, matrices=few))[0] == replace(known, positions=0)
    with pytest.raises(ValueError, match="a block of 3 products of its sizes was not measured"):
        signature(replace(block, matrices=few[:3]))


def test_rows_of_one_form_say_nothing_of_another() -> None:
    shape = opened("DebertaV2ForSequenceClassification", **OF_POSITIONS).shape()
    most = max(part.units["heads"] for part in shape.blocks() if part.mixing is not None)

    def table(positions: int) -> KernelTable:
        rows = [KernelRow("base", 32, 0, 1.0, 1.0, 1.0)]
        for name, size, more in (("attention", most, positions), ("feed_forward", 4096, 0)):
            for block in (name, f"last_{name}"):
                rows += [KernelRow(block, 32, end, 1.0, 1.0, 1.0, positions=more) for end in (1, size)]  # type: ignore[arg-type]
        return KernelTable(shape.width, shape.head_size, LOAD, tuple(rows))

    assert LatencyPredictor(table(2))(shape).value == pytest.approx(1 + 2 * shape.depth)
    with pytest.raises(ValueError, match="attention of size 4 in 32 bits.* was not measured"):
        LatencyPredictor(table(0))(shape)


def test_what_stands_before_layers_counts_once() -> None:
    whole = opened("WhisperForAudioClassification", max_source_positions=10)
    shapes = []
    for heads, channels, layers in ((4, 64, 2), (4, 32, 2), (2, 64, 1), (1, 16, 1), (3, 48, 2)):
        student = whole.copy()
        student.keep_layers(range(layers))
        for layer in student.layers:
            student.keep_heads(layer.index, range(heads))
            student.keep_channels(layer.index, range(channels))
        shapes.append(student.shape())
    rows = [KernelRow("base", 32, 0, 1.0, 1.0, 1.0)]
    for name, size in (("attention", 4), ("feed_forward", 64)):
        for block in (name, f"last_{name}"):
            rows += [KernelRow(block, 32, end, 0.1 * end, 0.1 * end, 0.1 * end) for end in (1, size)]  # type: ignore[arg-type]
    table = KernelTable(shapes[0].width, shapes[0].head_size, LOAD, tuple(rows))
    plain = LatencyPredictor(table)
    front = plain.front(shapes[0])
    assert front == plain.front(shapes[2]) == pytest.approx(6.4 * (2 * 24 * 32 + 96 * 32) / (2 * 32 * 64))
    known = [plain(shape).value for shape in shapes]
    seen = Seen(LOAD, tuple(shapes), tuple(Timed((ms,)) for ms in known), (Timed((1.0,)),) * len(known))
    corrected = LatencyPredictor(correct(table, seen))
    assert [corrected(shape).value for shape in shapes] == pytest.approx(known, rel=1e-3)


@pytest.mark.parametrize("form", ["written", pytest.param("traced", marks=[pytest.mark.long, pytest.mark.slow])])
def test_a_family_is_measured_by_its_own_layers(form: Form) -> None:
    anatomy = opened("ModernBertForSequenceClassification")
    before = anatomy.shape()
    widths = form == "traced"
    table, _ = measure_layers(
        anatomy, LOAD, form=form, runtime="onnxruntime", seconds=2.0, static=True, ranks=True, widths=widths
    )
    assert table.has_widths is widths
    assert anatomy.shape() == before
    assert {row.activations for row in table.rows} == {"dynamic", "static"}
    sums = LatencyPredictor(replace(table, correction=None))
    whole = sums(anatomy.shape()).value
    anatomy.keep_heads(0, [0])
    assert 0 < sums(anatomy.shape()).value <= whole  # a smaller block never costs more
    name = "layers.1.feed_forward"
    anatomy.factor([slot for layer in anatomy.layers for slot in layer.feed_forward], some_factors)
    assert anatomy.shape()[name].matrices[0].rank == 7
    assert LatencyPredictor(table)(anatomy.shape()).value > 0
    sizes = {row.size for row in table.rows if row.block == "attention"}
    assert {min(sizes), max(sizes)} == {1, max(units(before, "heads"))}
    estimate = LatencyPredictor(table)(anatomy.shape())
    assert 0 < estimate.low <= estimate.value <= estimate.high
    read = config.device_from_json(config.device_to_json(profile_of([table], [runtime("onnxruntime")], [])))
    assert read.tables == (table,)
