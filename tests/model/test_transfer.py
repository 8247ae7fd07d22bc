"""Texts made up for students: near to those there are, far from those that are held out."""

from __future__ import annotations

import numpy as np

from autocompress.core.spec import TransferSpec
from autocompress.distill import joined, transfer_texts
from autocompress.tasks import Examples

GENERATOR = np.random.default_rng(0)
TABLE = GENERATOR.standard_normal((200, 16)).astype(np.float32)


def examples(count: int, *, seed: int, low: int = 5, high: int = 100) -> Examples:
    generator = np.random.default_rng(seed)
    tokens = tuple(
        np.concatenate([[2], generator.integers(low, high, generator.integers(4, 12)), [3]]) for _ in range(count)
    )
    return Examples(tuple(map(str, range(count))), tokens, generator.integers(0, 3, count), 0)


def test_each_text_is_varied_so_many_times_and_special_tokens_stay() -> None:
    own = examples(50, seed=1)
    made = transfer_texts(own, TABLE, TransferSpec(copies=3), held_out=[], seed=0)
    assert len(made) == 150
    assert {(ids[0], ids[-1]) for ids in made.tokens} == {(2, 3)}
    assert all(len(ids) == len(own.tokens[int(text)]) for text, ids in zip(made.texts, made.tokens, strict=True))


def test_a_quarter_of_the_tokens_is_replaced_by_near_ones() -> None:
    own = examples(300, seed=1)
    made = transfer_texts(own, TABLE, TransferSpec(copies=1, neighbours=4), held_out=[], seed=0)
    changed = [
        (a, b) for x, y in zip(own.tokens, made.tokens, strict=True) for a, b in zip(x, y, strict=True) if a != b
    ]
    assert 0.2 < len(changed) / sum(len(ids) - 2 for ids in own.tokens) < 0.3
    seen = np.unique(np.concatenate([ids[1:-1] for ids in own.tokens]))
    unit = TABLE / np.linalg.norm(TABLE, axis=1, keepdims=True)
    for before, after in changed[:50]:
        order = [token for token in seen[np.argsort(-unit[seen] @ unit[before])] if token != before]
        assert after in order[:4]


def test_nothing_comes_near_to_a_text_that_is_held_out() -> None:
    own = examples(100, seed=1)
    held_out = own.take(range(40))  # the worst case: what is held out stands in the training data too
    made = transfer_texts(own, TABLE, TransferSpec(copies=4, replace=0.1), held_out=[held_out], seed=0)
    assert 0 < len(made) < 400
    for ids in made.tokens:
        for other in held_out.tokens:
            mine, theirs = set(ids.tolist()), set(other.tolist())
            assert len(mine & theirs) < 0.8 * len(mine | theirs)


def test_the_same_seed_makes_the_same_texts_and_no_copies_make_none() -> None:
    own = examples(20, seed=1)
    first, again, other = (
        transfer_texts(own, TABLE, TransferSpec(copies=1), held_out=[], seed=seed) for seed in (5, 5, 6)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.tokens, again.tokens, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first.tokens, other.tokens, strict=True))
    assert len(transfer_texts(own, TABLE, TransferSpec(), held_out=[], seed=0)) == 0
    assert len(joined(own, first)) == 40
