"""What models are for: one file per task."""

from autocompress.tasks.examples import Batch, Examples, batches
from autocompress.tasks.text_classification import Score, TextClassification, load_text_classification

__all__ = ["Batch", "Examples", "Score", "TextClassification", "batches", "load_text_classification"]
