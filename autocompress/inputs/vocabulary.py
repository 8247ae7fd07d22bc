"""Tokens that texts never use leave a tokenizer, and whoever reads what is left.

What is outside is still read: special and added tokens stay, and so do single characters, with their continuations and
bytes, as far as the tokenizer knows them. A word whose token went is told by shorter ones that stayed: WordPiece takes
the longest that there is, BPE has fewer merges, Unigram fewer pieces to choose from. That is the tokenizers library's
work, on a `tokenizer.json` that holds less.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from autocompress.core.parts import Uses
from autocompress.core.vocabulary import why_all_tokens
from autocompress.errors import SpecError
from autocompress.inputs.examples import Examples
from autocompress.inputs.tokenizer import TokenizerFiles

ALWAYS: Final = np.inf
"""The score of rows that stay whatever texts say."""

_ROUNDING: Final = 1e-9
_FIRST: Final = 8
"""A padding token of a smaller number keeps it: positions of RoBERTa's kind begin behind it."""

Tree = dict[str, Any]


def row_scores(files: TokenizerFiles, rows: int, texts: Iterable[Examples]) -> NDArray[np.float64]:
    """How often texts use each of a table's rows [rows]: a token as often as one that is made of it, 0 where nobody
    does, `ALWAYS` where it stays anyway. Raises SpecError for a tokenizer that must stay whole."""
    tree = json.loads(files.definition)
    if why := why_all_tokens(tree["model"].get("type")):
        raise SpecError(f"prune_vocabulary: {why}")
    found = np.zeros(rows)
    for part in texts:
        if len(part):
            found += np.bincount(np.concatenate(part.tokens), minlength=rows)
    vocabulary = _vocabulary(tree)
    for first, second, result in reversed(_merges(tree)):  # a token's parts come before it
        for token in (first, second):
            place = vocabulary[token]
            found[place] = max(found[place], found[vocabulary[result]])
    found[sorted(_always(tree, vocabulary, files.pad, rows))] = ALWAYS
    return found


def uses_of(files: TokenizerFiles, scores: NDArray[np.float64], held_out: Examples) -> Uses:
    """What `row_scores` and held-out texts say together, special tokens apart."""
    order = np.argsort(-scores, kind="stable")
    counts = np.bincount(np.concatenate(held_out.tokens), minlength=len(scores)).astype(np.float64)
    counts[[token for token in special_tokens(files) if token < len(scores)]] = 0
    reached = np.cumsum(counts[order]) / max(counts.sum(), 1)
    needed = np.searchsorted(reached, np.arange(101) / 100 - _ROUNDING) + 1
    always, used = int(np.isinf(scores).sum()), int((scores > 0).sum())
    return Uses(always, used, tuple(int(min(count, len(scores))) for count in needed))


def special_tokens(files: TokenizerFiles) -> list[int]:
    """Those that stand for no text."""
    return [int(token["id"]) for token in json.loads(files.definition)["added_tokens"] if token["special"]]


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Those tokens of the `whole` tokenizer that are `kept`, ids in ascending order; with `files` the token of
    `kept[i]` has the id i."""

    whole: TokenizerFiles
    kept: NDArray[np.int64]
    files: TokenizerFiles

    @staticmethod
    def of(whole: TokenizerFiles, kept: Sequence[int] | NDArray[np.int64]) -> Vocabulary:
        """Raises SpecError where the tokenizers library would number what is left otherwise."""
        ids = np.asarray(kept, dtype=np.int64)
        return Vocabulary(whole, ids, _without(whole, ids))

    def read(self, examples: Examples, *, renumbered: bool = False) -> Examples:
        """The same texts or pairs as they are read with what is left, in ids of the whole tokenizer, or in its own."""
        found = _read(self.files, examples)
        if renumbered:
            return replace(found, pad=self.files.pad)
        return replace(found, tokens=tuple(self.kept[ids] for ids in found.tokens))

    def known(self, examples: Examples) -> tuple[NDArray[np.int64], Examples]:
        """Those of some rows, by their places, that can be read with what is left, as they are read then: made-up rows
        that hold a token which went cannot, as nobody knows how they would be written."""
        lost = np.flatnonzero([not np.isin(ids, self.kept).all() for ids in examples.tokens])
        some = examples.take(lost)
        before = _read(self.whole, some).tokens
        is_real = np.array([np.array_equal(*both) for both in zip(some.tokens, before, strict=True)], dtype=np.bool_)
        again, tokens = self.read(some), list(examples.tokens)
        types = None if examples.types is None else list(examples.types)
        for place, row in enumerate(lost):
            tokens[row] = again.tokens[place]
            if types is not None and again.types is not None:
                types[row] = again.types[place]
        rows = np.setdiff1d(np.arange(len(examples)), lost[~is_real])
        read = replace(examples, tokens=tuple(tokens), types=None if types is None else tuple(types))
        return rows, read.take(rows)


@dataclass(frozen=True, slots=True)
class Coverage:
    """How texts are read with what is left of a vocabulary: the share of `texts` that are read as before, that of their
    `tokens` that are left, and how many times as many tokens a text has (`growth`)."""

    texts: float
    tokens: float
    growth: float

    @staticmethod
    def of(examples: Examples, vocabulary: Vocabulary) -> Coverage:
        """Of texts as the whole tokenizer reads them; special tokens have no share."""
        after = vocabulary.read(examples)
        same = [np.array_equal(a, b) for a, b in zip(examples.tokens, after.tokens, strict=True)]
        tokens = np.concatenate(examples.tokens)
        tokens = tokens[~np.isin(tokens, special_tokens(vocabulary.whole))]
        left = float(np.isin(tokens, vocabulary.kept).mean()) if len(tokens) else 1.0
        return Coverage(float(np.mean(same)), left, sum(after.lengths) / sum(examples.lengths))


def translated(ids: NDArray[np.int64], before: str, after: str) -> NDArray[np.int64] | None:
    """Tokens of one `tokenizer.json` as those of another with fewer; None where one of them went. Both are contents."""
    old, new = Tokenizer.from_str(before), Tokenizer.from_str(after)
    found = [new.token_to_id(token) if (token := old.id_to_token(int(one))) is not None else None for one in ids]
    return None if None in found else np.array(found, dtype=np.int64)


def _read(files: TokenizerFiles, examples: Examples) -> Examples:
    """Texts, or pairs of texts, with these tokens."""
    reader = files.opened()
    if not examples.texts or isinstance(examples.texts[0], str):
        return replace(examples, tokens=tuple(reader(examples.texts)))
    tokens, types = reader.pairs(examples.texts)
    return replace(examples, tokens=tuple(tokens), types=None if examples.types is None else tuple(types))


def _vocabulary(tree: Tree) -> dict[str, int]:
    """Token -> id of a tokenizer's model, added tokens apart."""
    found = tree["model"]["vocab"]
    return {token: place for place, (token, _) in enumerate(found)} if isinstance(found, list) else dict(found)


