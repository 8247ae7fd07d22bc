"""Profiling this very machine, in small: sizes of a toy, real graphs and real sessions."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import os
import random
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from autocompress import config
from autocompress.anatomy.weights import random_weights
from autocompress.core.attention_form import AttentionForm
from autocompress.core.cost import part_bytes
from autocompress.core.device import COST_FEATURES, DeviceProfile, Estimate, KernelRow, KernelTable
from autocompress.core.encoders import (
    as_measured,
    encoder_layer,
    feed_forward,
    in_form,
    in_rank,
    largest_rank,
    with_layers,
)
from autocompress.core.narrowing import narrowed
from autocompress.core.parts import ModelParts
from autocompress.core.prediction import LatencyPredictor, predictor_of
from autocompress.core.storage import BITS, PLAIN, Storage
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.profiles import profile_to, validate_file
from autocompress.devices.profiling import Effort, bert_shape, loads_to_measure, profile_host
from autocompress.devices.timing import Neighbours, Timed, time_side_by_side, workload_run
from autocompress.devices.validation import Seen, correct, judge, random_shapes, widths_to_measure
from autocompress.errors import HostError, SpecError
from autocompress.pricing import Pricing

TOY = bert_shape(hidden=32, heads=4, head_size=8, width=64, layers=3)
EFFORT = Effort((0.0, 0.5, 1.0), 5, 0.5, None, 3)
LOADS = (Workload(1, 8, 1), Workload(1, 16, 1))


def table(workload: Workload = Workload(), *, scale: float = 1.0) -> KernelTable:  # noqa: B008 - a frozen value
    rows = [
        KernelRow(block, bits, size, scale * ms * (1 if bits == 32 else 0.5), 0.0, 1e3)  # type: ignore[arg-type]
        for bits in (8, 32)
        for block, size, ms in (
            ("base", 0, 0.1), ("attention", 1, 0.2), ("attention", 12, 1.3),
            ("feed_forward", 1, 0.1), ("feed_forward", 1536, 3.2),
            ("last_attention", 1, 0.1), ("last_attention", 12, 0.6),
            ("last_feed_forward", 1, 0.05), ("last_feed_forward", 1536, 0.15),
        )
    ]  # fmt: skip
    return KernelTable(384, 32, workload, tuple(rows))


def profile(*tables: KernelTable) -> DeviceProfile:
    made = config.load_device("xeon-2core")
    return dataclasses.replace(made, tables=tables)


def test_one_profile_serves_whatever_a_head_reads() -> None:
    vectors = replace(TOY, parts=tuple(part for part in TOY.parts if part.kind != "head"), read=None)
    for shape in (vectors, replace(TOY, read=None)):
        measured = as_measured(shape)
        assert (measured.read, measured.classes) == (1, 2), "blocks of a last layer have rows of their own"
        assert list(measured.blocks()) == list(shape.blocks())
        session = Session(write_graph(random_weights(measured, positions=8, seed=0)).SerializeToString())
        workload_run(session, Workload(1, 8, 1), rows=20)()


NEAR = AttentionForm("local", 16, 0)
MINILM = bert_shape(hidden=384, heads=12, head_size=32, width=1536, layers=6)


def test_a_profile_of_this_machine_is_written_read_and_validated(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"
    made = profile_to(path, TOY, LOADS[:1], effort=EFFORT, ranks=True, widths=True, forms=[NEAR])
    assert made == config.load_device(path)
    assert (made.name, made.source, [t.workload for t in made.tables]) == ("toy", "measured", list(LOADS[:1]))
    assert made.ceilings is not None
    assert made.ceilings.gflops_fp32 > 1
    assert made.energy is not None
    assert made.energy.source
    for one in made.tables:
        assert one.correction is not None
        assert one.correction.models == 3
        for row in one.rows:
            assert row.low <= row.milliseconds <= row.high
        wide = {row.rank for row in one.rows if row.block == "feed_forward" and row.width is None}
        assert wide == {0, 1, 10, 21}, "whole, the least rank, a middle one, and the largest that saves anything"
        last = {row.rank for row in one.rows if row.block == "last_attention" and row.width is None}
        assert last == {0, 1, 8, 16}
        for block in ("base", "feed_forward", "last_attention"):
            assert {row.width for row in one.rows if row.block == block} == {None, 16}
        narrow = {row.rank for row in one.rows if row.block == "feed_forward" and row.width == 16}
        assert narrow == {0, 1, 6, 12}, "of a block on a narrower stream"
        assert one.forms == (NEAR,)
        assert {row.block for row in one.rows if row.form == str(NEAR)} == {"attention", "last_attention"}
    checked = validate_file(path, models=3)
    assert checked == config.load_device(path)
    assert [one.accuracy.n for one in checked.tables if one.accuracy] == [3]
    assert not list(tmp_path.glob("*.part"))


def test_an_existing_profile_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("precious")
    with pytest.raises(SpecError, match="exists"):
        profile_to(tmp_path / "mine.yaml", TOY, LOADS, effort=EFFORT)


@pytest.mark.long
def test_an_interrupted_profile_goes_on_with_the_tables_it_has(tmp_path: Path) -> None:
    path = tmp_path / "toy.yaml"

    def stop_at_the_second(text: str, _: float) -> None:
        if "length 16" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile_to(path, TOY, LOADS, effort=EFFORT, progress=stop_at_the_second)
    assert not path.exists()
    first = config.load_device(path.with_name("toy.yaml.part")).tables[0]
    seen: list[str] = []
    made = profile_to(path, TOY, LOADS, effort=EFFORT, progress=lambda text, _: seen.append(text))
    assert made.tables[0] == first
    assert not [text for text in seen if "length 8" in text]
    assert not path.with_name("toy.yaml.part").exists()


def test_a_profile_of_another_machine_is_not_validated_here(tmp_path: Path) -> None:
    path = tmp_path / "far.yaml"
    far = profile(table())
    far = dataclasses.replace(far, fingerprint={**far.fingerprint, "isa": "asimddp"})
    path.write_text(config.dump_device(far))
    with pytest.raises(HostError, match="isa: 'asimddp' there"):
        validate_file(path, models=4)


def test_a_workload_outside_the_table_is_refused_and_one_between_is_interpolated() -> None:
    known = profile(table(Workload(1, 32, 1)), table(Workload(1, 128, 1), scale=4.0))
    ask = {"hidden": 384, "head_size": 32}
    with pytest.raises(ValueError, match="not measured for hidden 384, heads of 32, batch 1, length 256"):
        predictor_of(known, workload=Workload(1, 256, 1), **ask)
    with pytest.raises(ValueError, match="was not measured for hidden 768"):
        predictor_of(known, hidden=768, head_size=64, workload=Workload(1, 32, 1))
    ends = [predictor_of(known, workload=Workload(1, n, 1), **ask)(MINILM) for n in (32, 128)]
    between = predictor_of(known, workload=Workload(1, 80, 1), **ask)(MINILM)
    assert between.value == pytest.approx((ends[0].value + ends[1].value) / 2)
    assert between.spread > ends[0].spread


def test_real_lengths_are_predicted_from_the_lengths_around_them() -> None:
    known = profile(table(Workload(8, 10, 2)), table(Workload(8, 30, 2), scale=3.0))
    ask = {"hidden": 384, "head_size": 32}
    load = Workload(8, 64, 2, "real", (10, 15, 20, 30))
    batches = [predictor_of(known, workload=one, **ask)(MINILM).value for one in load.batches]
    found = predictor_of(known, workload=load, **ask)(MINILM)
    assert found.value == pytest.approx(sum(batches) / 4)
    assert found.spread > predictor_of(known, workload=Workload(8, 10, 2), **ask)(MINILM).spread
    with pytest.raises(ValueError, match="was not measured for hidden 384, heads of 32, batch 8, length 31, 2 threads"):
        predictor_of(known, workload=replace(load, tokens=(10, 31)), **ask)


def test_a_workload_that_was_not_measured_says_how_to_measure_it() -> None:
    load = Workload(8, 64, 2, "real", (11, 15, 29))
    with pytest.raises(SpecError, match="`autocompress profile --batch 8 --threads 2 --length 11 --length 29`"):
        Pricing.of(profile(table(Workload(8, 10, 2))), MINILM, workload=load, objectives=(), constraints={})


def test_throughput_counts_the_texts_of_a_batch() -> None:
    load, wanted = Workload(8, 32, 2), ("quality", "throughput")
    pricing = Pricing.of(profile(table(load)), MINILM, workload=load, objectives=wanted, constraints={})
    found = {one.metric: one for one in pricing.count(MINILM)}
    assert found["throughput"].value == pytest.approx(8e3 / found["latency_ms"].value)
    assert found["throughput"].interval is not None
    assert found["throughput"].interval[0] < found["throughput"].value < found["throughput"].interval[1]
    assert found["throughput"].source == "predicted"


def test_what_must_be_measured_follows_from_the_lengths() -> None:
    def lengths(*tokens: int) -> list[int]:
        return [one.length for one in loads_to_measure(Workload(4, 128, 2, "real", tokens))]

    assert loads_to_measure(Workload(4, 128, 2)) == [Workload(4, 128, 2)]
    assert lengths(18, 19, 20, 23) == [18, 23]
    assert lengths(5, 9, 12, 15, 40) == [5, 15, 40], "far apart, with one between them"
    assert lengths(7, 7) == [7]


@pytest.mark.long
def test_a_large_batch_is_profiled_a_few_graphs_at_a_time() -> None:
    load, seen = Workload(32, 17, 1), []
    made = profile_host(TOY, [load], effort=EFFORT, progress=lambda text, _: seen.append(text))
    (one,) = made.tables
    rows = {(row.block, row.bits, row.size) for row in one.rows}
    assert len(rows) == len(one.rows) == 3 + 4 * 2 * 3
    assert one.correction is not None


def test_threads_of_this_process_are_not_somebody_else() -> None:
    """What the second thread of a model computes is its own doing."""
    used: list[float] = []

    def burn() -> None:
        started = time.thread_time()
        while time.thread_time() - started < 0.3:
            hashlib.sha256(bytes(100_000)).digest()  # lets the other thread run meanwhile
        used.append(time.thread_time() - started)

    threads = [threading.Thread(target=burn) for _ in range(2)]
    before = Neighbours._now()[2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Neighbours._now()[2] - before >= 0.99 * sum(used) > 0.5


def test_further_threads_rest_between_inferences() -> None:
    """A model's second thread must not keep a core from the model that is measured next."""
    session = Session(write_graph(random_weights(TOY, positions=16, seed=0)).SerializeToString(), threads=2)
    run = workload_run(session, Workload(4, 16, 2), rows=100)
    for _ in range(5):
        run()
    before = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - before < 0.02


