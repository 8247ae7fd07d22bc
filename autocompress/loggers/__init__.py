"""Where people look at many runs beside each other: TensorBoard, MLflow, Weights & Biases. Each imports its library
when it is made, and not before."""

from autocompress.loggers.journal import Journal
from autocompress.loggers.ml_flow import MLflow
from autocompress.loggers.named import LOGGERS, named
from autocompress.loggers.tensor_board import TensorBoard
from autocompress.loggers.weights_and_biases import WeightsAndBiases

__all__ = ["LOGGERS", "Journal", "MLflow", "TensorBoard", "WeightsAndBiases", "named"]
