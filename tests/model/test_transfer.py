"""Further texts for students: near to those there are or named by the user, far from those that are held out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from autocompress.anatomy import Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.data_spec import Asset, TextSpec
from autocompress.core.training_spec import TransferSpec
from autocompress.distill import joined, predict, transfer_texts
from autocompress.importance import Importance
from autocompress.tasks import Examples, TextClassification, batches

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


def test_what_stands_between_the_texts_of_a_pair_stays() -> None:
    own = examples(60, seed=1)
    tokens = tuple(np.concatenate([ids, ids[1:]]) for ids in own.tokens)
    types = tuple(np.arange(len(ids)) // (len(ids) // 2 + 1) for ids in tokens)
    pairs = Examples(tuple((text, text) for text in own.texts), tokens, own.labels, 0, types)
    made = transfer_texts(pairs, TABLE, TransferSpec(copies=2, replace=1.0), held_out=[], seed=0)
    for (text, _), ids in zip(made.texts, made.tokens, strict=True):
        places = np.isin(tokens[int(text)], (2, 3))
        assert places.sum() == 3
        assert ids[places].tolist() == [2, 3, 3]
        assert not np.isin(ids[~places], (2, 3)).any()


def is_near(ids: NDArray[np.int64], held_out: Examples) -> bool:
    """Whether four of five distinct tokens are those of a text that is held out, told one by one."""
    mine = set(ids.tolist())
    return any(len(mine & set(o.tolist())) >= 0.8 * len(mine | set(o.tolist())) for o in held_out.tokens)


def test_nothing_comes_near_to_a_text_that_is_held_out() -> None:
    own = examples(100, seed=1)
    held_out = own.take(range(40))  # the worst case: what is held out stands in the training data too
    made = transfer_texts(own, TABLE, TransferSpec(copies=4, replace=0.1), held_out=[held_out], seed=0)
    assert 0 < len(made) < 400
    assert not any(is_near(ids, held_out) for ids in made.tokens)


def test_no_recombined_text_comes_near_to_one_that_is_held_out() -> None:
    own = examples(60, seed=1, high=12)  # few words, so that two halves are often most of a third text
    held_out = [examples(20, seed=seed, high=12) for seed in (2, 3)]
    spec = TransferSpec(recombined=3)
    all_made, made = (transfer_texts(own, TABLE, spec, held_out=splits, seed=0) for splits in ([], held_out))
    kept = [ids for ids in all_made.tokens if not any(is_near(ids, split) for split in held_out)]
    assert 0 < len(kept) < len(all_made) == 180
    assert len(made) == len(kept)
    assert all(np.array_equal(a, b) for a, b in zip(made.tokens, kept, strict=True))


def test_no_text_of_the_user_comes_near_to_one_that_is_held_out() -> None:
    own, strange, held_out = examples(30, seed=1), examples(50, seed=2), examples(40, seed=3)
    nearly = [np.where(np.arange(len(ids)) == 1, 150, ids) for ids in held_out.tokens if len(ids) >= 12]
    assert nearly
    assert all(is_near(ids, held_out) for ids in nearly)
    given = unlabelled(*strange.tokens, *held_out.tokens, *nearly)
    for splits in ([held_out], [held_out.take(range(20)), held_out.take(range(20, 40))]):
        more = transfer_texts(own, TABLE, TransferSpec(), held_out=splits, seed=0, unlabelled=given)
        assert [ids.tolist() for ids in more.tokens] == [ids.tolist() for ids in strange.tokens]


def unlabelled(*tokens: NDArray[np.int64]) -> Examples:
    return Examples(tuple(map(str, range(len(tokens)))), tokens, np.full(len(tokens), -1), 0)


def test_texts_of_the_user_are_learned_once_and_not_where_they_are_labelled_already() -> None:
    own, strange = examples(30, seed=1), examples(10, seed=2)
    given = unlabelled(*strange.tokens, *own.tokens[5:9], *strange.tokens[:4])
    more = transfer_texts(own, TABLE, TransferSpec(), held_out=[], seed=0, unlabelled=given)
    assert more.texts == tuple(map(str, range(10)))
    made = transfer_texts(own, TABLE, TransferSpec(copies=1, recombined=1), held_out=[], seed=0, unlabelled=given)
    assert len(made) == 30 + 30 + 10


def halves(made: Examples, own: Examples) -> list[tuple[int, int]]:
    """For each recombined text the shortest and the longest first part that it may have, another text of its class
    ending as it ends."""
    found = []
    for text, label, ids in zip(made.texts, made.labels, made.tokens, strict=True):
        first = own.tokens[int(text)]
        others = [o for i, o in enumerate(own.tokens) if own.labels[i] == label and i != int(text)]
        fits = [
            cut
            for cut in range(2, min(len(first) - 1, len(ids) - 1))
            if np.array_equal(ids[:cut], first[:cut])
            and any(
                len(o) > len(ids) - cut and np.array_equal(o[-(len(ids) - cut) :], ids[cut:])
                for o in others
                if len(ids) <= max(len(first), len(o))
            )
        ]
        assert fits, ids
        found.append((min(fits), max(fits)))
    return found


def test_recombined_texts_begin_as_one_and_end_as_another_text_of_the_class() -> None:
    own = examples(80, seed=1)
    made = transfer_texts(own, TABLE, TransferSpec(recombined=3), held_out=[], seed=0)
    assert len(made) == 240
    assert {(ids[0], ids[-1]) for ids in made.tokens} == {(2, 3)}
    assert all(not {2, 3} & set(ids[1:-1].tolist()) for ids in made.tokens)
    assert all(made.labels[i] == own.labels[int(text)] for i, text in enumerate(made.texts))
    assert len(set(halves(made, own))) > 5, "cut anywhere"
    assert max(len(ids) for ids in made.tokens) <= max(len(ids) for ids in own.tokens)


def test_texts_too_short_to_be_cut_and_alone_in_their_class_are_not_recombined() -> None:
    short, alone = np.array([2, 7, 3]), np.array([2, 8, 9, 10, 3])
    pair = [np.array([2, 11, 12, 3]), np.array([2, 13, 14, 15, 16, 3])]
    own = Examples(("0", "1", "2", "3", "4"), (short, alone, *pair, short), np.array([0, 1, 0, 0, 0]), 0)
    made = transfer_texts(own, TABLE, TransferSpec(recombined=20), held_out=[], seed=0)
    assert set(made.texts) == {"2", "3"}
    assert len(made) == 40
    assert {ids[1] for ids in made.tokens} == {11, 13}
    assert {ids[-2] for ids in made.tokens} == {12, 16}
    assert {len(ids) for ids in made.tokens} == {4, 5, 6}
    nothing = transfer_texts(own.take([0, 1]), TABLE, TransferSpec(recombined=1), held_out=[], seed=0)
    assert len(nothing) == 0


def test_what_is_varied_does_not_depend_on_what_is_recombined() -> None:
    own = examples(40, seed=1)
    specs = TransferSpec(copies=2), TransferSpec(copies=2, recombined=1), TransferSpec(recombined=1)
    varied, both, recombined = (transfer_texts(own, TABLE, spec, held_out=[], seed=7) for spec in specs)
    again, other = (transfer_texts(own, TABLE, specs[2], held_out=[], seed=seed) for seed in (7, 8))

    def same(a: Examples, b: Examples) -> bool:
        return all(np.array_equal(x, y) for x, y in zip(a.tokens, b.tokens, strict=True))

    assert same(both, joined(varied, recombined))
    assert same(recombined, again)
    assert len(recombined) == len(other) == 40
    assert [ids.tolist() for ids in recombined.tokens] != [ids.tolist() for ids in other.tokens]


def test_the_teacher_labels_every_further_text(bert: Anatomy, small_task: TextClassification) -> None:
    setup = Setup.of(bert.model, Importance({}, {}), small_task, precision="fp32")
    spec = TransferSpec(recombined=1, texts=TextSpec(Asset(path="x"), "lines"))
    given = unlabelled(*examples(20, seed=9).tokens)
    lessons = Lessons.of(setup, spec, seed=0, unlabelled=given)
    own, found = small_task.examples("train"), lessons.examples
    further = found.take(range(len(own), len(found)))
    assert len(further) > 60
    assert found.labels[: len(own)].tolist() == own.labels.tolist(), "those that have a label keep it"
    said = predict(bert.model, batches(further, 32), precision="fp32")
    assert further.labels.tolist() == said.argmax(axis=1).tolist()
    assert np.abs(lessons.logits[len(own) :] - said).max() < 1e-4
    with pytest.raises(AssertionError, match="those that the study names"):
        Lessons.of(setup, spec, seed=0)


def test_the_same_seed_makes_the_same_texts_and_no_copies_make_none() -> None:
    own = examples(20, seed=1)
    first, again, other = (
        transfer_texts(own, TABLE, TransferSpec(copies=1), held_out=[], seed=seed) for seed in (5, 5, 6)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first.tokens, again.tokens, strict=True))
    assert any(not np.array_equal(a, b) for a, b in zip(first.tokens, other.tokens, strict=True))
    assert len(transfer_texts(own, TABLE, TransferSpec(), held_out=[], seed=0)) == 0
    assert len(joined(own, first)) == 40