def test_readings_of_several_inferences_are_told_for_each() -> None:
    (timed,) = time_side_by_side([lambda: sum(range(20_000))], rounds=5, seconds=1)
    half = timed.for_each(2)
    assert half.median == pytest.approx(timed.median / 2)
    assert half.samples[0] == timed.samples[0] / 2
    assert (half.disturbed, half.calls) == (timed.disturbed, timed.calls)


def test_a_slow_run_is_counted_once_a_turn() -> None:
    (timed,) = time_side_by_side([lambda: time.sleep(0.06)], rounds=5, seconds=0.1)
    assert len(timed.samples) == 5


def test_a_size_outside_the_table_is_refused() -> None:
    wider = bert_shape(hidden=384, heads=12, head_size=32, width=3072, layers=1)
    with pytest.raises(ValueError, match="feed_forward of size 3072 in 32 bits was not measured"):
        LatencyPredictor(table())(wider)


def seen_by_law(shapes: list[ModelParts], law: dict[str, float], noise: float, seed: int = 0) -> Seen:
    """Models whose latency follows a law over the table's features, up to noise."""
    draw, plain = random.Random(seed), LatencyPredictor(table())
    weights = [law[name] for name in COST_FEATURES]
    values = [sum(w * x for w, x in zip(weights, plain.features(shape), strict=True)) for shape in shapes]
    timed = tuple(Timed((v * (1 + draw.gauss(0, noise)),)) for v in values)
    return Seen(Workload(), tuple(shapes), timed, (Timed((1.0,)),) * len(timed))


