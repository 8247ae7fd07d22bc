"""RemBERT (Chung et al. 2021): BERT whose embeddings are narrower than its layers."""

from dataclasses import replace

from autocompress.anatomy.bert import BERT

REMBERT = replace(
    BERT,
    model_type="rembert",
    head=("rembert.pooler.dense", "classifier"),
    projection="rembert.encoder.embedding_hidden_mapping_in",
)
