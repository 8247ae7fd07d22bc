"""More texts to learn the teacher's answers from: made of those there are, and those that the user names.

A small labelled set starves a small student: the teacher knows more than four thousand questions can ask. So questions
are varied, and the teacher says what it thinks of each. TinyBERT (Jiao et al. 2020, section 3.3) replaces words by
proposals of a language model or an embedding; here they are the nearest tokens of the teacher's own embedding table,
which needs no further model. Or the beginning of one question meets the end of another of its class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from autocompress.core.training_spec import TransferSpec
from autocompress.inputs.examples import Examples
from autocompress.inputs.outputs import IGNORED, stacked

_TOO_NEAR = 0.8
"""Share of common tokens at which a text is taken for a copy of one that is held out."""

_SHORTEST = 4
"""Tokens of a text that can be cut in two: a special one at either end, and one for each part."""

_RECOMBINING = 1
"""A random stream of its own: what is varied does not depend on how many are recombined."""


def transfer_texts(
    examples: Examples,
    embeddings: NDArray[np.float32],
    spec: TransferSpec,
    *,
    held_out: Iterable[Examples],
    seed: int,
    unlabelled: Examples | None = None,
) -> Examples:
    """`spec.copies` variations of every text: each token but the first and the last, which are special, and what stands
    between the two texts of a pair, is replaced with probability `spec.replace` by one of its nearest
    `spec.neighbours` among the tokens of these texts. Then `spec.recombined` for every text: its first part and the
    last part of another one of its class, each cut between two of its tokens, together no longer than the longer of the
    two. Then the `unlabelled` texts, each once, without those that stand among the labelled ones.

    `embeddings` [vocabulary, hidden]. Whatever comes near to a text that is held out is left away. `texts` and `labels`
    of a made-up text are those of the text that it begins as; neither is known of it.
    """
    found = joined(
        _variations(examples, embeddings, spec, np.random.default_rng(seed)),
        _recombinations(examples, spec.recombined, np.random.default_rng([seed, _RECOMBINING])),
    )
    if unlabelled is not None:
        found = joined(found, _new(unlabelled, examples))
    near = _near(found.tokens, [ids for split in held_out for ids in split.tokens], vocabulary=len(embeddings))
    return found.take(np.flatnonzero(~near))


def joined(a: Examples, b: Examples) -> Examples:
    """All texts of both."""
    types = None if a.types is None or b.types is None else (*a.types, *b.types)
    labels = stacked([a.labels, b.labels], fill=IGNORED)
    return Examples((*a.texts, *b.texts), (*a.tokens, *b.tokens), labels, a.pad, types)


def _variations(
    examples: Examples, embeddings: NDArray[np.float32], spec: TransferSpec, generator: np.random.Generator
) -> Examples:
    if not spec.copies:
        return examples.take([])
    special = _special(examples)
    nearest = _nearest(examples, embeddings, spec.neighbours, special)
    tokens = [
        _varied(ids, nearest, spec.replace, generator, special) for _ in range(spec.copies) for ids in examples.tokens
    ]
    return _made(examples, [*range(len(examples))] * spec.copies, tokens)


def _special(examples: Examples) -> NDArray[np.int64]:
    """What begins or ends every text. In the middle of a pair it stands between the two."""
    ends = ({int(ids[place]) for ids in examples.tokens} for place in (0, -1))
    return np.array([token for found in ends if len(found) == 1 for token in found], dtype=np.int64)


def _recombinations(examples: Examples, count: int, generator: np.random.Generator) -> Examples:
    """Texts too short to be cut, pairs of texts, and those alone in their class, take no part."""
    alike: dict[int, list[int]] = {}
    of_classes = examples.labels.ndim == 1 and np.issubdtype(examples.labels.dtype, np.integer)
    for row, ids in enumerate(examples.tokens):
        if len(ids) >= _SHORTEST and of_classes and isinstance(examples.texts[row], str):
            alike.setdefault(int(examples.labels[row]), []).append(row)
    rows, tokens = [], []
    for _ in range(count):
        for group in alike.values():
            for row in group if len(group) > 1 else ():
                other = group[generator.integers(len(group) - 1)]
                other = group[-1] if other == row else other
                rows.append(row)
                tokens.append(_recombined(examples.tokens[row], examples.tokens[other], generator))
    return _made(examples, rows, tokens)


def _recombined(first: NDArray[np.int64], last: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.int64]:
    """Some tokens from the beginning of one text, not all, and some from the end of the other."""
    begins = int(generator.integers(2, len(first) - 1))
    room = max(len(first), len(last)) - begins
    ends = int(generator.integers(2, min(len(last) - 1, room + 1)))
    return np.concatenate([first[:begins], last[-ends:]])


def _made(examples: Examples, rows: list[int], tokens: list[NDArray[np.int64]]) -> Examples:
    origin = examples.take(rows)
    return Examples(origin.texts, tuple(tokens), origin.labels, examples.pad, origin.types)


def _new(texts: Examples, known: Examples) -> Examples:
    """Each text once, and none that is known."""
    seen = {ids.tobytes() for ids in known.tokens}
    rows = []
    for row, ids in enumerate(texts.tokens):
        if ids.tobytes() not in seen:
            seen.add(ids.tobytes())
            rows.append(row)
    return texts.take(rows)


def _varied(
    ids: NDArray[np.int64],
    nearest: NDArray[np.int64],
    share: float,
    generator: np.random.Generator,
    special: NDArray[np.int64],
) -> NDArray[np.int64]:
    replaced = (generator.random(len(ids)) < share) & ~np.isin(ids, special)
    replaced[[0, -1]] = False
    proposals = nearest[ids, generator.integers(0, nearest.shape[1], len(ids))]
    return np.where(replaced, proposals, ids)


def _nearest(
    examples: Examples, embeddings: NDArray[np.float32], count: int, special: NDArray[np.int64]
) -> NDArray[np.int64]:
    """[vocabulary, count]: the tokens nearest to each by cosine, itself for tokens that no text holds."""
    seen = np.setdiff1d(np.concatenate([ids[1:-1] for ids in examples.tokens]), special)
    table = np.repeat(np.arange(len(embeddings), dtype=np.int64)[:, None], count, axis=1)
    if len(seen) <= count:
        return table
    unit = embeddings[seen] / np.maximum(np.linalg.norm(embeddings[seen], axis=1, keepdims=True), 1e-12)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -np.inf)
    table[seen] = seen[np.argpartition(-alike, count, axis=1)[:, :count]]
    return table


def _near(
    tokens: Sequence[NDArray[np.int64]], held_out: Sequence[NDArray[np.int64]], *, vocabulary: int
) -> NDArray[np.bool_]:
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


def _incidence(group: Sequence[NDArray[np.int64]], vocabulary: int) -> sparse.csr_matrix:
    distinct = [np.unique(ids) for ids in group]
    ends = np.concatenate([[0], np.cumsum([len(ids) for ids in distinct])])
    found = np.concatenate(distinct)
    return sparse.csr_matrix((np.ones(len(found), np.float32), found, ends), shape=(len(group), vocabulary))