def test_a_slow_minute_makes_no_model_slower() -> None:
    """The second model was timed when the reference took half as long again as beside the two others."""
    shapes, took = tuple(random_shapes(MINILM, count=3, seed=0)), ((2.0, 1.0), (6.0, 1.5), (4.0, 1.0))
    seen = Seen(Workload(), shapes, tuple(Timed((a,)) for a, _ in took), tuple(Timed((b,)) for _, b in took))
    assert seen.reference_ms == 1.0
    assert seen.milliseconds.tolist() == [2.0, 4.0, 4.0]


LAW = dict(zip(COST_FEATURES, (1.0, 1.1, 0.9, 1.05, 1.2, 0.05, 0.1, 0.2, 0.1, 0.2, 0.01), strict=True))


def test_a_correction_finds_what_whole_models_cost_beside_their_blocks() -> None:
    fitted = correct(table(), seen_by_law(random_shapes(MINILM, count=40, seed=1), LAW, 0.005))
    fresh = seen_by_law(random_shapes(MINILM, count=200, seed=2), LAW, 0.005)
    before, after = judge(table(), fresh, how="plain"), judge(fitted, fresh, how="corrected")
    assert after.mape < 0.008 < before.mape
    assert after.within_5 == 1.0


def test_the_interval_of_a_prediction_holds_what_it_promises() -> None:
    """In the mean of several profiles: the interval of each is read off sixty models, so it varies by itself."""
    shares = []
    for seed in range(8):
        fitted = correct(table(), seen_by_law(random_shapes(MINILM, count=60, seed=10 + seed), LAW, 0.03, seed))
        fresh = seen_by_law(random_shapes(MINILM, count=300, seed=100 + seed), LAW, 0.03, 50 + seed)
        predict = LatencyPredictor(fitted)
        inside = [
            (found := predict(shape)).low <= one.median <= found.high
            for shape, one in zip(fresh.shapes, fresh.timed, strict=True)
        ]
        shares.append(sum(inside) / len(inside))
    assert sum(shares) / len(shares) > 0.93


