"""ELECTRA (Clark et al. 2020): BERT's layers below a head of its own with GELU; in the small ones, embeddings narrower
than the layers are projected to their width."""

from dataclasses import replace

from autocompress.anatomy.bert import BERT

ELECTRA = replace(
    BERT,
    model_type="electra",
    head=("classifier.dense", "classifier.out_proj"),
    head_activation="gelu",
    projection="electra.embeddings_project",
)
