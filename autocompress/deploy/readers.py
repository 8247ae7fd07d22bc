"""Rows as a user gives them, read by an exported folder, and answered in the batches that its model was measured with:
one class for each modality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Final, Protocol, final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.task_kinds import Modality
from autocompress.core.workload import Workload
from autocompress.deploy.serving import predict_as_served, serve
from autocompress.deploy.session import Session
from autocompress.errors import IntegrityError, SpecError
from autocompress.inputs import audio_reading, image_reading
from autocompress.inputs.tokenizer import TextTokenizer
from autocompress.inputs.words import ReadWords


class Reader(Protocol):
    """What stands between a user's rows and a session."""

    def is_row(self, given: Any) -> bool:
        """Whether it is one row and not several."""

    def read(self, rows: Sequence[Any]) -> Any:
        """What a model is given for them. Raises SpecError for what is no row."""

    def outputs(self, session: Session, rows: Sequence[Any], workload: Workload) -> NDArray[np.float32]:
        """[rows, outputs]. Raises SpecError for what is no row."""

    def words(self, rows: Sequence[Any]) -> Sequence[ReadWords]:
        """Where each word of a row is, if answers are of words; else nothing."""


@final
class TextReader:
    """Texts, pairs of texts, or rows of words, by their tokens."""

    def __init__(self, folder: Path, about: Mapping[str, Any]) -> None:
        self._pairs, self._pad = bool(about.get("pairs", False)), int(about.get("pad", 0))
        self._by_word = "tags" in about
        self._tokenizer = TextTokenizer.read(folder, longest=int(about["max_length"]), pad=self._pad)

    def read(self, texts: Sequence[Any]) -> tuple[list[NDArray[np.int64]], list[NDArray[np.int64]] | None]:
        """The token ids of each text; of pairs of texts their types, too. Raises SpecError for what is neither."""
        if self._by_word:
            return [one.ids for one in self._tokenizer.by_word(texts)], None
        if not texts or isinstance(texts[0], str):
            return self._tokenizer(texts), None
        return self._tokenizer.pairs(texts)

    def tokens(self, texts: Iterable[Any]) -> list[NDArray[np.int64]]:
        """The token ids of each text, or pair of texts. Raises SpecError for what is neither."""
        rows = list(texts)
        if len({isinstance(row, str) for row in rows}) > 1:
            return [self.read([row])[0][0] for row in rows]
        return self.read(rows)[0]

    def is_row(self, given: Any) -> bool:
        """Two texts in a tuple are a pair, and words in a tuple one row of them; in a list they are several texts."""
        in_tuple = (self._pairs or self._by_word) and isinstance(given, tuple)
        return isinstance(given, str) or (in_tuple and bool(given) and isinstance(given[0], str))

    def words(self, rows: Sequence[Any]) -> Sequence[ReadWords]:
        return self._tokenizer.by_word(rows) if self._by_word else ()

    def outputs(self, session: Session, rows: Sequence[Any], workload: Workload) -> NDArray[np.float32]:
        if self._pairs and (single := [row for row in rows if isinstance(row, str)]):
            raise SpecError(f"this model reads pairs of texts, (first, second); got the single text {single[0][:40]!r}")
        tokens, types = self.read(rows)
        return predict_as_served(session, tokens, workload, pad=self._pad, types=types)


class _FileReader:
    """Rows that are files, or what a Python program holds of them, read by a program that travels with folders."""

    noun: ClassVar[str]

    def is_row(self, given: Any) -> bool:
        return not isinstance(given, list | tuple)

    def words(self, rows: Sequence[Any]) -> Sequence[ReadWords]:
        return ()

    def read(self, rows: Sequence[Any], *, first: int = 0) -> NDArray[np.float32]:
        """[rows, ...]. Raises SpecError naming the first that is none."""
        found = []
        for place, one in enumerate(rows, start=first):
            try:
                found.append(self._read(one))
            except (image_reading.Unreadable, audio_reading.Unreadable) as error:
                raise SpecError(f"{self.noun} {place}: {error}") from error
        return np.stack(found)

    def outputs(self, session: Session, rows: Sequence[Any], workload: Workload) -> NDArray[np.float32]:
        size = workload.batch
        batches = (
            {session.main: self.read(rows[start : start + size], first=start)} for start in range(0, len(rows), size)
        )
        return serve(session, batches)

    def _read(self, row: Any) -> NDArray[np.float32]:
        raise NotImplementedError


@final
class ImageReader(_FileReader):
    """Images: paths, the bytes of files, arrays or Pillow's own."""

    noun = "image"

    def __init__(self, folder: Path, _: Mapping[str, Any]) -> None:
        try:
            self._how = image_reading.preprocessing_in(folder)
        except image_reading.Unreadable as error:
            raise IntegrityError(str(error)) from error

    def _read(self, row: Any) -> NDArray[np.float32]:
        """[channels, height, width]"""
        found: NDArray[np.float32] = image_reading.read([row], self._how)[0]
        return found


@final
class AudioReader(_FileReader):
    """Recordings: paths, the bytes of files, mappings with `array` and `sampling_rate`, or arrays of the model's own
    rate."""

    noun = "recording"

    def __init__(self, folder: Path, _: Mapping[str, Any]) -> None:
        try:
            self._how = audio_reading.preprocessing_in(folder)
        except audio_reading.Unreadable as error:
            raise IntegrityError(str(error)) from error

    def _read(self, row: Any) -> NDArray[np.float32]:
        """[bands, frames], [frames, bands] or [samples]"""
        found: NDArray[np.float32] = audio_reading.read([row], self._how)[0]
        return found


READERS: Final[Mapping[Modality, Callable[[Path, Mapping[str, Any]], Reader]]] = {
    "text": TextReader,
    "image": ImageReader,
    "audio": AudioReader,
}
"""By what the manifest says of its task; texts where it says nothing."""
