"""A deployed model, ready to answer, in the runtime it was deployed for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.cores import usable_cores
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.text_inputs import IDS, MASK, TYPES
from autocompress.deploy.runtimes import opened, runtime
from autocompress.deploy.runtimes.onnx_runtime import EXECUTED
from autocompress.inputs.outputs import stacked

__all__ = ["EXECUTED", "Session", "runtime"]


Tokens = Sequence[NDArray[np.int64]]
"""The numbers of each text's tokens, or their types."""

_WINDOW: Final = 32
"""Inputs for each thread that are made before their outputs are waited for: images of a whole split take gigabytes."""


class Session:
    """A loaded model: named arrays in, one array out."""

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        runtime: str = DEFAULT_RUNTIME,
        switches: Mapping[str, str] | None = None,
        watch: Path | None = None,
    ) -> None:
        """`switches` are entries of the configuration of ONNX Runtime's sessions (see `core.lowering`). In the folder
        `watch`, if one is given, the runtime keeps what its profiler sees, and the graph that it executes (see
        `deploy.node_times`); only ONNX Runtime can.

        Raises IntegrityError when the file is no valid model, HostError when the runtime is not installed or would
        compute otherwise than its name promises."""
        self._engine = opened(runtime, model, threads=threads, switches=switches or {}, watch=watch)
        self._threads, self._at_once = threads, 1

    def use_all_cores(self) -> None:
        """From here on many inputs are answered side by side, each as it would be alone, where the runtime lets threads
        share a model. For judging files, not for timing them."""
        if self._engine.shared:
            self._at_once = max(1, usable_cores() // self._threads)

    def feed(
        self, ids: NDArray[np.int64], mask: NDArray[np.int64], types: NDArray[np.int64] | None = None
    ) -> Mapping[str, Any]:
        """The inputs this model wants of texts: stock exports also ask for token types, which are 0 for single ones."""
        return self.fed({IDS: ids, MASK: mask, TYPES: np.zeros_like(ids) if types is None else types})

    def fed(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Those of the inputs that this model wants."""
        return {name: array for name, array in inputs.items() if name in self._engine.inputs}

    @property
    def main(self) -> str:
        """The name of what it reads rows of, where that is one array."""
        (name,) = self._engine.sizes
        return name

    def drawn(self, batch: int, length: int, *, rows: int, seed: np.random.Generator) -> Mapping[str, Any]:
        """Random inputs of a workload: `length` token ids a text, from 1 and below `rows`; of anything else as much as
        the file says that a row is. The values do not matter for speed."""
        if IDS in self._engine.inputs:
            ids: NDArray[np.int64] = seed.integers(1, rows, (batch, length))
            return self.feed(ids, np.ones_like(ids))
        shapes = {name: [batch, *(size or length for size in sizes[1:])] for name, sizes in self._engine.sizes.items()}
        return {name: seed.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()}

    def raw(self, feed: Mapping[str, Any]) -> Any:
        """The only output, as the runtime gives it."""
        return self._engine.infer(feed)

    def end_watch(self) -> Path:
        """Stops the profiler of a watched session: the file it wrote."""
        return self._engine.end_watch()

    def run(self, feed: Mapping[str, Any]) -> NDArray[np.float32]:
        """Logits [texts, classes], or [texts, length, classes] where each token is answered for."""
        return np.asarray(self.raw(feed), dtype=np.float32)

    def outputs(self, feeds: Iterable[Mapping[str, Any]]) -> Iterator[NDArray[np.float32]]:
        """What `run` gives for each, in their order."""
        if self._at_once == 1:
            yield from map(self.run, feeds)
            return
        waiting = iter(feeds)
        with ThreadPoolExecutor(self._at_once) as pool:
            while some := list(islice(waiting, _WINDOW * self._at_once)):
                yield from pool.map(self.run, some)

    def predict(self, tokens: Tokens, types: Tokens | None = None) -> NDArray[np.float32]:
        """Logits [texts, ...] of texts served one by one: int8 activations get a scale for each text, and padding costs
        nothing. What is answered for each token is filled up with zeros to the longest text."""
        kinds = [None] * len(tokens) if types is None else [one[None] for one in types]
        fed = (self.feed(ids[None], np.ones_like(ids)[None], kind) for ids, kind in zip(tokens, kinds, strict=True))
        return stacked(list(self.outputs(fed)))
