"""MLflow, by its client: what a program of yours tracks in MLflow besides is left alone."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, final

from autocompress.loggers.library import required

_PARAMS_AT_ONCE: Final = 100
_PARAM_LENGTH: Final = 500
"""What MLflow takes of a parameter, in every version."""
_STATUS: Final = {"complete": "FINISHED", "interrupted": "KILLED"}
_NOT_IN_NAMES: Final = re.compile(r"[^\w\-. /]")


@final
class MLflow:
    """A run for each time that a study is launched, in one experiment of a tracking store."""

    def __init__(self, uri: str | None = None, *, experiment: str = "autocompress") -> None:
        """`uri` is a server, `sqlite:///mlflow.db`, or None for what MLflow's environment variables say. Raises
        HostError where mlflow is not installed."""
        library = required("mlflow", of="MLflow", install="pip install mlflow")
        self._entities = required("mlflow.entities", of="MLflow", install="pip install mlflow")
        self._client, self._experiment = library.MlflowClient(tracking_uri=uri or None), experiment
        self._run = ""
        self._said: dict[str, list[str]] = {}

    def begin(self, study: str, settings: Mapping[str, Any]) -> None:
        found = self._client.get_experiment_by_name(self._experiment)
        experiment = found.experiment_id if found else self._client.create_experiment(self._experiment)
        run = self._client.create_run(experiment, run_name=study, tags={"autocompress.study": study})
        self._run, self._said = run.info.run_id, {}
        params = [self._entities.Param(_name(key), text[:_PARAM_LENGTH]) for key, text in flat(settings)]
        for first in range(0, len(params), _PARAMS_AT_ONCE):
            self._client.log_batch(self._run, params=params[first : first + _PARAMS_AT_ONCE])

    def numbers(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self._entities.Metric(_name(name), value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run, metrics=metrics)

    def words(self, name: str, text: str, step: int | None = None) -> None:
        """What has steps is gathered, and is one file at the end: MLflow has no text with steps."""
        if step is None:
            self._client.log_text(self._run, text, f"{name}.md")
        else:
            self._said.setdefault(name, []).append(text)

    def end(self, state: str) -> None:
        for name, texts in self._said.items():
            self._client.log_text(self._run, "\n\n".join(texts) + "\n", f"{name}.md")
        self._client.set_terminated(self._run, _STATUS.get(state, "FAILED"))


def _name(name: str) -> str:
    """As MLflow takes it: `layers.*` has a character that it refuses."""
    return _NOT_IN_NAMES.sub("_", name)


def flat(settings: Any, place: Sequence[str] = ()) -> Iterator[tuple[str, str]]:
    """Each value of a tree with where it stands: `("budget.trials", "240")`. Lists are told whole."""
    if isinstance(settings, Mapping):
        for key, value in settings.items():
            yield from flat(value, (*place, str(key)))
    elif settings is not None:
        yield ".".join(place), str(settings)
