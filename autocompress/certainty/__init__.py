"""How sure one can be of what a model loses: from the scores of single rows, kept for every finalist and its teacher.

`rows`          scores under any weights of rows, and the file that keeps them
"""

from autocompress.certainty.rows import RowScores, drawn, from_bytes, to_bytes

__all__ = ["RowScores", "drawn", "from_bytes", "to_bytes"]
