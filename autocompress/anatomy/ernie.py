"""ERNIE (Sun et al. 2020): BERT with embeddings of tasks, of which a classifier takes the first."""

from dataclasses import replace

from autocompress.anatomy.bert import BERT

ERNIE = replace(
    BERT,
    model_type="ernie",
    head=("ernie.pooler.dense", "classifier"),
    constant_rows=("token_type_embeddings", "task_type_embeddings"),
)
