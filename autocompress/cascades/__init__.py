"""Two models of one study as one: a fast one answers, and texts on which it is unsure go on to a larger one.

`prices`      what a pair costs, by the share of texts that is handed on
`crossing`    thresholds chosen on one half of the held-out rows, and what a pair answers to the other half
`search`      all pairs and thresholds, and what each is expected to lose

Models with a few stages of which the first that is sure answers are old (Viola and Jones 2001); that the largest share
of a softmax is a fair rule to stop by is shown by Jitkrittum et al. 2023, and where it fails: labels that are wrong in
one region, and data that shift.
"""

from autocompress.cascades.crossing import Crossed, crossed, halves, threshold_for
from autocompress.cascades.prices import Costs, Price, priced, share_interval
from autocompress.cascades.search import SHARES, Answerer, Found, cascade_digest, found_cascades

__all__ = [
    "SHARES",
    "Answerer",
    "Costs",
    "Crossed",
    "Found",
    "Price",
    "cascade_digest",
    "crossed",
    "found_cascades",
    "halves",
    "priced",
    "share_interval",
    "threshold_for",
]
