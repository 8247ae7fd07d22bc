from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from autocompress.anatomy import Anatomy
from autocompress.anatomy.int8 import Int8Embedding, Int8Linear, quantize_rows
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.distill import predict
from autocompress.tasks import Examples, batches


def test_int8_weights_are_within_half_a_step_of_the_original() -> None:
    weight = np.random.default_rng(0).standard_normal((40, 7)).astype(np.float32)
    integers, scales = quantize_rows(weight)
    assert integers.dtype == np.int8
    assert np.all(np.abs(integers * scales - weight) <= scales / 2 + 1e-7)
    assert np.abs(integers).max(axis=1).tolist() == [127] * 40


def test_a_row_of_zeros_stays_zero() -> None:
    integers, scales = quantize_rows(np.zeros((2, 3), np.float32))
    assert not integers.any()
    assert np.isfinite(scales).all()


def test_scoring_numerics_are_those_of_the_deployed_graph(
    anatomy: Anatomy, make_examples: Callable[..., Examples]
) -> None:
    anatomy.quantize([slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)])
    anatomy.quantize_embeddings()
    session = Session(write_graph(anatomy.weights()).SerializeToString())
    for ids in make_examples(12).tokens:
        feed = {"input_ids": ids[None], "attention_mask": np.ones_like(ids)[None]}
        deployed = session.run(feed)
        with torch.inference_mode():
            scored = anatomy.model(**{name: torch.from_numpy(array) for name, array in feed.items()}).logits.numpy()
        # runtimes round the last bit of a scale differently, which can move an activation by one of 255 steps
        assert np.abs(deployed - scored).max() < 0.02 * np.abs(scored).max()


def test_every_text_has_an_activation_scale_of_its_own() -> None:
    layer = Int8Linear(nn.Linear(16, 4))
    quiet, loud = torch.rand(1, 5, 16), 100 * torch.rand(1, 5, 16)
    assert torch.equal(layer(torch.cat([quiet, loud]))[:1], layer(quiet))


def test_padding_has_no_say_in_the_scale_of_a_text(anatomy: Anatomy, make_examples: Callable[..., Examples]) -> None:
    """Candidates are scored in padded batches, and served singly."""
    slots = [slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)]
    anatomy.quantize(slots[:6])
    anatomy.quantize(slots[6:])
    for model in (anatomy.model, anatomy.copy().model):
        examples = make_examples(24)
        (padded,) = batches(examples, 24)
        assert not padded.mask.all(), "some are padded"
        singly = predict(model, batches(examples, 1), precision="fp32")
        apart = np.abs(predict(model, [padded], precision="fp32") - singly).max(axis=1)
        # the last bit of a product may differ with the batch, which can move an activation by one of 255 steps
        assert np.median(apart) < 1e-5
        assert apart.max() < 0.02 * np.abs(singly).max()


def test_int8_embeddings_round_rows_as_the_table_would() -> None:
    table = nn.Embedding(20, 8)
    integers, scales = quantize_rows(table.weight.detach().numpy())
    tokens = torch.tensor([[3, 19, 0]])
    expected = torch.from_numpy((integers * scales)[tokens.numpy()])
    assert torch.allclose(Int8Embedding(table)(tokens), expected, atol=1e-7)
