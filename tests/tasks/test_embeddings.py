"""Sentence embeddings: pairs are judged by their cosines, padding counts for nothing, and the graph says the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from transformers import AutoConfig

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.anatomy.heads import EMBEDDING, empty_model
from autocompress.core.cost import macs, passes
from autocompress.core.text_inputs import IDS, MASK
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.exported.folder_check import unlike
from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.tasks import Batch, Examples
from autocompress.tasks.sentence_embeddings import SentenceEmbeddings

SIZES = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def task(metric: str) -> SentenceEmbeddings:
    return SentenceEmbeddings(metric, (), {}, TokenizerFiles("{}", {}, longest=12, pad=0))


def pairs(labels: list[float]) -> Examples:
    """Two rows for each."""
    rows = 2 * len(labels)
    return Examples(("x",) * rows, (np.ones(3, np.int64),) * rows, np.repeat(np.array(labels, np.float32), 2), 0)


def unit(*rows: list[float]) -> np.ndarray:
    found = np.array(rows, dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def test_the_score_is_of_the_cosines_of_pairs() -> None:
    outputs = unit([1, 0], [1, 0.1], [1, 0], [1, 1], [1, 0], [-1, 0.2])
    assert task("spearman").score(outputs, pairs([5.0, 3.0, 0.0])).value == pytest.approx(1)
    assert task("spearman").score(outputs, pairs([0.0, 3.0, 5.0])).value == pytest.approx(-1)
    assert task("spearman").drop(outputs, outputs, pairs([5.0, 3.0, 0.0])).value == 0
    assert task("spearman").agreed(outputs, outputs[::-1]) < 1


def test_recall_is_how_often_the_right_one_is_among_the_nearest() -> None:
    outputs = unit([1, 0], [0, 1], [0, 1], [1, 0], [1, 1], [1, 1])
    assert task("recall@1").score(outputs, pairs([1, 1, 1])).value == pytest.approx(1 / 3)
    assert task("recall@3").score(outputs, pairs([1, 1, 1])).value == 1
    assert task("recall@1").score(outputs, pairs([0, 0, 1])).value == 1, "what has no right one is not asked for"
    assert task("recall@1").chance(pairs([1, 1, 1])) == pytest.approx(1 / 3)


@pytest.mark.parametrize("family", ["bert", "roberta", "distilbert", "electra"])
def test_the_graph_means_over_real_tokens_and_counts_them_all(family: str) -> None:
    sizes = SIZES | ({"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24} if family == "distilbert" else {})
    torch.manual_seed(0)
    model = empty_model(AutoConfig.for_model(family, **sizes, max_position_embeddings=40, pad_token_id=1), EMBEDDING)
    whole = Anatomy(model, FAMILIES)
    small = whole.copy()
    small.keep_layers([1])
    small.keep_heads(1, [0])
    ids = torch.randint(5, 50, (3, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[1, 4:] = 0
    ids[1, 4:] = 1
    for anatomy in (whole, small):
        with torch.inference_mode():
            expected = anatomy.model(**{IDS: ids, MASK: mask}).logits.numpy()
        session = Session(write_graph(anatomy.weights()).SerializeToString())
        np.testing.assert_allclose(session.run(session.feed(ids.numpy(), mask.numpy())), expected, atol=1e-5)
        np.testing.assert_allclose(session.predict([ids[1, :4].numpy()])[0], expected[1], atol=1e-5)
    one_layer, load = small.shape(), Workload(1, 9)
    assert one_layer.read is None
    assert macs(one_layer, passes(one_layer, load)) == macs(one_layer, passes(one_layer, load, whole=True))


def test_a_student_learns_vectors_and_what_lies_near_to_what() -> None:
    outputs = torch.nn.functional.normalize(torch.randn(4, 6), dim=-1)
    batch = Batch({}, torch.zeros(4), np.arange(4))
    assert task("spearman").soft_loss(outputs, outputs, batch, temperature=2.0) == 0
    assert task("spearman").soft_loss(outputs, outputs.flip(0), batch, temperature=2.0) > 0.1
    assert task("spearman").loss(outputs, batch.targets) == 0, "a label is of two texts, and a batch has single ones"


def test_a_vector_is_that_of_its_torch_form_up_to_roundings_whatever_its_largest_output() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.standard_normal((50, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    def turned(by: float) -> NDArray[np.float32]:
        away = generator.standard_normal(vectors.shape).astype(np.float32)
        away -= (away * vectors).sum(axis=1, keepdims=True) * vectors
        moved = vectors + by * away / np.linalg.norm(away, axis=1, keepdims=True)
        return np.asarray(moved / np.linalg.norm(moved, axis=1, keepdims=True), dtype=np.float32)

    assert unlike(vectors, turned(0.08), vectors=True) == ""
    assert "vectors lie 0.149 from the torch form's, more than 0.1" in unlike(vectors, turned(0.15), vectors=True)
    logits = vectors[:, :3]
    assert "outputs differ from the torch form's by" in unlike(logits, -logits, vectors=False)