def test_random_shapes_use_every_size_and_both_precisions() -> None:
    shapes = random_shapes(MINILM, count=300, seed=0)
    blocks = [part for shape in shapes for part in shape.blocks()]
    assert {shape.depth for shape in shapes} == set(range(1, 7))
    assert {part.units["heads"] for part in blocks if part.mixing} == set(range(1, 13))
    for kind in ("attention", "feed_forward"):
        assert {part.storages for part in blocks if part.kind == kind} == {(Storage(8),), (PLAIN,)}
    assert shapes == random_shapes(MINILM, count=300, seed=0) != random_shapes(MINILM, count=300, seed=1)
    static = [part for shape in random_shapes(MINILM, count=300, seed=0, static=True) for part in shape.blocks()]
    for kind in ("attention", "feed_forward"):
        held = {part.storages for part in static if part.kind == kind}
        assert held == {(Storage(8),), (PLAIN,), (Storage(8, "static"),)}


def test_every_other_block_of_random_shapes_has_two_factors_where_ranks_are_measured() -> None:
    shapes = random_shapes(MINILM, count=100, seed=0, ranks=True)
    blocks = [part for shape in shapes for part in shape.blocks()]
    ranked = [part for part in blocks if part.matrices[0].rank]
    assert 0.4 < len(ranked) / len(blocks) < 0.6
    for part in ranked:
        assert len({one.rank for one in part.matrices}) == 1
        assert part_bytes(part) <= part_bytes(in_rank(part, None)) + 4 * part.vectors


def test_between_two_ranks_a_block_takes_its_share_of_each() -> None:
    ranks = [
        KernelRow(block, 32, size, rank * size / 1e3, 0.0, 1e3, rank=rank)  # type: ignore[arg-type]
        for block in ("feed_forward", "last_feed_forward")
        for size in (1, 1536)
        for rank in (1, 200)
    ]
    whole = table()
    known = LatencyPredictor(replace(whole, rows=(*whole.rows, *ranks)))
    shape = with_layers(MINILM, [(feed_forward(i, 384, 768),) for i in range(2)])
    ranked = with_layers(MINILM, [(in_rank(feed_forward(i, 384, 768), 100),) for i in range(2)])
    assert known(shape) == LatencyPredictor(whole)(shape), "whole blocks are not predicted by others"
    assert known(ranked).value == pytest.approx(0.1 + 2 * 100 * 768 / 1e3)
    too_high = with_layers(MINILM, [(in_rank(feed_forward(0, 384, 768), 250),)])
    with pytest.raises(ValueError, match="in rank 250 was not measured .measured ranks: 1 to 200.; .* --low-rank"):
        known(too_high)
    with pytest.raises(ValueError, match="in rank 100 was not measured .measured ranks: nothing.; profile the device"):
        LatencyPredictor(whole)(ranked)


def test_between_two_widths_of_the_stream_a_block_takes_its_share_of_each() -> None:
    whole = table()
    half = [replace(row, width=192, milliseconds=row.milliseconds / 2, low=0.0) for row in whole.rows]
    known, shape = LatencyPredictor(replace(whole, rows=(*whole.rows, *half))), narrowed(MINILM, 288)
    assert known(MINILM) == LatencyPredictor(whole)(MINILM), "the whole stream is not predicted by others"
    assert known(shape).value == pytest.approx(0.75 * known(MINILM).value)
    assert known(narrowed(MINILM, 192)).value == pytest.approx(0.5 * known(MINILM).value)
    with pytest.raises(
        ValueError, match="in hidden size 96 was not measured .measured hidden sizes: 192 to 384.; .*--wid"
    ):
        known(narrowed(MINILM, 96))
    with pytest.raises(
        ValueError, match="in hidden size 288 was not measured .measured hidden sizes: 384.; profile the"
    ):
        LatencyPredictor(whole)(shape)


def test_every_other_random_model_has_a_narrower_stream_where_widths_are_measured() -> None:
    shapes = random_shapes(MINILM, count=100, seed=0, widths=True)
    widths = [shape.width for shape in shapes]
    assert 35 < sum(width < 384 for width in widths) < 60
    assert min(widths) >= 96