def _merges(tree: Tree) -> list[tuple[str, str, str]]:
    """Two tokens and what becomes of them, in their order; none where a tokenizer does not merge."""
    model = tree["model"]
    hidden = len(model.get("continuing_subword_prefix") or "")
    pairs = (one.split(" ", 1) if isinstance(one, str) else one for one in model.get("merges", ()))
    return [(first, second, first + second[hidden:]) for first, second in pairs]


def _always(tree: Tree, vocabulary: Mapping[str, int], pad: int, rows: int) -> set[int]:
    """Special and added tokens, and what a text can be told by character after character."""
    model = tree["model"]
    found = {int(token["id"]) for token in tree["added_tokens"]} | {pad}
    if model["type"] == "BPE":
        made = {result for _, _, result in _merges(tree)}
        found |= {place for token, place in vocabulary.items() if token not in made}
    else:
        prefix = model.get("continuing_subword_prefix") or ""
        bare = ((token.removeprefix(prefix) if prefix else token, place) for token, place in vocabulary.items())
        found |= {place for token, place in bare if len(token) == 1 or _is_byte(token)}
    found |= set(range(pad)) if pad < _FIRST else set()
    unknown = model.get("unk_id") if model["type"] == "Unigram" else vocabulary.get(model.get("unk_token") or "")
    found |= {unknown} if unknown is not None else set()
    return {place for place in found if place < rows}


def _is_byte(token: str) -> bool:
    """`<0x0A>`, which stands for a byte of a character that is not known."""
    return len(token) == 6 and token.startswith("<0x") and token.endswith(">")


def _without(whole: TokenizerFiles, kept: NDArray[np.int64]) -> TokenizerFiles:
    tree = json.loads(whole.definition)
    new = {int(old): place for place, old in enumerate(kept)}
    model, old = tree["model"], _vocabulary(tree)
    left = {token: new[place] for token, place in old.items() if place in new}
    if isinstance(model["vocab"], list):
        model["vocab"] = [entry for place, entry in enumerate(model["vocab"]) if place in new]
        model["unk_id"] = new.get(model.get("unk_id"))
    else:
        model["vocab"] = left
    if "merges" in model:
        pairs = zip(model["merges"], _merges(tree), strict=True)
        model["merges"] = [pair for pair, tokens in pairs if all(token in left for token in tokens)]
    tree["added_tokens"] = [{**token, "id": new[token["id"]]} for token in tree["added_tokens"] if token["id"] in new]
    tree["post_processor"] = _renumbered(tree.get("post_processor"), new)
    definition = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    _check_numbers(definition, left, tree["added_tokens"])
    return replace(whole, definition=definition, pad=new[whole.pad])


def _renumbered(processor: Any, new: Mapping[int, int]) -> Any:
    """What puts special tokens around a text, with their new ids."""
    if not isinstance(processor, dict):
        return processor
    found = dict(processor)
    if "processors" in found:
        found["processors"] = [_renumbered(one, new) for one in found["processors"]]
    if isinstance(found.get("special_tokens"), dict):
        found["special_tokens"] = {
            name: {**one, "ids": [new[place] for place in one["ids"]]} for name, one in found["special_tokens"].items()
        }
    for name in ("sep", "cls"):
        if isinstance(found.get(name), list):
            token, place = found[name]
            found[name] = [token, new[place]]
    return found


def _check_numbers(definition: str, left: Mapping[str, int], added: Sequence[Mapping[str, Any]]) -> None:
    tokenizer = Tokenizer.from_str(definition)
    wanted = {**left, **{token["content"]: token["id"] for token in added}}
    for token, place in wanted.items():
        if (got := tokenizer.token_to_id(token)) != place:
            raise SpecError(
                f"the tokenizer without its unused tokens reads {token!r} as {got}, not {place}: its tokens cannot be "
                "told apart by their texts; leave `prune_vocabulary` out of the space"
            )
