"""More texts to learn the teacher's answers from, made of those there are.

A small labelled set starves a small student: the teacher knows more than four thousand questions can ask. So questions
are varied, and the teacher says what it thinks of each. TinyBERT (Jiao et al. 2020, section 3.3) replaces words by
proposals of a language model or an embedding; here they are the nearest tokens of the teacher's own embedding table,
which needs no further model.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from autocompress.core.spec import TransferSpec
from autocompress.tasks import Examples

_TOO_NEAR = 0.8
"""Share of common tokens at which a made-up text is taken for a copy of one that is held out."""


def transfer_texts(
    examples: Examples,
    embeddings: NDArray[np.float32],
    spec: TransferSpec,
    *,
    held_out: Iterable[Examples],
    seed: int,
) -> Examples:
    """`spec.copies` variations of every text: each token but the first and the last, which are special, is replaced
    with probability `spec.replace` by one of its nearest `spec.neighbours` among the tokens of these texts.

    `embeddings` [vocabulary, hidden]. Variations that come near to a text that is held out are left away. `texts` are
    those that the variations were made of, and `labels` theirs; neither is known of a variation.
    """
    generator = np.random.default_rng(seed)
    nearest = _nearest(examples, embeddings, spec.neighbours)
    rows, tokens = [], []
    for _ in range(spec.copies):
        for row, ids in enumerate(examples.tokens):
            rows.append(row)
            tokens.append(_varied(ids, nearest, spec.replace, generator))
    kept = ~_near(tokens, [ids for split in held_out for ids in split.tokens], vocabulary=len(embeddings))
    source = examples.take([row for row, keep in zip(rows, kept, strict=True) if keep])
    return Examples(
        source.texts, tuple(t for t, keep in zip(tokens, kept, strict=True) if keep), source.labels, examples.pad
    )


def joined(a: Examples, b: Examples) -> Examples:
    """All texts of both."""
    return Examples((*a.texts, *b.texts), (*a.tokens, *b.tokens), np.concatenate([a.labels, b.labels]), a.pad)


def _varied(
    ids: NDArray[np.int64], nearest: NDArray[np.int64], share: float, generator: np.random.Generator
) -> NDArray[np.int64]:
    replaced = generator.random(len(ids)) < share
    replaced[[0, -1]] = False
    proposals = nearest[ids, generator.integers(0, nearest.shape[1], len(ids))]
    return np.where(replaced, proposals, ids)


def _nearest(examples: Examples, embeddings: NDArray[np.float32], count: int) -> NDArray[np.int64]:
    """[vocabulary, count]: the tokens nearest to each by cosine, itself for tokens that no text holds."""
    seen = np.unique(np.concatenate([ids[1:-1] for ids in examples.tokens]))
    table = np.repeat(np.arange(len(embeddings), dtype=np.int64)[:, None], count, axis=1)
    if len(seen) <= count:
        return table
    unit = embeddings[seen] / np.maximum(np.linalg.norm(embeddings[seen], axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    table[seen] = seen[np.argpartition(-alike, count, axis=1)[:, :count]]
    return table


def _near(tokens: list[NDArray[np.int64]], held_out: list[NDArray[np.int64]], *, vocabulary: int) -> NDArray[np.bool_]:
    """Which texts share most of their distinct tokens (Jaccard) with one that is held out."""
    if not tokens or not held_out:
        return np.zeros(len(tokens), dtype=np.bool_)
    mine, theirs = (_incidence(group, vocabulary) for group in (tokens, held_out))
    sizes = np.asarray(theirs.sum(axis=1)).ravel()
    near = np.zeros(len(tokens), dtype=np.bool_)
    for start in range(0, len(tokens), 2048):  # the product is dense: a slice at a time
        part = mine[start : start + 2048]
        common = (part @ theirs.T).toarray()
        union = np.asarray(part.sum(axis=1)) + sizes - common
        near[start : start + 2048] = (common >= _TOO_NEAR * union).any(axis=1)
    return near


def _incidence(group: list[NDArray[np.int64]], vocabulary: int) -> sparse.csr_matrix:
    distinct = [np.unique(ids) for ids in group]
    ends = np.concatenate([[0], np.cumsum([len(ids) for ids in distinct])])
    found = np.concatenate(distinct)
    return sparse.csr_matrix((np.ones(len(found), np.float32), found, ends), shape=(len(group), vocabulary))
