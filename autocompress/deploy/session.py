"""ONNX Runtime sessions with their switches named, and refused when the runtime silently does something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from autocompress.core.device import Runtime
from autocompress.deploy.measure import session_entries
from autocompress.errors import HostError, IntegrityError

PROVIDER: Final = "CPUExecutionProvider"
EXECUTED: Final = "executed.onnx"
"""The graph that a watched session executes, with the runtime's own fusions."""


def runtime() -> Runtime:
    """The runtime in use, for profiles and model cards."""
    return Runtime("onnxruntime", onnxruntime.__version__, {"provider": PROVIDER})


class Session:
    """A loaded model: token ids in, logits out."""

    def __init__(
        self,
        model: Path | bytes,
        *,
        threads: int = 1,
        switches: Mapping[str, str] | None = None,
        watch: Path | None = None,
    ) -> None:
        """`switches` are entries of the session's configuration (see `core.lowering`). In the folder `watch`, if one is
        given, the runtime keeps what its profiler sees, and the graph that it executes (see `deploy.node_times`).

        Raises IntegrityError when the file is no valid model, HostError when the runtime fell back to another
        provider than the one asked for."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for key, value in session_entries(switches or {}).items():
            options.add_session_config_entry(key, value)
        if watch is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(watch / "profile")
            options.optimized_model_filepath = str(watch / EXECUTED)
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=[PROVIDER])
        except Exception as error:  # the runtime raises a private class for every kind of damage
            raise IntegrityError(
                f"{model if isinstance(model, Path) else 'model'}: not a valid model: {error}"
            ) from error
        got = self._session.get_providers()[0]
        if got != PROVIDER:
            raise HostError(f"onnxruntime: asked for {PROVIDER}, got {got}")
        self._names = {entry.name for entry in self._session.get_inputs()}

    def feed(self, input_ids: NDArray[np.int64], attention_mask: NDArray[np.int64]) -> Mapping[str, Any]:
        """The inputs this model wants; stock exports also ask for token types."""
        fed = {"input_ids": input_ids, "attention_mask": attention_mask, "token_type_ids": np.zeros_like(input_ids)}
        return {name: array for name, array in fed.items() if name in self._names}

    def raw(self, feed: Mapping[str, Any]) -> Any:
        """The only output, as the runtime gives it."""
        (found,) = self._session.run(None, feed)
        return found

    def end_watch(self) -> Path:
        """Stops the profiler of a watched session: the file it wrote."""
        return Path(self._session.end_profiling())

    def run(self, feed: Mapping[str, Any]) -> NDArray[np.float32]:
        """Logits [texts, classes]."""
        return np.asarray(self.raw(feed), dtype=np.float32)

    def predict(self, tokens: tuple[NDArray[np.int64], ...]) -> NDArray[np.float32]:
        """Logits [texts, classes] of texts served one by one: int8 activations get a scale for each text, and padding
        costs nothing."""
        return np.concatenate([self.run(self.feed(ids[None], np.ones_like(ids)[None])) for ids in tokens])
