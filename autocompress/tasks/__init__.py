"""What models are for: one file per task."""

from autocompress.tasks.examples import Batch, Examples, batches, with_tokens
from autocompress.tasks.text_classification import (
    Score,
    TextClassification,
    load_text_classification,
    unlabelled_examples,
)
from autocompress.tasks.tokenization import HARD_TEXTS

__all__ = [
    "HARD_TEXTS",
    "Batch",
    "Examples",
    "Score",
    "TextClassification",
    "batches",
    "load_text_classification",
    "unlabelled_examples",
    "with_tokens",
]
