"""How sure one can be of what a model loses: from the scores of single rows, kept for every finalist and its teacher.

`rows`          scores under any weights of rows, and the file that keeps them
`doubts`        how unsure a classifier is of single rows, kept in the same file
`losses`        what members lost on rows that were seen, and how well these tell it
`folds`         the same of folds of the training split, by students that were trained without them
`belief`        what they lose on rows that nobody has seen, and which of them keep a bound
"""

from autocompress.certainty.belief import CONFIDENCE, Belief, believe, rows_needed
from autocompress.certainty.doubts import Doubts, doubts_in, doubts_of, temperature_of
from autocompress.certainty.folds import Folds, fold_losses, foreseen
from autocompress.certainty.losses import Losses, held_out_losses, losses_of, pooled, with_floor
from autocompress.certainty.rows import RowScores, drawn, from_bytes, resampled, to_bytes

__all__ = [
    "CONFIDENCE",
    "Belief",
    "Doubts",
    "Folds",
    "Losses",
    "RowScores",
    "believe",
    "doubts_in",
    "doubts_of",
    "drawn",
    "fold_losses",
    "foreseen",
    "from_bytes",
    "held_out_losses",
    "losses_of",
    "pooled",
    "resampled",
    "rows_needed",
    "temperature_of",
    "to_bytes",
    "with_floor",
]
