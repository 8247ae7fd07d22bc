"""Texts served in batches: the same answers, in the order of the texts, from batches as long as they must be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy
from autocompress.core.workload import Workload
from autocompress.deploy import session as session_module
from autocompress.deploy.graph import write_graph
from autocompress.deploy.serving import predict_as_served
from autocompress.deploy.session import Session
from autocompress.tasks import Examples, with_tokens


class Watched(Session):
    """A session that remembers the shapes of its batches."""

    def __init__(self, model: bytes) -> None:
        super().__init__(model)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, feed: Mapping[str, Any]) -> NDArray[np.float32]:
        self.shapes.append(feed["input_ids"].shape)
        return super().run(feed)


@pytest.fixture
def session(bert: Anatomy) -> Watched:
    return Watched(write_graph(bert.weights()).SerializeToString())


@pytest.mark.parametrize("load", [Workload(4, 16), Workload(4, 64, 1, "real"), Workload(5, 64, 1, "sorted")])
def test_a_batch_answers_what_its_texts_answer_one_by_one(
    session: Watched, make_examples: Callable[..., Examples], load: Workload
) -> None:
    texts = make_examples(18)
    alone = session.predict(texts.tokens)
    session.shapes.clear()
    together = predict_as_served(session, texts.tokens, load, pad=texts.pad)
    assert np.abs(alone - together).max() < 1e-4
    lengths = [len(ids) for ids in texts.tokens]
    if load.lengths == "sorted":
        lengths.sort()
    size = load.batch
    batches = [lengths[start : start + size] for start in range(0, len(lengths), size)]
    expected = [(len(batch), 16 if load.lengths == "padded" else max(batch)) for batch in batches]
    assert session.shapes == expected


def test_a_single_text_is_never_padded(session: Watched, make_examples: Callable[..., Examples]) -> None:
    texts = make_examples(3)
    predict_as_served(session, texts.tokens, Workload(1, 64), pad=texts.pad)
    assert session.shapes == [(1, len(ids)) for ids in texts.tokens]


@pytest.mark.parametrize("load", [Workload(1, 16), Workload(4, 16)])
def test_on_all_cores_every_row_is_answered_as_it_is_alone_and_in_its_place(
    load: Workload, bert: Anatomy, make_examples: Callable[..., Examples], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In turns of two, so that there are several of them."""
    monkeypatch.setattr(session_module, "usable_cores", lambda: 3)
    monkeypatch.setattr(session_module, "_WINDOW", 2)
    texts, graph = make_examples(19), write_graph(bert.weights()).SerializeToString()
    alone = predict_as_served(Session(graph), texts.tokens, load, pad=texts.pad)
    shared = Shared(graph)
    shared.use_all_cores()
    assert np.array_equal(predict_as_served(shared, texts.tokens, load, pad=texts.pad), alone)
    assert 1 < len(shared.threads) <= 3


class Shared(Session):
    """A session that remembers which threads asked it."""

    def __init__(self, model: bytes) -> None:
        super().__init__(model)
        self.threads: set[int] = set()

    def run(self, feed: Mapping[str, Any]) -> NDArray[np.float32]:
        self.threads.add(threading.get_ident())
        time.sleep(0.01)  # long enough for the others to take what waits
        return super().run(feed)


def of_lengths(lengths: list[int]) -> Examples:
    tokens = tuple(np.ones(length, np.int64) for length in lengths)
    return Examples(("x",) * len(tokens), tokens, np.zeros(len(tokens), np.int64), 0)


def test_typical_batches_have_the_lengths_of_the_texts() -> None:
    texts = of_lengths([4] * 48 + [8] * 48 + [200] * 32)
    assert with_tokens(Workload(4, 128), texts) == Workload(4, 128), "padded texts need none"
    singly, as_sorted = (with_tokens(Workload(1, 128, 1, how), texts).tokens for how in ("real", "sorted"))
    assert singly == as_sorted == (4, 4, 4, 8, 8, 8, 128, 128), "and are cut at the length of the workload"
    batched, sorted_batches = (with_tokens(Workload(4, 128, 1, how), texts).tokens for how in ("real", "sorted"))
    assert sorted_batches == singly
    assert np.mean(batched) > np.mean(sorted_batches), "one long text lengthens its whole batch"
    assert with_tokens(Workload(4, 128, 1, "real"), texts).tokens == batched, "each time the same"
    known = Workload(4, 128, 1, "real", (7,))
    assert with_tokens(known, texts) == known


def test_typical_batches_take_as_many_tokens_as_all_batches() -> None:
    generator = np.random.default_rng(0)
    texts = of_lengths([int(length) for length in generator.integers(5, 40, 1000)])
    order = generator.permutation(1000)
    longest = [max(len(texts.tokens[i]) for i in order[start : start + 8]) for start in range(0, 1000, 8)]
    typical = with_tokens(Workload(8, 128, 1, "real"), texts).tokens
    assert np.mean(typical) == pytest.approx(np.mean(longest), rel=0.03)
