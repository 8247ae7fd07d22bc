"""The tokenizer of a study, made once from what transformers loads for a checkpoint, and compared with it.

A checkpoint may hold a `tokenizer.json`, only a vocabulary, or a `tokenizer_config.json` that says otherwise than the
file beside it; transformers makes one tokenizer of all that. What it makes is written as the `tokenizer.json` that is
deployed, and from then on nothing but that file turns texts into token ids. Ids are compared with those of transformers
on every text of the data and on a list of hard ones: whatever differs is refused before anything is trained.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import AutoTokenizer
from transformers.convert_slow_tokenizer import convert_slow_tokenizer
from transformers.utils import logging as transformers_logging

from autocompress.core.text_inputs import IDS, MASK
from autocompress.errors import SpecError
from autocompress.inputs.tokenizer import TOKENIZER, TextTokenizer, TokenizerFiles

logger = logging.getLogger(__name__)

HARD_TEXTS: Final = (
    "",
    " ",
    "\n\t  \r\n",
    "HELLO World, hello WORLD",
    "naïve Café ÀÉÎÕÜ straße İstanbul Ǆ",
    "cafe\u0301 n\u0303o a\u030a\u0323 \u1112\u1161\u11ab",
    "Ελληνικά Кириллица Հայերեն",
    "中文，汉字。日本語 カナ ひらがな 한국어 𠀀",
    "مرحبا بالعالم שלום",
    "हिन्दी ภาษาไทย தமிழ்",
    "😀 👩‍👩‍👧 🇩🇪 ✌🏽",
    "zero\u200bwidth\u00a0space\ufeff \u00ad soft\u2060",
    "a\x00b\x07c\x1b[0m\x7f \ufffd \ue000",
    "line\r\nbreak\u2028separator\u0085next",
    "don't it's 3.14 1,000 $5 €7 C++ foo_bar a@b.example http://x.example/y?q=1&z#t",
    "ﬁ ① ² ½ ｆｕｌｌ ＷＩＤＴＨ ℡ Ⅷ",
    "  leading, trailing  and   double   spaces  ",
    "''\"\"``--__##**<<>>[[]]{{}}||~~^^",
    "A" * 300,
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 8,
    "word Word 12 " * 1500,
)
"""Texts on which tokenizers that seem alike differ: nothing, case, accents, combining marks, scripts, spaces that are
none, control characters, compatibility forms, and length."""

_SPECIAL: Final = 24
"""Of special and added tokens, so many are put into hard texts."""

_MOSTLY: Final = 0.5
_UNREADABLE: Final = 0.8
_TOLD: Final = 0.05
"""A text is unreadable when more than half of its tokens are unknown; data are refused when more than four of five
texts are, and it is said when more than one of twenty is."""

_FILES: Final = frozenset(
    ("merges.txt", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.json", "vocab.txt", TOKENIZER)
)
_NAMES: Final = ("bos_token", "cls_token", "eos_token", "mask_token", "pad_token", "sep_token", "unk_token")


@dataclass(frozen=True, slots=True)
class Tokenization:
    """The tokenizer of a study beside that of transformers; `rows` are those of the model's embedding, if known."""

    folder: Path
    files: TokenizerFiles
    reader: TextTokenizer
    original: Any
    rows: int | None
    unknown: int | None

    def __call__(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The token ids of each text, by the file that will be deployed.

        Raises SpecError when transformers reads a text otherwise, or writes a token that the model has no row for."""
        theirs = self._original_ids(texts)
        largest = max((max(ids, default=0) for ids in theirs), default=0)
        if self.rows is not None and largest >= self.rows:
            raise SpecError(
                f"{self.folder}: the tokenizer writes token {largest}, but the model knows {self.rows} only; put the "
                "tokenizer there that the model was trained with"
            )
        ours = self.reader(texts)
        self._compare(texts, theirs, ours)
        return ours

    def pairs(self, rows: Sequence[tuple[str, str]]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """The same of pairs of texts, with the type of each token."""
        ours, types = self.reader.pairs(rows)
        firsts, seconds = [first for first, _ in rows], [second for _, second in rows]
        with _quiet():
            their = self.original(firsts, seconds, truncation=True, max_length=self.files.longest)[IDS] if rows else []
        self._compare([" / ".join(row) for row in rows], their, ours)
        return ours, types

    def check_hard_texts(self) -> None:
        """Raises SpecError where transformers reads a hard text otherwise. Those with tokens that have no row are left
        out: nothing but the text itself can stand for such a token."""
        tokens = [str(token.content) for token in self.original_added().values()]
        special = dict.fromkeys([*self.original.all_special_tokens, *tokens])
        forms = ("{}", "we saw {} here", "a{}b", "{0}{0} {0}.")
        texts = [*HARD_TEXTS, *(form.format(token) for token in list(special)[:_SPECIAL] for form in forms)]
        texts += [token.lower() for token in list(special)[:_SPECIAL]]
        theirs = self._original_ids(texts)
        kept = [place for place, ids in enumerate(theirs) if self.rows is None or max(ids, default=0) < self.rows]
        some = [texts[place] for place in kept]
        self._compare(some, [theirs[place] for place in kept], self.reader(some))

    def original_added(self) -> Mapping[int, Any]:
        return dict(self.original.added_tokens_decoder)

    def readable(self, tokens: Sequence[NDArray[np.int64]], what: str) -> tuple[str, ...]:
        """What there is to say of texts that are mostly unknown tokens; nothing where there are few.

        Raises SpecError when nearly all texts are."""
        if not len(tokens):
            return ()
        special = [token for token in self.original.all_special_ids if token != self.unknown]
        poor = 0
        for ids in tokens:
            content = ids[~np.isin(ids, special)]
            poor += not len(content) or float((content == self.unknown).mean()) > _MOSTLY
        share = poor / len(tokens)
        told = f"{poor} of {len(tokens)} texts ({share:.0%}) are mostly tokens that the tokenizer does not know"
        if share > _UNREADABLE:
            raise SpecError(
                f"{what}: {told}; is {self.folder} a model of this language and script, and does its tokenizer treat "
                "capital letters as it should (`do_lower_case` in tokenizer_config.json)?"
            )
        return (told,) if share > _TOLD else ()

    def _original_ids(self, texts: Sequence[str]) -> list[list[int]]:
        if not len(texts):
            return []
        with _quiet():
            found = self.original(
                list(texts), truncation=True, max_length=self.files.longest, return_attention_mask=False
            )[IDS]
        return [list(ids) or [self.files.pad] for ids in found]

    def _compare(
        self, texts: Sequence[str], theirs: Sequence[Sequence[int]], ours: Sequence[NDArray[np.int64]]
    ) -> None:
        for text, their, our in zip(texts, theirs, ours, strict=True):
            if list(their) != our.tolist():
                place = next((i for i, (a, b) in enumerate(zip(their, our, strict=False)) if a != b), len(our))
                shown = slice(max(0, place - 1), place + 4)
                raise SpecError(
                    f"{self.folder}: transformers reads {text[:60]!r} as tokens {list(their[shown])} from token "
                    f"{shown.start} on, and the {TOKENIZER} that would be deployed as {our[shown].tolist()}: what is "
                    "trained could not be deployed; save the tokenizer anew with `save_pretrained`, in a form that "
                    f"needs its {TOKENIZER} alone"
                )


def open_tokenization(folder: Path, *, longest: int, rows: int | None = None) -> Tokenization:
    """Of a checkpoint, for texts of at most `longest` tokens and a model with so many embedding `rows`.

    Raises SpecError when there is no tokenizer, when it cannot be written as one file or reads hard texts otherwise
    then, or when its vocabulary is not the model's."""
    original = _loaded(folder)
    backend = _backend(folder, original)
    added = original.num_special_tokens_to_add()
    if longest <= added:
        raise SpecError(f"task.max_length: must be > {added}, the special tokens of every text, got {longest}")
    if rows is not None and (tokens := backend.get_vocab_size(with_added_tokens=False)) > rows:
        last = max(backend.get_vocab(with_added_tokens=False).values())
        if last >= rows:
            raise SpecError(
                f"{folder}: the tokenizer has a vocabulary of {tokens} tokens, but the model knows {rows} only; put "
                "the tokenizer there that the model was trained with"
            )
    _check_vocabulary(folder, backend)
    files = _files(original, backend, longest=longest, rows=rows)
    unknown = original.unk_token_id
    found = Tokenization(folder, files, files.opened(), original, rows, None if unknown is None else int(unknown))
    found.check_hard_texts()
    return found


def _loaded(folder: Path) -> Any:
    """What transformers loads. Raises SpecError."""
    try:
        with _quiet():
            original = AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except Exception as error:  # the libraries raise whatever they come across
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        there = sorted(file.name for file in folder.iterdir() if file.name in _FILES)
        raise SpecError(
            f"{folder}: its tokenizer cannot be loaded: {reason}; found {', '.join(there) or 'none of its files'}; put "
            f"{TOKENIZER} there, or every file of the vocabulary that the model was trained with"
        ) from error
    names = dict(original.vocab_files_names)
    names.pop("tokenizer_file", None)
    missing = sorted(name for name in names.values() if not (folder / name).is_file())
    if missing and not (folder / TOKENIZER).is_file():  # transformers makes up a vocabulary or merges that it misses
        raise SpecError(
            f"{folder}: no tokenizer: neither {TOKENIZER} nor {', '.join(missing)}; put the files there that the model "
            "was trained with"
        )
    return original


def _backend(folder: Path, original: Any) -> Tokenizer:
    """Raises SpecError for a tokenizer that exists in Python alone."""
    backend = getattr(original, "backend_tokenizer", None)
    if not isinstance(backend, Tokenizer):
        try:
            backend = convert_slow_tokenizer(original)
        except Exception as error:  # no converter, or one that cannot go on
            raise SpecError(
                f"{folder}: {type(original).__name__} exists in Python alone and cannot be written as a {TOKENIZER}, "
                "so that no exported folder could read texts; convert it, or take a model with another tokenizer"
            ) from error
    if getattr(backend.model, "dropout", None):  # chance has no place in what is measured and deployed
        backend.model.dropout = None
    return Tokenizer.from_str(backend.to_str())


def _check_vocabulary(folder: Path, backend: Tokenizer) -> None:
    """Raises SpecError when a vocabulary lies beside `tokenizer.json` that is another one: nobody can tell which of
    the two the model was trained with, and libraries read the one or the other."""
    if not (folder / TOKENIZER).is_file():
        return
    known = backend.get_vocab(with_added_tokens=True)
    for name in ("vocab.txt", "vocab.json"):
        beside = _vocabulary(folder / name)
        other = [token for token, place in beside.items() if known.get(token) != place]
        if len(other) > 0.01 * len(beside):
            raise SpecError(
                f"{folder}: {TOKENIZER} and {name} are not of one model: {len(other)} of {len(beside)} tokens, "
                f"{other[0]!r} among them, have another number there; remove the one that the model was not trained "
                "with"
            )


def _vocabulary(path: Path) -> dict[str, int]:
    """Token -> id; empty where there is no such file, or none that could be read."""
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            return {str(token): int(place) for token, place in found.items()}
        with path.open(encoding="utf-8") as lines:
            return {line.rstrip("\n"): place for place, line in enumerate(lines)}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _files(original: Any, backend: Tokenizer, *, longest: int, rows: int | None) -> TokenizerFiles:
    """Added tokens without an embedding row are left out: transformers adds a `[MASK]` to a vocabulary without one,
    and a text that holds it would end the model that reads it."""
    side = str(getattr(original, "truncation_side", "right"))
    backend.no_padding()
    backend.enable_truncation(longest, direction=side)
    tree = json.loads(backend.to_str())
    lost = set()
    if rows is not None:
        lost = {str(token["content"]) for token in tree["added_tokens"] if token["id"] >= rows}
        tree["added_tokens"] = [token for token in tree["added_tokens"] if token["id"] < rows]
    names = {name: str(getattr(original, name)) for name in _NAMES if getattr(original, name, None) is not None}
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": longest,
        "model_input_names": [IDS, MASK],
        "padding_side": "right",
        "truncation_side": side,
        "clean_up_tokenization_spaces": False,
        **{name: token for name, token in names.items() if token not in lost},
    }
    definition = json.dumps(tree, ensure_ascii=False, separators=(",", ":"))
    pad = original.pad_token_id
    usable = pad is not None and (rows is None or int(pad) < rows)
    return TokenizerFiles(definition, config, longest, int(pad) if usable else 0)


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the library's advice: what is wrong is said in our own words."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)
