"""Every family deploys: traced once, filled in every precision, it answers as torch does."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
import torch

from autocompress.anatomy.live import LiveModel
from autocompress.core.parts import Storage
from autocompress.core.sparsity import Sparsity
from autocompress.deploy.session import Session
from autocompress.deploy.traced import Axes, fill, trace
from tests.families.given import answers, inputs, telling
from tests.families.test_contracts import ATTENTION, FEED_FORWARD, cut, own

ONE: Mapping[str, int] = {"num_hidden_layers": 1}
BOTH: Mapping[str, int] = {"encoder_layers": 1, "decoder_layers": 1}
TRACED: Mapping[str, Mapping[str, object]] = {
    "BertForSequenceClassification": {"num_hidden_layers": 2},
    "DistilBertForSequenceClassification": {"n_layers": 1},
    "MPNetForSequenceClassification": ONE,
    "AlbertForSequenceClassification": {"num_hidden_layers": 2},
    "DebertaV2ForSequenceClassification": ONE,
    "ModernBertForSequenceClassification": {"num_hidden_layers": 2},
    "EuroBertForSequenceClassification": ONE,
    "ViTForImageClassification": ONE,
    "Dinov2ForImageClassification": ONE,
    "Wav2Vec2ForSequenceClassification": ONE,
    "WhisperForAudioClassification": {"encoder_layers": 1},
    "WhisperForConditionalGeneration": BOTH,
    "GPT2ForSequenceClassification": {"n_layer": 1},
    "LlamaForSequenceClassification": ONE,
    "T5ForConditionalGeneration": {"num_layers": 1, "num_decoder_layers": 1},
    "MarianMTModel": BOTH,
}
"""Forms that differ between their products, as few layers of each as tell them apart."""


def axes(given: Mapping[str, torch.Tensor]) -> Axes:
    """All that may be free: an image's and a spectrogram's sizes are the model's."""
    second = {"input_values": "samples", "input_ids": "length", "attention_mask": "length"}
    found = {name: {0: "batch"} for name in given}
    for name in given:
        if name.startswith("decoder"):
            found[name][1] = "written"
        elif name in second:
            found[name][1] = second[name]
    return found


def ran(model: onnx.ModelProto, given: Mapping[str, torch.Tensor], runtime: str = "onnxruntime") -> torch.Tensor:
    session = Session(model.SerializeToString(), runtime=runtime)
    wanted = {entry.name for entry in model.graph.input}
    return torch.from_numpy(session.run({name: one.numpy() for name, one in given.items() if name in wanted}))


def quantized(live: LiveModel, bits: int) -> LiveModel:
    storage = Storage(bits)  # type: ignore[arg-type]
    live = live.copy()
    live.quantize([part.name for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD))], storage)
    if live.token_tables():
        live.quantize_embeddings(bits)  # type: ignore[arg-type]
    return live


OFTEN = ("MPNetForSequenceClassification", "ViTForImageClassification")
"""Traced in every run of the suite: a trace takes seconds, most of them for sizes that stay free."""


class TestContracts:
    @pytest.mark.parametrize(
        "form", [pytest.param(form, marks=() if form in OFTEN else pytest.mark.long) for form in TRACED]
    )
    def test_a_trace_gives_torchs_answers_in_every_precision(self, form: str) -> None:
        live = LiveModel(telling(form, **TRACED[form]).float())
        cut(live)
        given = inputs(live.model)
        traced = trace(live, given, axes(given))
        assert bool(live.one_row()) == (live.read == 1)
        assert live.one_row() <= traced.one_row
        whole = fill(traced, live)
        onnx.checker.check_model(whole)
        for one in (given, inputs(live.model, batch=3, length=7)):
            assert (ran(whole, one) - answers(live.model, one)).abs().max() < 1e-5
        alone = inputs(live.model, batch=1, length=8)  # activations get one scale a file, so texts come singly
        plain = answers(live.model, alone)
        for bits in (8, 4, 1):
            rounded = quantized(live, bits)
            known = answers(rounded.model, alone)
            assert (ran(fill(traced, rounded), alone) - known).abs().max() < 1e-4
            assert (known - plain).abs().max() > 1e-3  # rounding shows
        assert b"site-packages" not in whole.SerializeToString()


def test_zeros_static_ranges_and_smoothing_are_traced_as_torch_computes_them() -> None:
    model = telling("ViTForImageClassification", **ONE).float()
    given = inputs(model, batch=1)
    live = LiveModel(model, batches=[inputs(model, batch=3)])
    traced = trace(live, inputs(model), axes(given))
    assert {path.rpartition(".")[2] for path in traced.one_row} == {"q_proj", "o_proj", "fc1", "fc2"}
    blocks = [part.name for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD))]
    whole, sparse = fill(traced, live), live.copy()
    sparse.make_sparse(blocks, Sparsity("1:4", 0.75), "wanda")
    filled = fill(traced, sparse)
    assert (ran(filled, given) - answers(sparse.model, given)).abs().max() < 1e-5
    assert filled.ByteSize() < whole.ByteSize()
    live.quantize(blocks, Storage(8, "static", "min-max", 0.5))
    assert (ran(fill(traced, live), given) - answers(live.model, given)).abs().max() < 1e-4


@pytest.mark.long
def test_shared_layers_are_held_once_in_a_file() -> None:
    live = LiveModel(telling("AlbertForSequenceClassification", num_hidden_layers=2).float())
    given = inputs(live.model)
    rounded = quantized(live, 8)
    filled = fill(trace(live, given, axes(given)), rounded)
    held = [one for one in filled.graph.initializer if one.name.endswith("ffn.weight")]
    assert [(one.data_type, tuple(one.dims)) for one in held] == [(onnx.TensorProto.INT8, (64, 32))]


@pytest.mark.long
def test_openvino_reads_a_trace() -> None:
    pytest.importorskip("openvino")
    live = LiveModel(telling("ViTForImageClassification", **ONE).float())
    given = inputs(live.model)
    filled = fill(trace(live, given, axes(given)), live)
    difference = ran(filled, given, "openvino") - answers(live.model, given)
    assert np.abs(difference.numpy()).max() < 1e-4
