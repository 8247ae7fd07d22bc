"""A head behind every token: every layer computes them all, and the graph says what the model says of each real one."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoConfig

from autocompress.anatomy import FAMILIES, LiveAnatomy, anatomy_of
from autocompress.anatomy.heads import TOKENS, empty_model, head_of
from autocompress.core.cost import macs, parameters, passes
from autocompress.core.storage import Storage
from autocompress.core.text_inputs import IDS, MASK
from autocompress.core.workload import Workload
from autocompress.deploy.forms import GraphMaker
from autocompress.deploy.graph import write_graph
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session
from autocompress.inputs.outputs import blank, stacked

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
DISTILBERT = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24}
WRITTEN = [name for name, family in FAMILIES.items() if family.like_bert]


def tagger(family: str) -> torch.nn.Module:
    sizes = (
        SIZES | (DISTILBERT if family == "distilbert" else {}) | ({"embedding_size": 8} if family == "electra" else {})
    )
    torch.manual_seed(0)
    config = AutoConfig.for_model(family, **sizes, max_position_embeddings=40, pad_token_id=1, num_labels=5)
    model: torch.nn.Module = empty_model(config, TOKENS)
    return model


@pytest.mark.parametrize("family", WRITTEN)
def test_the_graph_answers_for_every_token(family: str) -> None:
    whole = anatomy_of(tagger(family))
    assert head_of(whole.model) == TOKENS
    small = whole.copy()
    small.keep_layers([1])
    small.keep_heads(1, [0])
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    ids[1, 4:] = 1
    for anatomy in (whole, small):
        assert parameters(anatomy.shape()) == sum(one.numel() for one in anatomy.model.parameters())
        with torch.inference_mode():
            expected = blank(anatomy.model(**{IDS: ids, MASK: mask}).logits.numpy(), mask.numpy())
        session = Session(write_graph(anatomy.weights()).SerializeToString())
        found = blank(session.run(session.feed(ids.numpy(), mask.numpy())), mask.numpy())
        assert found.shape == (3, 9, 5)
        np.testing.assert_allclose(found, expected, atol=1e-5)
        tokens = [row[:length].numpy() for row, length in zip(ids, mask.sum(1), strict=True)]
        np.testing.assert_allclose(session.predict(tokens), expected, atol=1e-5)
        in_twos = predict_as_served(session, tokens, Workload(2, 9, lengths="sorted"), pad=1)
        np.testing.assert_allclose(in_twos, expected, atol=1e-5)
    shape, load = small.shape(), Workload(1, 9)
    assert (shape.read, shape.classes) == (None, 5)
    assert macs(shape, passes(shape, load)) == macs(shape, passes(shape, load, whole=True))
    head = 9 * 16 * 5
    assert macs(shape, passes(shape, load)) - macs(shape.without(frozenset({"head"})), passes(shape, load)) == head


def test_int8_and_4_bits_compute_as_the_file_does() -> None:
    for bits in (8, 4):
        small = anatomy_of(tagger("bert")).copy()
        small.quantize([slot for layer in small.layers for slot in (*layer.attention, *layer.feed_forward)], bits=bits)
        small.quantize_embeddings(bits=bits)
        assert all(part.storages == (Storage(bits, "dynamic"),) for part in small.shape().blocks())
        ids = torch.randint(5, 50, (1, 9), generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            expected = small.model(**{IDS: ids, MASK: torch.ones_like(ids)}).logits.numpy()
        found = Session(write_graph(small.weights()).SerializeToString()).predict([ids[0].numpy()])
        np.testing.assert_allclose(found, expected, atol=2e-3)


def test_outputs_of_unequal_length_are_filled_up_behind() -> None:
    parts = [np.ones((2, 3, 2), np.float32), np.ones((1, 5, 2), np.float32)]
    assert stacked(parts).shape == (3, 5, 2)
    assert stacked(parts).sum() == sum(part.sum() for part in parts)
    assert (stacked([np.zeros((1, 2), int), np.zeros((1, 1), int)], fill=-100) == [[0, 0], [0, -100]]).all()
    assert stacked([np.ones((2, 3)), np.ones((1, 3))]).shape == (3, 3)
    assert stacked([np.ones(2), np.ones(1)]).shape == (3,)


@pytest.mark.long
@pytest.mark.parametrize("family", ["mpnet", "albert", "deberta-v2"])
def test_a_traced_graph_answers_for_every_token_too(family: str) -> None:
    anatomy = anatomy_of(tagger(family))
    assert isinstance(anatomy, LiveAnatomy)
    assert (anatomy.shape().read, anatomy.shape().classes) == (None, 5)
    ids = torch.randint(5, 50, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        expected = anatomy.model(**{IDS: ids, MASK: torch.ones_like(ids)}).logits.numpy()
    found = Session(GraphMaker("traced").graph(anatomy).SerializeToString()).predict([row.numpy() for row in ids])
    np.testing.assert_allclose(found, expected, atol=1e-5)