def test_two_factors_on_a_narrower_stream_are_predicted_between_ranks_and_widths() -> None:
    whole = table()
    rows = [
        KernelRow(block, bits, size, 0.001 * (width or 384) * rank, 0.0, 1e3, rank=rank, width=width)
        for block, size in itertools.product(("feed_forward", "last_feed_forward"), (1, 1536))
        for width, rank in ((None, 1), (None, 200), (192, 1), (192, 150))
        for bits in BITS
    ]
    half = [replace(row, width=192) for row in whole.rows]
    known = LatencyPredictor(replace(whole, rows=(*whole.rows, *half, *rows)))

    def feed_forward_ms(width: int, rank: int) -> float:
        """Of one in this rank, where a model with a whole one takes the same otherwise."""
        layers = [encoder_layer(i, 384, heads=12, head_size=32, channels=1536) for i in range(2)]
        model = narrowed(with_layers(MINILM, layers), width)
        ranked = model.with_part("layers.0.feed_forward", lambda part: in_rank(part, rank))
        return known(ranked).value - known(model).value + 3.2

    assert feed_forward_ms(192, 75) == pytest.approx(0.001 * 192 * 75)
    assert feed_forward_ms(288, 75) == pytest.approx(0.001 * 288 * 75)
    with pytest.raises(ValueError, match="in rank 170 in hidden size 192 was not measured .measured ranks: 1 to 150"):
        feed_forward_ms(288, 170)


def test_random_models_have_two_factors_on_narrower_streams_too_as_far_as_they_are_measured() -> None:
    shapes = random_shapes(MINILM, count=100, seed=0, ranks=True, widths=True)
    ranks = {one.width: {m.rank or 0 for p in one.blocks() for m in p.matrices} for one in shapes if one.width < 384}
    assert sum(any(found) for found in ranks.values()) > 5
    for width, found in ranks.items():
        measured = max(one for one in widths_to_measure(384) if one <= width)
        assert max(found) <= largest_rank(measured, 1536)


def test_a_form_of_attention_is_predicted_where_it_was_measured_and_nowhere_else() -> None:
    near, whole = AttentionForm("local", 64, 1), table()
    rows = [KernelRow("attention", 32, size, 0.05 * size, 0.0, 1e3, form=str(near)) for size in (1, 12)]
    known = LatencyPredictor(replace(whole, rows=(*whole.rows, *rows)))
    layers = [encoder_layer(i, 384, heads=12, head_size=32, channels=1536) for i in range(2)]
    formed = with_layers(MINILM, [tuple(in_form(part, near) for part in layer) for layer in layers])
    saved = known(with_layers(MINILM, layers)).value - known(formed).value
    assert saved == pytest.approx(1.3 - 0.6), "of the layer before the last, whose first position sees all"
    asked = "of the form local, window 64, 1 global was not measured .measured: nothing.; .* --attention 'local, window"
    with pytest.raises(ValueError, match=asked):
        LatencyPredictor(whole)(formed)
    ranked = with_layers(MINILM, [tuple(in_rank(part, 8) for part in formed.blocks())])
    with pytest.raises(ValueError, match="in rank 8 of the form local, window 64, 1 global was not measured"):
        known(ranked)
    shapes = random_shapes(MINILM, count=60, seed=0, forms=[near])
    forms = [part.mixing.form for shape in shapes for part in shape.blocks() if part.mixing]
    assert 0.2 < forms.count(near) / len(forms) < 0.5


def test_an_estimate_never_reaches_below_zero() -> None:
    assert Estimate.around(2.0, 1.5) == Estimate(2.0, 0.0, 5.0)


def test_layers_of_unequal_precision_are_summed_by_block() -> None:
    sizes = {"heads": 12, "head_size": 32, "channels": 1536}
    mixed = [encoder_layer(i, 384, **sizes, held=Storage(8), feed_forward_held=PLAIN) for i in range(2)]
    shape = with_layers(MINILM, mixed, words_in=Storage(8))
    assert LatencyPredictor(table())(shape).value == pytest.approx(0.05 + (0.65 + 3.2) + (0.3 + 0.15))


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="somebody else at work needs a second core")
def test_somebody_else_at_work_is_noticed() -> None:
    burner = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        neighbours, runs = Neighbours(), [lambda: sum(range(40_000))]
        (timed,) = time_side_by_side(runs, rounds=400, seconds=1.5)
        assert timed.noticed
        assert neighbours.busy() > 0.5
    finally:
        burner.kill()
        burner.wait()
