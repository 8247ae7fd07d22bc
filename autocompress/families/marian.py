"""MarianMT (Junczys-Dowmunt et al. 2018): BART's two stacks, one table for both and for the answer."""

from dataclasses import replace

from autocompress.families.family import Family, Front
from autocompress.families.whisper import WHISPER

ENCODER, DECODER = (replace(stack, order="post") for stack in WHISPER.stacks)

MARIAN = Family(
    model_type="marian",
    stacks=(replace(ENCODER, masked_by="attention_mask"), replace(DECODER, memory_masked_by="attention_mask")),
    fronts=(
        Front(name="embeddings", kind="embedding", tables=("shared",)),
        Front(
            name="encoder.embeddings",
            kind="embedding",
            stack="encoder",
            tables=("encoder.embed_positions",),
        ),
        Front(
            name="decoder.embeddings",
            kind="embedding",
            stack="decoder",
            tables=("decoder.embed_positions",),
        ),
    ),
)
