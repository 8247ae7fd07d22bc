"""How sure one can be of what a model loses: from the scores of single rows, kept for every finalist and its teacher.

`rows`          scores under any weights of rows, and the file that keeps them
`losses`        what members lost on rows that were seen, and how well these tell it
`folds`         the same of folds of the training split, by students that were trained without them
`belief`        what they lose on rows that nobody has seen, and which of them keep a bound
"""

from autocompress.certainty.belief import CONFIDENCE, Belief, believe, rows_needed
from autocompress.certainty.folds import Folds, fold_losses, foreseen
from autocompress.certainty.losses import Losses, held_out_losses, losses_of, pooled, with_floor
from autocompress.certainty.rows import RowScores, drawn, from_bytes, resampled, to_bytes

__all__ = [
    "CONFIDENCE",
    "Belief",
    "Folds",
    "Losses",
    "RowScores",
    "believe",
    "drawn",
    "fold_losses",
    "foreseen",
    "from_bytes",
    "held_out_losses",
    "losses_of",
    "pooled",
    "resampled",
    "rows_needed",
    "to_bytes",
    "with_floor",
]
