"""Choosing how to write graphs on this machine, and carrying the choice to where the file is served."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from autocompress import config
from autocompress.anatomy.weights import random_weights
from autocompress.core.device import DeviceProfile
from autocompress.core.encoders import held_in
from autocompress.core.lowering import PLAIN, RULES, SWITCHES, Lowering, Tried
from autocompress.core.parts import ModelParts
from autocompress.core.storage import Storage
from autocompress.core.workload import Workload
from autocompress.deploy.folder import MANIFEST, Manifest, read_manifest, write_manifest
from autocompress.deploy.graph import write_graph
from autocompress.deploy.measure import EXACT_PRODUCTS, products_saturate
from autocompress.deploy.session import EXECUTED, Session
from autocompress.devices.lowering import PAYS, choose_lowering
from autocompress.devices.profiling import bert_shape
from autocompress.errors import IntegrityError

TOY = bert_shape(hidden=32, heads=4, head_size=8, width=64, layers=3)
MINILM = bert_shape(hidden=384, heads=12, head_size=32, width=1536, layers=2)
EVERYTHING = Lowering(fp32=tuple(RULES), int8=tuple(RULES), switches=tuple(SWITCHES))


def in_int8(shape: ModelParts) -> ModelParts:
    return held_in(shape, Storage(8))


def profile(*, lengths: dict[int, Lowering]) -> DeviceProfile:
    made = config.load_device("xeon-2core")
    tables = [
        dataclasses.replace(made.tables[0], workload=Workload(1, length, 1), lowering=lowering)
        for length, lowering in lengths.items()
    ]
    return dataclasses.replace(made, tables=tuple(tables))


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_chosen_is_what_was_measured_to_pay(threads: int) -> None:
    chosen, tried = choose_lowering(TOY, Workload(1, 8, threads), rounds=5, seconds=1.0)
    shares = {(one.bits, one.choices): one.share for one in tried}
    for bits in (8, 32):
        rules = chosen.rules(bits)
        assert rules == () or shares[bits, rules] <= 1 - PAYS + 1e-4
        assert rules == () or shares[bits, rules] == min(
            share for (b, choices), share in shares.items() if b == bits and not set(choices) & set(SWITCHES)
        )
    assert threads > 1 or not chosen.switches
    assert any(set(one.choices) & set(SWITCHES) for one in tried) == (threads > 1)


def test_a_profile_keeps_its_choices_and_one_of_before_has_none(tmp_path: Path) -> None:
    made = profile(lengths={32: EVERYTHING})
    tried = Tried(8, ("attention_node", "projections_apart"), 0.9)
    made = dataclasses.replace(made, tables=(dataclasses.replace(made.tables[0], tried=(tried,)),))
    path = tmp_path / "mine.yaml"
    path.write_text(config.dump_device(made))
    assert config.load_device(path) == made
    tree = config.device_to_json(made)
    for table in tree["tables"]:
        del table["lowering"], table["tried"]
    path.write_text(json.dumps(tree))
    assert config.load_device(path).tables[0].lowering == PLAIN


def test_an_unmeasured_length_takes_the_choice_of_the_nearest() -> None:
    known = profile(lengths={32: PLAIN, 128: EVERYTHING})
    ask = {"hidden": known.tables[0].hidden, "head_size": known.tables[0].head_size}
    assert known.lowering(workload=Workload(1, 128, 1), **ask) == EVERYTHING
    assert known.lowering(workload=Workload(1, 100, 1), **ask) == EVERYTHING
    assert known.lowering(workload=Workload(1, 40, 1), **ask) == PLAIN
    assert known.lowering(workload=Workload(1, 128, 4), **ask) == PLAIN, "never measured with four threads"


@pytest.mark.parametrize("lowering", [PLAIN, EVERYTHING])
@pytest.mark.parametrize("shape", [MINILM, in_int8(MINILM)])
def test_the_runtime_adds_no_slow_fusion_of_its_own(shape: ModelParts, lowering: Lowering, tmp_path: Path) -> None:
    """Its SkipLayerNormalization takes four times what the addition and the normalisation take."""
    graph = write_graph(random_weights(shape, positions=16, seed=0), lowering=lowering)
    Session(graph.SerializeToString(), switches=lowering.session, watch=tmp_path).end_watch()
    operators = [node.op_type for node in onnx.load(str(tmp_path / EXECUTED)).graph.node]
    assert operators.count("LayerNormalization") == 1 + 2 * shape.depth
    assert "SkipLayerNormalization" not in operators
    assert "MatMulInteger" not in operators, "int8 products run as one kernel with what stands around them"


def test_a_session_takes_every_switch_and_the_exact_products_and_answers_the_same() -> None:
    graph = write_graph(random_weights(in_int8(TOY), positions=16, seed=0)).SerializeToString()
    ids = np.arange(1, 13).reshape(1, 12)
    plain = Session(graph, threads=2)
    switched = Session(graph, threads=2, switches={**EVERYTHING.session, **dict([EXACT_PRODUCTS])})
    feed = plain.feed(ids, np.ones_like(ids))
    np.testing.assert_allclose(switched.run(feed), plain.run(feed), atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "architecture", "saturates"),
    [
        ("flags : fpu avx2 avx512f avx512bw", "x86_64", True),
        ("flags : fpu avx2 avx_vnni", "x86_64", False),
        ("flags : fpu avx2 avx512f avx512_vnni amx_int8", "AMD64", False),
        ("Features : fp asimd asimddp", "aarch64", False),
        ("", "x86_64", True),
    ],
)
def test_int8_products_overflow_on_x86_without_vnni(flags: str, architecture: str, saturates: bool) -> None:
    assert products_saturate(flags, architecture) is saturates


def test_a_manifest_carries_switches_and_an_old_or_a_strange_one_is_told_apart(tmp_path: Path) -> None:
    manifest = Manifest("mine", "0" * 16, {}, {"threads": 2}, {}, {}, {}, {}, switches=EVERYTHING.session)
    write_manifest(tmp_path, manifest)
    assert read_manifest(tmp_path) == manifest
    tree = json.loads((tmp_path / MANIFEST).read_text())
    del tree["switches"]
    (tmp_path / MANIFEST).write_text(json.dumps(tree))
    assert read_manifest(tmp_path).switches == {}
    (tmp_path / MANIFEST).write_text(json.dumps({**tree, "switches": {"session.load_model_format": "ORT"}}))
    with pytest.raises(IntegrityError, match="switches that this version does not know"):
        read_manifest(tmp_path)
