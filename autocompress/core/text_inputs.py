"""What models of texts call their inputs."""

from typing import Final

IDS: Final = "input_ids"
"""The number of each token."""
MASK: Final = "attention_mask"
"""1 for a token, 0 for what fills a text up to the longest of its batch."""
TYPES: Final = "token_type_ids"
"""0 for tokens of the first text, 1 for those of the second of a pair."""
