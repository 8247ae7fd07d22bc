"""Weights & Biases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, final

from autocompress.loggers.library import required

_STEP: Final = "step"


@final
class WeightsAndBiases:
    """A run for each time that a study is launched, in the group of its name. `mode="offline"`, or
    `WANDB_MODE=offline`, keeps it on this machine."""

    def __init__(
        self,
        project: str = "autocompress",
        *,
        entity: str | None = None,
        mode: Literal["online", "offline"] | None = None,
    ) -> None:
        """Raises HostError where wandb is not installed."""
        self._library = required("wandb", of="Weights & Biases", install="pip install wandb")
        self._project, self._entity, self._mode = project, entity, mode
        self._run: Any = None

    def begin(self, study: str, settings: Mapping[str, Any]) -> None:
        self._run = self._library.init(
            project=self._project,
            entity=self._entity,
            mode=self._mode,
            name=study,
            group=study,
            config=dict(settings),
            reinit="create_new",  # a run of the program's own goes on
            settings=self._library.Settings(console="off", silent=True),
        )
        self._run.define_metric(_STEP)
        self._run.define_metric("*", step_metric=_STEP)  # its own steps only grow; ours begin again with the finalists

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, _STEP: step})

    def words(self, name: str, text: str, step: int | None = None) -> None:
        if step is None:
            self._run.summary[name] = text
        else:
            self._run.log({name: text, _STEP: step})

    def end(self, state: str) -> None:
        self._run.finish(exit_code=0 if state == "complete" else 1)
