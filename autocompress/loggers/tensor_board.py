"""TensorBoard, by event files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, final

from autocompress.loggers.library import required

_FLUSH_SECONDS: Final = 10


@final
class TensorBoard:
    """Event files in a folder named after the study, which `tensorboard --logdir FOLDER` shows. What an earlier run of
    the same study left there is hidden: the new one holds it too."""

    def __init__(self, folder: str | Path = "runs") -> None:
        """Raises HostError where tensorboardX, which comes with ray[tune], is not installed."""
        library = required("tensorboardX", of="TensorBoard", install="pip install tensorboardX")
        self._make, self._folder, self._writer = library.SummaryWriter, Path(folder), None

    def begin(self, study: str, settings: Mapping[str, Any]) -> None:
        place = str(self._folder / study)
        self._writer = self._make(logdir=place, purge_step=0, flush_secs=_FLUSH_SECONDS)
        told = json.dumps(settings, indent=2, default=str)
        self.words("settings", "\n".join(f"    {line}" for line in told.splitlines()))

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        for name, value in values.items():
            self._open().add_scalar(name, value, step)

    def words(self, name: str, text: str, step: int | None = None) -> None:
        self._open().add_text(name, text, step or 0)

    def end(self, state: str) -> None:
        self._open().close()
        self._writer = None

    def _open(self) -> Any:
        if self._writer is None:
            raise RuntimeError("TensorBoard: nothing is logged before `begin`, nor after `end`")
        return self._writer
