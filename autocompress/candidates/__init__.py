"""The life of a candidate up to its score: what it is cut from, and what it learns from."""
