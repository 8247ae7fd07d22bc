"""How texts become token ids: one `tokenizer.json`, read the same way while a study runs and out of an exported folder.

Everything that decides the ids stands in the file, the number of tokens that a text is cut at included, so that any
program that reads such files (Python, Rust, JavaScript) gets those that the model was trained with.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from autocompress.errors import IntegrityError, SpecError
from autocompress.inputs.words import ReadWords, check_words, joined_words, read_words

TOKENIZER: Final = "tokenizer.json"
TOKENIZER_CONFIG: Final = "tokenizer_config.json"


@final
class TextTokenizer:
    """Texts in, token ids out."""

    def __init__(self, tokenizer: Tokenizer, *, longest: int, pad: int) -> None:
        """`longest` is the number of tokens that a text is cut at, special ones included; which end stays, the file
        says. A text in which there is nothing to read is one token `pad`: a model reads at least one."""
        direction = (tokenizer.truncation or {}).get("direction", "right")
        tokenizer.no_padding()
        tokenizer.enable_truncation(longest, direction=direction)
        self._tokenizer, self._pad = tokenizer, pad

    @staticmethod
    def read(folder: Path, *, longest: int, pad: int) -> TextTokenizer:
        """That of an exported folder. Raises IntegrityError when the file cannot be read."""
        path = folder / TOKENIZER
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare exceptions
            raise IntegrityError(f"{path}: no tokenizer can be read from it: {error}") from error
        return TextTokenizer(tokenizer, longest=longest, pad=pad)

    def __call__(self, texts: Sequence[str]) -> list[NDArray[np.int64]]:
        """The token ids of each text. Raises SpecError naming the first that is no text."""
        for place, text in enumerate(texts):
            if not isinstance(text, str):
                raise SpecError(f"text {place}: must be a str, got {type(text).__name__} {str(text)[:40]!r}")
        try:
            found = self._tokenizer.encode_batch_fast(list(texts))
        except (UnicodeEncodeError, TypeError) as error:
            raise SpecError(_no_unicode(texts)) from error
        return [np.asarray(text.ids or [self._pad], dtype=np.int64) for text in found]

    def pairs(self, rows: Sequence[tuple[str, str]]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]]]:
        """The token ids of pairs of texts, and the type of each token: of a pair that is too long, the longer text is
        cut. Raises SpecError naming the first that is no pair."""
        for place, row in enumerate(rows):
            if not isinstance(row, (tuple, list)) or len(row) != 2 or not all(isinstance(text, str) for text in row):
                raise SpecError(f"pair {place}: must be two texts, got {type(row).__name__} {str(row)[:40]!r}")
        try:
            found = self._tokenizer.encode_batch([(first, second) for first, second in rows])
        except (UnicodeEncodeError, TypeError) as error:
            raise SpecError(_no_unicode([text for row in rows for text in row])) from error
        ids = [np.asarray(pair.ids or [self._pad], dtype=np.int64) for pair in found]
        return ids, [np.asarray(pair.type_ids or [0], dtype=np.int64) for pair in found]

    def by_word(self, rows: Sequence[Any]) -> list[ReadWords]:
        """Texts, or rows of words, with the tokens that their words begin with. Raises SpecError naming the first that
        is neither."""
        for place, row in enumerate(rows):
            check_words(row, f"row {place}")
        texts = [(row, None) if isinstance(row, str) else joined_words(row) for row in rows]
        try:
            found = self._tokenizer.encode_batch([text for text, _ in texts])
        except (UnicodeEncodeError, TypeError) as error:
            raise SpecError(_no_unicode([text for text, _ in texts])) from error
        pad = self._pad
        return [read_words(one, text, bounds, pad=pad) for one, (text, bounds) in zip(found, texts, strict=True)]

    def whole(self, text: str, second: str | None = None) -> list[int]:
        """The ids of a text, or of two, that is not cut."""
        other = Tokenizer.from_str(self._tokenizer.to_str())
        other.no_truncation()
        return list(other.encode(text, second).ids)

    def words(self, ids: Sequence[int] | NDArray[np.int64]) -> tuple[str, ...]:
        """Tokens as people write them."""
        return tuple(self._tokenizer.decode([int(token)], skip_special_tokens=False).strip() for token in ids)


def _no_unicode(texts: Sequence[str]) -> str:
    for place, text in enumerate(texts):
        try:
            text.encode()
        except UnicodeEncodeError as error:
            return f"text {place}: holds {text[error.start]!r}, half a character; decode the text it comes from anew"
    return "a text could not be read by the tokenizer"


@dataclass(frozen=True, slots=True)
class TokenizerFiles:
    """What an exported folder holds of its tokenizer: the content of `tokenizer.json`, which alone decides the ids, and
    of `tokenizer_config.json`, with which transformers reads that file as it is. `longest` and `pad` are those of
    `TextTokenizer`."""

    definition: str
    config: Mapping[str, Any]
    longest: int
    pad: int

    def opened(self) -> TextTokenizer:
        return TextTokenizer(Tokenizer.from_str(self.definition), longest=self.longest, pad=self.pad)

    def about(self) -> dict[str, Any]:
        return {"max_length": self.longest, "pad": self.pad}

    def write(self, folder: Path) -> None:
        (folder / TOKENIZER).write_text(self.definition, encoding="utf-8")
        (folder / TOKENIZER_CONFIG).write_text(json.dumps(self.config, indent=1, sort_keys=True) + "\n", "utf-8")
