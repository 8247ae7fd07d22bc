"""Where a deployed model's time goes: nodes to parts, and the least that each part can take."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autocompress.anatomy.weights import random_weights
from autocompress.config import dump_device, load_device
from autocompress.core.cost import macs, passes, weight_bytes
from autocompress.core.device import Ceilings
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.parts import ModelParts
from autocompress.core.storage import Storage
from autocompress.core.workload import Workload
from autocompress.deploy.graph import Place, write_graph, written_places
from autocompress.deploy.node_times import ExecutedNode, NodeTimes, WatchedModel
from autocompress.deploy.probes import idle_graph
from autocompress.deploy.session import Session
from autocompress.devices.host import fingerprint
from autocompress.devices.profiling import bert_shape
from autocompress.devices.timing import time_side_by_side, workload_run
from autocompress.devices.validation import random_shapes
from autocompress.explain.latency import (
    NORMALISATION,
    OTHER,
    RUNTIME,
    machine_ceilings,
    measure_parts,
    part_of,
    part_time,
    split_time,
    why_not_here,
    works,
)
from autocompress.report.parts_section import PartTime

LOAD = Workload(1, 32, 1)
LARGEST = bert_shape(hidden=64, heads=4, head_size=16, width=128, layers=4)
SHAPES = random_shapes(LARGEST, count=6, seed=0)
TINY = encoder(
    4,
    [
        encoder_layer(1, 4, heads=1, head_size=2, channels=6, held=Storage(8)),
        encoder_layer(5, 4, heads=2, head_size=2, channels=8),
    ],
    words=10,
    others=8,
    head=(4, 3),
    words_in=Storage(8),
)
ROUND = Ceilings(gflops_fp32=2.0, gops_int8=8.0, gbytes_per_second=0.5)
"""A core with 10^6 fp32 and 4 * 10^6 int8 MACs, and half a million bytes, a millisecond."""


def written(shape: ModelParts, folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(write_graph(random_weights(shape, positions=40, seed=0)).SerializeToString())
    return path


def watched(shape: ModelParts, folder: Path, *, inferences: int = 5) -> NodeTimes:
    model = WatchedModel(written(shape, folder), threads=1, folder=folder)
    run = workload_run(model.session, LOAD, rows=shape.vocabulary)
    for _ in range(inferences):
        run()
    return model.node_times()


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_every_node_that_runs_belongs_to_a_part_and_every_part_runs(place: int, tmp_path: Path) -> None:
    shape = SHAPES[place]
    found, times = works(shape, LOAD), watched(shape, tmp_path)
    parts = [part_of(node, found) for node in times.nodes]
    assert set(parts) == {work.part for work in found}
    assert OTHER not in parts
    norms = [node.operator for node, part in zip(times.nodes, parts, strict=True) if part == NORMALISATION]
    assert set(norms) <= {"Add", "LayerNormalization", "SkipLayerNormalization"}
    assert sum(name.endswith("LayerNormalization") for name in norms) == 1 + 2 * shape.depth


def test_an_operator_stands_in_the_part_that_computes_it(tmp_path: Path) -> None:
    times, found = watched(TINY, tmp_path), works(TINY, LOAD)
    where: dict[str, set[str]] = {}
    for node in times.nodes:
        where.setdefault(node.operator, set()).add(part_of(node, found))
    assert where["Softmax"] == {"layer 1 attention", "layer 5 attention"}
    assert where["Gelu"] | where.get("BiasGelu", set()) == {"layer 1 feed-forward", "layer 5 feed-forward"}
    assert where["Gemm"] == {"classifier"}


def test_the_nodes_of_an_inference_add_up_to_what_the_profiler_saw(tmp_path: Path) -> None:
    times = watched(LARGEST, tmp_path, inferences=7)
    (profile,) = tmp_path.glob("profile*.json")
    events = json.loads(profile.read_text())
    kernels = [event["dur"] for event in events if event["name"].endswith("_kernel_time")]
    inferences = [event["dur"] for event in events if event["name"] == "model_run"]
    assert times.milliseconds.shape == (7, len(times.nodes))
    assert times.milliseconds.sum() == pytest.approx(sum(kernels) / 1e3)
    assert (times.milliseconds.sum(axis=1) <= np.array(inferences) / 1e3).all()


def test_places_are_counted_in_the_order_in_which_they_were_written() -> None:
    model = write_graph(random_weights(LARGEST, positions=40, seed=0))
    places = written_places(model)
    assert sorted({place.block for place in places.values()}) == list(range(2 + 2 * LARGEST.depth))
    assert places["logits"] == Place(1 + 2 * LARGEST.depth, is_norm=False)
    results = {operator: [node.output[0] for node in model.graph.node if node.op_type == operator]
               for operator in ("Gather", "Softmax", "Gelu")}  # fmt: skip
    assert places[results["Gather"][0]] == Place(0, is_norm=False)
    assert [places[name].block for name in results["Softmax"]] == [1, 3, 5, 7]
    assert [places[name].block for name in results["Gelu"]] == [2, 4, 6, 8]
    assert sum(place.is_norm for place in places.values()) == 2 * (1 + 2 * LARGEST.depth), "each with its residual sum"


def test_a_ceiling_is_the_longer_of_arithmetic_and_reading_weights() -> None:
    load = Workload(batch=2, length=3)
    by_name = {work.part: work for work in works(TINY, load)}
    assert list(by_name) == [
        "embeddings",
        "layer 1 attention",
        "layer 1 feed-forward",
        "layer 5 attention",
        "layer 5 feed-forward",
        "classifier",
        "normalisation",
    ]
    int8 = by_name["layer 1 attention"]
    assert int8.macs == {8: 2 * 3 * 4 * (4 * 2), 32: 2 * 2 * 3 * 3 * 2}  # q, k, v, o; then q.k and p.v
    assert int8.precision == "int8/fp32"
    assert int8.weight_bytes == 4 * 6 + 8 * 6 + 2 * 4 + 8 * 4  # a byte a weight; scale and bias of every output
    wide = by_name["layer 1 feed-forward"]
    assert (wide.macs[8], wide.precision) == (2 * 3 * 2 * 4 * 6, "int8")
    last = by_name["layer 5 attention"]
    assert last.macs[32] == 2 * (3 * 2 * 4 * 4 + 1 * 2 * 4 * 4 + 2 * 1 * 3 * 4)  # q, o and both products of one token
    assert (last.precision, by_name["layer 5 feed-forward"].macs[32]) == ("fp32", 2 * 1 * 2 * 4 * 8)
    assert by_name["classifier"].macs[32] == 2 * (4 * 4 + 4 * 3)
    assert by_name["embeddings"].weight_bytes == 6 * (4 + 4) + 3 * 4 * 4  # int8 rows with a scale; positions in fp32

    row = rows(load)["layer 1 attention"]
    assert row.arithmetic_ms == pytest.approx(192 / 4e6 + 72 / 1e6)
    assert row.memory_ms == pytest.approx(112 / 0.5e6)
    assert (row.ceiling_ms, row.limit) == (row.memory_ms, "memory")
    assert row.times == pytest.approx(0.3 / row.memory_ms)


def given_times(*, extra: tuple[ExecutedNode, ...] = ()) -> NodeTimes:
    """Two inferences of TINY in which each block has one node, and one normalises; each takes 0.3 ms."""
    blocks = [ExecutedNode(f"n{block}", "MatMul", Place(block, is_norm=False)) for block in range(2 + 2 * TINY.depth)]
    nodes = (*blocks, ExecutedNode("norm", "LayerNormalization", Place(1, is_norm=True)), *extra)
    return NodeTimes(nodes, np.full((2, len(nodes)), 0.3))


def rows(load: Workload) -> dict[str, PartTime]:
    """The parts of such an inference, that takes 2.2 ms where the runtime takes 0.1."""
    found = works(TINY, load)
    split = split_time(given_times(), found, whole=2.2, idle=0.1)
    return {work.part: part_time(work, split, ROUND, load) for work in found}


def test_threads_raise_the_ceiling() -> None:
    one, two = (rows(Workload(2, 3, threads))["layer 1 attention"] for threads in (1, 2))
    assert one.arithmetic_ms == pytest.approx(2 * two.arithmetic_ms)
    assert one.memory_ms == pytest.approx(2 * two.memory_ms)


def test_what_the_nodes_leave_of_an_inference_is_the_runtimes() -> None:
    split = split_time(given_times(), works(TINY, LOAD), whole=2.5, idle=0.1)
    assert split.profiler_ms == 0
    assert split.took["classifier"] == pytest.approx(0.3)
    assert split.took[RUNTIME] == pytest.approx(2.5 - 7 * 0.3)


def test_what_the_profiler_does_at_each_node_is_left_out() -> None:
    split = split_time(given_times(), works(TINY, LOAD), whole=1.5, idle=0.1)
    assert split.profiler_ms == pytest.approx((2.1 + 0.1 - 1.5) / 7)
    assert split.took[RUNTIME] == pytest.approx(0.1)
    assert sum(split.took.values()) == pytest.approx(1.5)


def test_what_belongs_to_no_part_is_counted_apart() -> None:
    extra = (ExecutedNode("b", "Copy", None), ExecutedNode("c", "Copy", Place(99, is_norm=False)))
    split = split_time(given_times(extra=extra), works(TINY, LOAD), whole=3.0, idle=0.1)
    assert (split.nodes[OTHER], split.took[OTHER]) == (2, pytest.approx(0.6))


def test_the_readings_kept_say_which_calls_of_a_run_they_are() -> None:
    calls: list[int] = []
    timed, _ = time_side_by_side([lambda: calls.append(len(calls)), lambda: None], rounds=6, seconds=2.0)
    assert len(timed.calls) == len(timed.samples) == len(set(timed.calls))
    count = len(timed.samples) // len(timed.turns)
    assert all((call - 2) % (1 + count) for call in timed.calls), "the first of a turn is not counted"
    assert 2 < min(timed.calls) <= max(timed.calls) < len(calls)


def test_nodes_that_do_nothing_are_all_called(tmp_path: Path) -> None:
    session = Session(idle_graph(40), watch=tmp_path)
    assert session.raw({"x": np.ones(1, np.float32)}) == 1
    assert session.end_watch().read_text().count("_kernel_time") == 40


@pytest.mark.parametrize("place", range(len(SHAPES)))
def test_the_parts_hold_all_of_the_models_work(place: int) -> None:
    found = works(SHAPES[place], LOAD)
    assert sum(sum(work.macs.values()) for work in found) == macs(SHAPES[place], passes(SHAPES[place], LOAD))
    lookups = found[0].weight_bytes
    assert sum(work.weight_bytes for work in found) - lookups == weight_bytes(SHAPES[place], tables=False)


def test_the_parts_of_a_measured_model_add_up_to_the_inference(tmp_path: Path) -> None:
    section = measure_parts(written(LARGEST, tmp_path), LARGEST, LOAD, ROUND, known_from="by hand")
    assert section.whole_ms > 0
    assert sum(part.milliseconds for part in section.parts) >= 0.999 * section.whole_ms
    assert section.parts[-1].part == RUNTIME
    assert OTHER not in {part.part for part in section.parts}


@pytest.mark.long
def test_ceilings_are_those_of_a_profile_made_here_and_else_measured(tmp_path: Path) -> None:
    made_here = replace(load_device("xeon-2core"), name="mine", fingerprint=fingerprint(), ceilings=ROUND)
    (tmp_path / "mine.yaml").write_text(dump_device(made_here))
    assert machine_ceilings(str(tmp_path / "mine.yaml")) == (ROUND, f"measured {made_here.measured_on} (mine)")
    found, known_from = machine_ceilings(str(tmp_path / "gone.yaml"))
    assert known_from == "measured now"
    assert found.gops_int8 > 0


def test_another_device_is_told_from_the_facts_of_the_study() -> None:
    here = {"name": "host", "source": "measured", "fingerprint": fingerprint()}
    assert why_not_here({"device": here}) == ""
    for device in (
        {**here, "source": "datasheet"},
        {**here, "fingerprint": {**fingerprint(), "cpu": "another"}},
        {"name": "host"},
    ):
        assert "device 'host' is not this machine" in why_not_here({"device": device})
    assert "device 'unknown' is not this machine" in why_not_here({})
