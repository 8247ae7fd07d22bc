"""Classifiers whose graph is traced are searched like others: steps do to them what they do to their numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from torch import Tensor

from autocompress import operators
from autocompress.anatomy import FAMILIES, LiveAnatomy, anatomy_of
from autocompress.anatomy.inputs import audio_length, audio_positions, image_positions
from autocompress.core.narrowing import why_whole
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.deploy.forms import GraphMaker
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill.features import recorded
from autocompress.errors import SpecError
from autocompress.importance import CRITERIA, Importance, measure_importance, no_preference
from autocompress.inputs.image_reading import preprocessing_of
from autocompress.inputs.pictures import Pictures
from autocompress.inputs.recordings import Recordings
from autocompress.tasks import batches
from tests.families.given import answers, inputs, telling
from tests.families.test_traced import ran
from tests.model.test_operators import mask_stream

SEARCHED = [
    *("AlbertForSequenceClassification", "DebertaV2ForSequenceClassification", "EuroBertForSequenceClassification"),
    *("ModernBertForSequenceClassification", "MPNetForSequenceClassification"),
    *("ViTForImageClassification", "DeiTForImageClassification", "Dinov2ForImageClassification"),
    *("WhisperForAudioClassification", "Wav2Vec2ForSequenceClassification", "HubertForSequenceClassification"),
    "ASTForAudioClassification",
]
NARROWED = [
    *("EuroBertForSequenceClassification", "ModernBertForSequenceClassification", "MPNetForSequenceClassification"),
    *("ViTForImageClassification", "DeiTForImageClassification"),
]
EVEN = list(range(0, 32, 2))


def some_pictures(count: int, positions: int) -> Pictures:
    """For models of 24 x 24 pixels in patches of 8 x 8."""
    generator = np.random.default_rng(0)
    values = generator.integers(0, 256, (count, 3, 24, 24)).astype(np.uint8)
    return Pictures(
        ("",) * count, values, generator.integers(0, 3, count), preprocessing_of({"do_resize": False}), positions
    )


def some_rows(count: int, anatomy: LiveAnatomy) -> Pictures | Recordings:
    """As a model that reads no words reads them."""
    model, generator = anatomy.model, np.random.default_rng(0)
    if anatomy.family.modality == "image":
        return some_pictures(count, image_positions(model.config))
    name = str(model.main_input_name)
    values = inputs(model, batch=count)[name]
    positions = audio_positions(model.config, audio_length(model.config) or values.shape[1])
    return Recordings(("",) * count, values.numpy(), generator.integers(0, 3, count), name, 1, positions)


def opened(form: str) -> LiveAnatomy:
    anatomy = anatomy_of(telling(form, vocab_size=100, num_labels=3, num_hidden_layers=3).float())
    assert isinstance(anatomy, LiveAnatomy)
    return anatomy


def test_all_families_without_a_written_graph_are_tried_here() -> None:
    known = {form: opened(form) for form in SEARCHED}
    assert {form for form, one in known.items() if not why_whole(one.shape())} == set(NARROWED)
    tried = {one.family.model_type for one in known.values()}
    assert tried == {name for name, family in FAMILIES.items() if not family.like_bert}


@pytest.mark.parametrize("form", SEARCHED)
def test_steps_shrink_a_model_as_they_shrink_its_numbers(form: str) -> None:
    anatomy = opened(form)
    policy = CompressionPolicy(
        (
            Step("remove_layer", "layers.2"),
            Step("prune_heads", "layers.0.attention", {"heads": 2}),
            Step("prune_channels", "layers.0.feed_forward", {"channels": 20}),
            *([] if why_whole(anatomy.shape()) else [Step("prune_hidden", "*", {"hidden_size": 16})]),
            *([Step("prune_vocabulary", "embeddings", {"rows": 60})] if anatomy.reads_words else []),
            Step("low_rank", "layers.0", {"rank": 0.2}),
            Step("prune_weights", "layers.1", {"pattern": "2:4"}),
            *(Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(2)),
            *([Step("quantize", "embeddings", {"bits": 4})] if anatomy.reads_words else []),
        )
    )
    effective, expected = operators.effective(policy, anatomy.shape())
    student = anatomy.copy()
    operators.apply(effective, student, no_preference(anatomy.shape()))
    assert student.shape() == expected
    assert all(one.rank or one.sparsity for part in expected.blocks() for one in part.matrices)
    again = anatomy_of(student.copy().model)  # whoever opens it finds the layers that are left
    assert again.shape() == expected
    given = inputs(anatomy.model)
    assert answers(again.model, given).equal(answers(student.model, given))


def narrower(form: str = "MPNetForSequenceClassification", **options: Any) -> LiveAnatomy:
    """A model without every other channel of its stream."""
    found = anatomy_of(opened(form).model, **options)
    assert isinstance(found, LiveAnatomy)
    found.keep_hidden(EVEN)
    return found


@pytest.mark.parametrize("form", NARROWED)
def test_a_narrower_stream_equals_a_masked_one(form: str) -> None:
    whole, narrow = opened(form), narrower(form)
    given = inputs(whole.model)
    mask_stream(whole.model, EVEN, width=32)
    assert (answers(narrow.model, given) - answers(whole.model, given)).abs().max() < 1e-5


def first_read(anatomy: LiveAnatomy, given: Mapping[str, Tensor]) -> Tensor:
    """What the first product of the first layer makes of real positions."""
    found: list[Tensor] = []
    module = anatomy.layers[0].of_attention.query.module
    module.register_forward_hook(lambda _, __, output: found.append(output))
    answers(anatomy.model, given)
    mask = given.get("attention_mask")
    return found[0].flatten(0, -2) if mask is None else found[0][mask.bool()]


@pytest.mark.parametrize("form", NARROWED)
def test_readers_of_the_stream_miss_less_of_it_on_texts(form: str) -> None:
    whole = opened(form)
    given = inputs(whole.model, batch=32)
    known = first_read(whole, given)
    cut, told = (first_read(narrower(form, texts=texts), given) - known for texts in ((), (given,)))
    assert told.square().sum() < cut.square().sum()


@pytest.mark.parametrize("form", [form for form in NARROWED if not form.startswith("MPNet")])
def test_a_narrower_stream_is_written_as_it_is(form: str) -> None:
    narrow = narrower(form)
    given = inputs(narrow.model)
    graph = write_graph(narrow.weights())
    assert (ran(graph, given, "onnxruntime") - answers(narrow.model, given)).abs().max() < 1e-5


@pytest.mark.long
def test_a_narrower_stream_is_traced_as_it_is() -> None:
    narrow = narrower()
    given = inputs(narrow.model)
    session = Session(GraphMaker("traced").graph(narrow).SerializeToString())
    got = session.run(session.feed(given["input_ids"].numpy(), given["attention_mask"].numpy()))
    assert np.abs(got - answers(narrow.model, given).numpy()).max() < 1e-4


def test_the_last_layer_is_priced_for_what_its_head_reads() -> None:
    assert {form: opened(form).shape().read for form in SEARCHED} == {
        "AlbertForSequenceClassification": None,  # its layers are one, which cannot compute less in its last place
        "DebertaV2ForSequenceClassification": 1,
        "EuroBertForSequenceClassification": None,  # its head means what it says of each token
        "ModernBertForSequenceClassification": 1,
        "MPNetForSequenceClassification": 1,
        "ViTForImageClassification": 1,
        "DeiTForImageClassification": 1,
        "Dinov2ForImageClassification": None,  # its head reads the mean of all patches, too
        "WhisperForAudioClassification": None,
        "Wav2Vec2ForSequenceClassification": None,
        "HubertForSequenceClassification": None,
        "ASTForAudioClassification": None,  # two tokens before its patches
    }
    pooled = telling("ModernBertForSequenceClassification", classifier_pooling="mean").float()
    assert anatomy_of(pooled).shape().read is None


@pytest.mark.parametrize("form", SEARCHED)
def test_their_heads_and_channels_are_scored(form: str, make_examples) -> None:  # type: ignore[no-untyped-def]
    anatomy = opened(form)
    rows = make_examples(8) if anatomy.reads_words else some_rows(8, anatomy)
    found = measure_importance(anatomy, batches(rows, 8), {"fisher", "taylor", "magnitude", "entropy"} & set(CRITERIA))
    for scores in (found.heads["fisher"], found.heads["magnitude"]):
        assert {layer: len(heads) for layer, heads in scores.items()} == dict.fromkeys(range(3), 4)
    assert {len(channels) for channels in found.channels["magnitude"].values()} == {64}
    assert all((heads > 0).all() for heads in found.heads["fisher"].values())


def test_what_layers_do_not_have_by_themselves_is_not_compared() -> None:
    with (
        pytest.raises(SpecError, match="modernbert computes queries, keys and values in one product"),
        recorded(opened("ModernBertForSequenceClassification"), {"query"}),
    ):
        pass
    with (
        pytest.raises(SpecError, match="the layers of albert are one module computed several times"),
        recorded(opened("AlbertForSequenceClassification"), {"hidden"}),
    ):
        pass


def test_heads_that_share_a_key_stay_together() -> None:
    anatomy = opened("EuroBertForSequenceClassification")
    assert {layer.of_attention.queries_per_key for layer in anatomy.layers} == {2}
    scores = {layer: np.array([5.0, 0.0, 3.0, 4.0]) for layer in range(3)}
    found = Importance({"fisher": scores}, {})
    assert found.best_heads("fisher", 0, 2) == [0, 3]
    step = Step("prune_heads", "layers.1.attention", {"heads": 2, "importance": "fisher"})
    expected = anatomy.copy()
    expected.keep_heads(1, [2, 3])
    student = anatomy.copy()
    operators.OPERATORS["prune_heads"].apply(student, step, found)
    assert student.shape()["layers.1.attention"].units == {"heads": 2, "key_value_heads": 1}
    given = inputs(anatomy.model)
    assert answers(student.model, given).equal(answers(expected.model, given))
