from typing import Any

import pytest
import torch
from torch import nn

from autocompress.anatomy import FAMILIES, Anatomy, family_of
from autocompress.core.cost import macs, passes, weight_bytes
from autocompress.core.encoders import attention
from autocompress.core.parts import ModelParts
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.errors import SpecError
from autocompress.testing import family_contract
from tests.conftest import WRITTEN, build_model


@pytest.mark.parametrize("family", WRITTEN)
def test_every_family_passes_the_contract(family: str) -> None:
    family_contract(build_model(family), FAMILIES)


def test_shape_says_what_the_model_is(anatomy: Anatomy) -> None:
    shape = anatomy.shape()
    assert (shape.depth, shape.width, shape.vocabulary) == (3, 64, 100)
    assert shape["layers.1.attention"] == attention(1, 64, heads=4, head_size=16)
    assert [one.outputs for one in shape["head"].matrices] == [64, 3]


def work(shape: ModelParts) -> int:
    """Of a batch of two texts of ten tokens, as the model itself computes it."""
    return macs(shape, passes(shape, Workload(2, 10), whole=True))


def test_macs_equal_those_that_torch_counts_on_eager_attention(bert: Anatomy) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    model: Any = bert.model
    model.set_attn_implementation("eager")  # the default one hides the attention products from the counter
    ids = torch.ones((2, 10), dtype=torch.int64)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(input_ids=ids, attention_mask=torch.ones_like(ids))
    assert counter.get_total_flops() == 2 * work(bert.shape())


@pytest.mark.parametrize("family", WRITTEN)
def test_predicted_size_is_that_of_the_file(anatomy: Anatomy) -> None:
    for quantized in (False, True):
        if quantized:
            anatomy.quantize([slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)])
            anatomy.quantize_embeddings()
        written = len(write_graph(anatomy.weights()).SerializeToString())
        # what is left is the graph itself: names and nodes, about 6 kB a layer whatever the model's size
        assert 0 < written - weight_bytes(anatomy.shape()) + 8 * 64 * 4 < 40_000


def test_a_model_of_an_unknown_family_is_refused_by_what_it_would_need() -> None:
    model = nn.Linear(2, 2)
    with pytest.raises(SpecError, match="no anatomy for the family 'Linear': it would need a description of where"):
        Anatomy(model, FAMILIES)
    with pytest.raises(SpecError, match=r"family 'xlnet': it would need positions relative to each other") as caught:
        family_of("xlnet", FAMILIES)
    assert "did you mean" not in str(caught.value), "another model_type is never the way"


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh", "relu"])
def test_activations_of_feed_forward_blocks_are_written_as_they_are(activation: str) -> None:
    family_contract(build_model("electra", hidden_act=activation), FAMILIES)


def test_an_activation_that_is_not_written_is_refused() -> None:
    with pytest.raises(
        SpecError, match=r"the activation 'silu', .* \(allowed: gelu, gelu_new, gelu_pytorch_tanh, relu\)"
    ):
        Anatomy(build_model("bert", hidden_act="silu"), FAMILIES)


def test_a_table_that_no_text_has_a_row_of_is_refused(bert: Anatomy) -> None:
    bert.embedded.entity_embeddings = nn.Embedding(3, 64)
    with pytest.raises(SpecError, match="its embeddings add entity_embeddings"):
        Anatomy(bert.model, FAMILIES)


def test_embeddings_narrower_than_the_layers_are_counted_as_they_are() -> None:
    narrow = Anatomy(build_model("electra"), FAMILIES).shape()
    assert (narrow.width, {table.width for table in narrow["embeddings"].tables}) == (64, {32})
    wide = Anatomy(build_model("bert"), FAMILIES).shape()
    assert wide["embeddings"].matrices == ()
    assert work(narrow) - work(wide) == 2 * 10 * 32 * 64


def test_a_model_whose_layers_are_not_plain_is_refused(bert: Anatomy) -> None:
    layer = bert.layers[0].module
    layer.extra = nn.Linear(4, 4)
    with pytest.raises(SpecError, match="layer 0 is no plain encoder layer"):
        Anatomy(bert.model, FAMILIES)


@pytest.mark.parametrize(
    ("setting", "value", "told"),
    [("is_decoder", True, "is_decoder: true"), ("position_embedding_type", "relative_key", "relative_key")],
)
def test_a_model_whose_mask_or_positions_are_built_another_way_is_refused(
    bert: Anatomy, setting: str, value: object, told: str
) -> None:
    model: Any = bert.model
    setattr(model.config, setting, value)
    with pytest.raises(SpecError, match=told):
        Anatomy(model, FAMILIES)
