"""Families whose blocks we write: the graph answers as torch does, in every precision and runtime, without a trace."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import onnx
import pytest

from autocompress.anatomy import anatomy_of
from autocompress.anatomy.live import LiveModel
from autocompress.anatomy.written import why_not_written, written_weights
from autocompress.core.lowering import RULES, Lowering
from autocompress.core.parts import Storage
from autocompress.deploy.graph import Place, write_graph, written_places
from autocompress.errors import SpecError
from autocompress.families import FAMILIES
from tests.families.given import LIVELY, answers, inputs, telling
from tests.families.test_contracts import ATTENTION, FEED_FORWARD, cut, own
from tests.families.test_traced import quantized, ran

MODERN: Final = LIVELY["ModernBertForSequenceClassification"]
STABLE: Final = {"feat_extract_norm": "layer", "conv_bias": True, "do_stable_layer_norm": True}
WRITTEN: Final[Mapping[str, tuple[str, Mapping[str, object]]]] = {
    "vit": ("ViTForImageClassification", {}),
    "deit": ("DeiTForImageClassification", {"qkv_bias": False}),
    "modernbert": ("ModernBertForSequenceClassification", MODERN),
    "modernbert, pooled": ("ModernBertForSequenceClassification", {**MODERN, "classifier_pooling": "mean"}),
    "modernbert, by token": ("ModernBertForTokenClassification", MODERN),
    "eurobert": ("EuroBertForSequenceClassification", {}),
    "eurobert, first": ("EuroBertForSequenceClassification", {"classifier_pooling": "bos"}),
    "eurobert, by token": ("EuroBertForTokenClassification", {}),
    "wav2vec2": ("Wav2Vec2ForSequenceClassification", {}),
    "wav2vec2, pre-norm": ("Wav2Vec2ForSequenceClassification", STABLE),
    "hubert": ("HubertForSequenceClassification", {}),
}


def live_of(name: str) -> LiveModel:
    """Cut in every block, and without its first layer."""
    form, settings = WRITTEN[name]
    live = LiveModel(telling(form, **settings).float())
    cut(live)
    live.keep_layers("layers", live.layers("layers")[1:])
    return live


FURTHER: Final = ("eurobert, by token", "deit", "modernbert, by token", "modernbert, pooled", "hubert")
"""Forms of what others are tried on."""


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.long if name in FURTHER else ()) for name in WRITTEN])
def live(request: pytest.FixtureRequest) -> LiveModel:
    return live_of(request.param)


def test_every_family_that_is_written_is_tried_here() -> None:
    tried = {live_of(name).family.model_type for name in WRITTEN}
    assert tried == {name for name, family in FAMILIES.items() if family.writing is not None}


def test_patches_that_are_no_squares_are_left_to_the_trace() -> None:
    live = LiveModel(telling("ViTForImageClassification", patch_size=[8, 12]).float())
    assert why_not_written(live) == "its patches are no squares"
    with pytest.raises(SpecError, match="no written graph, as its patches are no squares"):
        written_weights(live)


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_written_graph_gives_torchs_answers_in_every_precision(live: LiveModel, runtime: str) -> None:
    pytest.importorskip(runtime)
    whole = write_graph(written_weights(live))
    onnx.checker.check_model(whole, full_check=True)
    for one in (inputs(live.model), inputs(live.model, batch=3, length=7)):
        assert (ran(whole, one, runtime) - answers(live.model, one)).abs().max() < 1e-5
    alone = inputs(live.model, batch=1, length=8)  # activations get one scale a file, so texts come singly
    for bits in (8, 4, 2) if runtime == "onnxruntime" else (8, 4):
        rounded = quantized(live, bits)
        known = answers(rounded.model, alone)
        # runtimes round the last bit of a scale differently, which can move an activation by one of 255 steps
        assert (ran(write_graph(written_weights(rounded)), alone, runtime) - known).abs().max() < 1e-3
        assert (known - answers(live.model, alone)).abs().max() > 1e-3  # rounding shows


@pytest.mark.parametrize("name", ["vit", "modernbert", "eurobert, first"])
def test_every_way_to_write_it_gives_the_same_answers(name: str) -> None:
    live = live_of(name)
    given, weights = inputs(live.model), written_weights(live)
    known = answers(live.model, given)
    ways = [*((rule,) for rule in RULES), tuple(RULES)]
    graphs = [write_graph(weights, lowering=Lowering(fp32=rules)) for rules in ways]
    for graph in (*graphs, write_graph(weights, every_token=True), write_graph(weights, opset=17)):
        assert (ran(graph, given) - known).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["vit", "wav2vec2, pre-norm"])
def test_static_ranges_and_smoothing_are_written_as_torch_computes_them(name: str) -> None:
    form, settings = WRITTEN[name]
    model = telling(form, **settings).float()
    live = LiveModel(model, batches=[inputs(model, batch=3)])
    live.quantize(
        [part.name for part in own(live.parts(), (*ATTENTION, *FEED_FORWARD))], Storage(8, "static", "min-max", 0.5)
    )
    graph, given = write_graph(written_weights(live)), inputs(model, batch=1)
    assert any(node.op_type == "QuantizeLinear" for node in graph.graph.node)
    for runtime in ("onnxruntime", "openvino"):
        assert (ran(graph, given, runtime) - answers(live.model, given)).abs().max() < 1e-3


def test_what_a_lone_layer_lacks_or_a_window_hides_is_in_the_graph() -> None:
    live = LiveModel(telling("ModernBertForSequenceClassification", **MODERN, num_hidden_layers=2).float())
    given = inputs(live.model, length=12)
    near = answers(live.model, given)
    assert (ran(write_graph(written_weights(live)), given) - near).abs().max() < 1e-5
    windows = [layer.attention.window for layer in written_weights(live).layers if layer.attention]
    assert windows == [None, 3]
    assert [bool(layer.attention and layer.attention.norm) for layer in written_weights(live).layers] == [False, True]


def test_places_of_a_pre_norm_graph_follow_its_blocks() -> None:
    places = written_places(write_graph(written_weights(LiveModel(telling("ViTForImageClassification").float()))))
    assert sorted({place.block for place in places.values()}) == list(range(6))
    assert places["logits"] == Place(5, is_norm=False)


def test_weights_in_4_bits_mean_the_same_to_openvino() -> None:
    pytest.importorskip("openvino")
    anatomy = anatomy_of(telling("BertForSequenceClassification").float())
    anatomy.quantize([slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)], bits=4)
    anatomy.quantize_embeddings(bits=4)
    graph, given = write_graph(anatomy.weights()), inputs(anatomy.model, batch=1)
    assert (ran(graph, given, "openvino") - answers(anatomy.model, given)).abs().max() < 1e-4


def test_what_has_no_written_graph_says_why() -> None:
    why = {
        form: why_not_written(LiveModel(telling(form, **settings)))
        for form, settings in {
            "MPNetForSequenceClassification": {},
            "Wav2Vec2ForCTC": {},
            "ViTForImageClassification": {"hidden_act": "quick_gelu"},
            "DeiTForImageClassificationWithTeacher": {},
        }.items()
    }
    assert why == {
        "MPNetForSequenceClassification": "a mpnet has blocks that no graph of ours is written for",
        "Wav2Vec2ForCTC": "its head is that of a Wav2Vec2ForCTC",
        "ViTForImageClassification": "its config has `hidden_act: quick_gelu`",
        "DeiTForImageClassificationWithTeacher": "its head is that of a DeiTForImageClassificationWithTeacher",
    }
    with pytest.raises(SpecError, match="it has no written graph, as a mpnet has blocks .* it is deployed by tracing"):
        written_weights(LiveModel(telling("MPNetForSequenceClassification")))
