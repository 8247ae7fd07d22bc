"""Which heads, feed-forward channels and layers a trained model can best do without, read from data.

Criteria, all "larger is more important". Of heads (h) and channels (c):

fisher      h c  sum over texts of the squared gradient of the loss with respect to a gate on the unit
                 (the diagonal of the empirical Fisher information; Kwon et al. 2022, section 4)
taylor      h c  sum over texts of the absolute gradient of the same gate (Michel et al. 2019, equation 2)
confidence  h    mean largest attention weight (Voita et al. 2019, section 4)
entropy     h    the negative mean entropy of the attention, in nats (a head that looks everywhere says little)
distance    h    the negative mean number of tokens between a token and what the head looks at, weighted by attention
                 (Vig and Belinkov 2019). Near is important: heads that look at neighbours are among those that
                 survive pruning (Voita et al. 2019), while a text's far end is mostly its separator, where heads
                 look that have nothing to do (Clark et al. 2019, section 3.2)
redundancy  h    the Jensen-Shannon divergence, in bits, from the maps of the most similar head of the layer (Clark et
                 al. 2019, section 6, clusters heads by it): a head that another one repeats is dispensable
magnitude   h c  the norm of the unit's weights; needs no data
combined    h c  the mean rank within the layer over all the others, 0 to 1 (Borda's count); scales do not matter to it

Of channels of the residual stream:

variance         how much the channel varies over tokens where blocks read it, as a share of all channels; the mean over
                 blocks. Gradients of gates (fisher, taylor) choose channels without which norms no longer see what they
                 divided by: they answer worse than a choice by chance (docs/experiments.md)

Of layers:

residual         how far the layer turns the residual stream: the mean over tokens of 1 - cosine of what goes in and
                 what comes out (Men et al. 2024, ShortGPT, equation 1: block influence)
fisher, taylor   the sums over the layer's heads and channels
combined         the mean rank of the layer over these three
"""

from autocompress.anatomy.scores import (
    CHANNEL_CRITERIA,
    CRITERIA,
    EVERYTHING,
    LAYER_CRITERIA,
    VARIANCE,
    Importance,
    Scores,
    importance_from_json,
    no_preference,
)
from autocompress.importance.attention import attention_maps, divergence
from autocompress.importance.measuring import measure_importance

__all__ = [
    "CHANNEL_CRITERIA",
    "CRITERIA",
    "EVERYTHING",
    "LAYER_CRITERIA",
    "VARIANCE",
    "Importance",
    "Scores",
    "attention_maps",
    "divergence",
    "importance_from_json",
    "measure_importance",
    "no_preference",
]
