"""Loggers as a command line names them: `tensorboard:runs`, `mlflow:sqlite:///mlflow.db`, `wandb:my-project`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from autocompress.core.ports import Logger
from autocompress.errors import SpecError, did_you_mean
from autocompress.loggers.ml_flow import MLflow
from autocompress.loggers.tensor_board import TensorBoard
from autocompress.loggers.weights_and_biases import WeightsAndBiases

LOGGERS: Final[Mapping[str, Callable[..., Logger]]] = {
    "tensorboard": TensorBoard,
    "mlflow": MLflow,
    "wandb": WeightsAndBiases,
}
"""By name; each is made of where it logs to, or of nothing."""


def named(text: str) -> Logger:
    """`NAME`, or `NAME:WHERE`. Raises SpecError for another name, HostError where its library is not installed."""
    name, _, where = text.partition(":")
    if name not in LOGGERS:
        raise SpecError(f"--log {text}: no logger is called {name!r}; {did_you_mean(name, LOGGERS)}")
    given: tuple[Any, ...] = (where,) if where else ()
    return LOGGERS[name](*given)
