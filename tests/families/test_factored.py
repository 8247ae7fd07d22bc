"""Products held as two factors, in every family: what they answer, how they are counted, quantized and deployed."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import onnx
import pytest
import torch
from torch import Tensor

from autocompress.anatomy.factored import Factored, Factors
from autocompress.anatomy.live import LiveModel
from autocompress.anatomy.moments import Moments
from autocompress.anatomy.written import written_weights
from autocompress.core.cost import parameters
from autocompress.core.lowering import RULES, Lowering
from autocompress.core.parts import ModelParts, Part, Storage
from autocompress.deploy.graph import write_graph
from autocompress.deploy.traced import fill, trace
from tests.families.given import answers, inputs, telling
from tests.families.test_contracts import ATTENTION, FEED_FORWARD, TRIED, cut, own
from tests.families.test_traced import TRACED, axes, quantized, ran
from tests.families.test_written import FURTHER, WRITTEN, live_of

RANK: Final = 3


def few(weight: Tensor, bias: Tensor | None, _: Moments | None) -> Factors:
    """The largest singular values, whatever is lost."""
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    return Factors(right[:RANK], left[:, :RANK] * values[:RANK], bias)


def factor(live: LiveModel) -> None:
    live.factor([part.name for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD))], few)


def in_rank(parts: ModelParts, rank: int) -> ModelParts:
    def changed(part: Part) -> Part:
        return replace(part, matrices=tuple(replace(one, rank=rank) for one in part.matrices))

    return replace(parts, parts=tuple(changed(p) if p.kind in (*ATTENTION, *FEED_FORWARD) else p for p in parts.parts))


@pytest.mark.parametrize("form", TRIED)
def test_two_factors_answer_as_their_product_does_and_are_counted_as_they_are(form: str) -> None:
    live = LiveModel(telling(form))
    cut(live)
    before, dense, given = live.parts(), live.own_copy(), inputs(live.model)
    factor(live)
    assert live.parts() == in_rank(before, RANK)
    counted = parameters(live.parts())
    assert counted == sum(tensor.numel() for tensor in live.model.parameters()) < parameters(before)
    for part in own(before, (*ATTENTION, *FEED_FORWARD)):
        for whole, product in zip(dense.products(part.name), live.products(part.name), strict=True):
            assert isinstance(product.slot.module, Factored)
            whole.slot.linear.weight.data = product.slot.module.weight.detach()
    assert (answers(live.model, given) - answers(dense.model, given)).abs().max() < 1e-5
    copied = live.own_copy()
    copied.load(live.state())
    assert torch.equal(answers(copied.model, given), answers(live.model, given))


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.long if n in FURTHER else ()) for n in WRITTEN])
def test_a_written_graph_has_both_factors_in_every_precision(name: str, runtime: str) -> None:
    pytest.importorskip(runtime)
    live = live_of(name)
    factor(live)
    given, whole = inputs(live.model), write_graph(written_weights(live))
    onnx.checker.check_model(whole, full_check=True)
    assert (ran(whole, given, runtime) - answers(live.model, given)).abs().max() < 1e-5
    alone = inputs(live.model, batch=1, length=8)
    for bits in (8, 4):
        rounded = quantized(live, bits)
        assert (
            ran(write_graph(written_weights(rounded)), alone, runtime) - answers(rounded.model, alone)
        ).abs().max() < 1e-3


@pytest.mark.parametrize("name", ["vit", "modernbert"])
def test_every_way_to_write_factors_gives_the_same_answers(name: str) -> None:
    live = live_of(name)
    factor(live)
    given, weights = inputs(live.model), written_weights(live)
    known = answers(live.model, given)
    for graph in (
        *(
            write_graph(weights, lowering=Lowering(fp32=rules))
            for rules in (*((rule,) for rule in RULES), tuple(RULES))
        ),
        write_graph(weights, every_token=True),
    ):
        assert (ran(graph, given) - known).abs().max() < 1e-5


@pytest.mark.long
@pytest.mark.parametrize("form", TRACED)
def test_a_trace_has_both_factors_in_every_precision(form: str) -> None:
    live = LiveModel(telling(form, **TRACED[form]).float())
    factor(live)
    given = inputs(live.model)
    traced = trace(live, given, axes(given))
    assert live.one_row() <= traced.one_row
    assert (ran(fill(traced, live), given) - answers(live.model, given)).abs().max() < 1e-5
    alone = inputs(live.model, batch=1, length=8)
    rounded = quantized(live, 8)
    assert (ran(fill(traced, rounded), alone) - answers(rounded.model, alone)).abs().max() < 1e-4


def test_ranges_between_factors_are_calibrated_and_smoothed_as_those_before_them() -> None:
    model = telling("ViTForImageClassification", num_hidden_layers=1).float()
    live = LiveModel(model, batches=[inputs(model, batch=3)])
    factor(live)
    held = Storage(8, "static", "min-max", 0.5)
    live.quantize([part.name for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD))], held)
    assert {(one.storage, one.rank) for part in live.parts().blocks() for one in part.matrices} == {(held, RANK)}
    limits = [name for name in live.settled() if name.endswith(".limits")]
    assert len(limits) == 12
    given = inputs(model, batch=1)
    graph = write_graph(written_weights(live))
    assert (ran(graph, given) - answers(live.model, given)).abs().max() < 1e-3
    other = LiveModel(telling("ViTForImageClassification", num_hidden_layers=1).float(), known=live.settled())
    factor(other)
    other.quantize([part.name for part in own(other.parts(), (*ATTENTION, *FEED_FORWARD))], held)
    assert torch.equal(answers(live.model, given), answers(other.model, given))
