"""Torch-Pruning: whole heads and feed-forward channels cut by Taylor importance, ranked over all layers, then the
distillation that our own finalists get.

Hidden sizes stay: cutting them too, as its BERT example does, damages a small model more than it speeds it up.
"""

from __future__ import annotations

from typing import Any

from contract import Clock, Deployed, Job, peer_main

_RATIOS = (0.5, 0.75)
_BATCHES = 32


def make(job: Job) -> list[Deployed]:
    from distilled import School, deployed_twice

    from autocompress.anatomy import FAMILIES, Anatomy

    shared, found = Clock(), []
    with shared.running():
        school = School.of(job)
    for ratio in _RATIOS[: 1 if job.quick else None]:
        clock = Clock(shared.seconds)
        with clock.running():
            model = pruned(job, ratio)
            student = Anatomy(model, FAMILIES)
            school.teach(student)
        name = f"Torch-Pruning {ratio:.0%}, distilled"
        found += deployed_twice(job, student.model, name, f"model{ratio:g}", clock)
    return found


def pruned(job: Job, ratio: float) -> Any:
    """The teacher with this share of its heads and of its feed-forward channels cut away."""
    import torch
    import torch_pruning
    from transformers import AutoModelForSequenceClassification

    model = AutoModelForSequenceClassification.from_pretrained(job.teacher, attn_implementation="eager").eval()
    ids = torch.ones((1, 16), dtype=torch.int64)
    example = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    attention = [module for module in model.modules() if hasattr(module, "num_attention_heads")]
    heads = {part: one.num_attention_heads for one in attention for part in (one.query, one.key, one.value)}
    inner = [layer.intermediate.dense for layer in model.base_model.encoder.layer]
    cut = {*heads, *inner}
    pruner = torch_pruning.pruner.BasePruner(
        model,
        example,
        importance=torch_pruning.importance.GroupTaylorImportance(),
        global_pruning=True,
        pruning_ratio=ratio,
        max_pruning_ratio=0.9,
        num_heads=heads,
        prune_num_heads=True,
        prune_head_dims=False,
        head_pruning_ratio=ratio,
        root_module_types=[torch.nn.Linear],
        ignored_layers=[
            module
            for module in model.modules()
            if isinstance(module, torch.nn.Linear | torch.nn.LayerNorm | torch.nn.Embedding) and module not in cut
        ],
        output_transform=lambda out: out.logits.sum(),
    )
    _gradients(model, job)
    for group in pruner.step(interactive=True):
        group.prune()
    for one in attention:
        one.num_attention_heads = pruner.num_heads[one.query]
        one.all_head_size = one.query.out_features
    model.zero_grad(set_to_none=True)
    model.set_attn_implementation("sdpa")  # what it is served and exported with by default
    return model


def _gradients(model: Any, job: Job) -> None:
    """Taylor importance is read off the gradients of some training texts."""
    import torch
    from torch.nn import functional

    for row in job.rows("train", 8 if job.quick else 32 * _BATCHES):
        logits = model(input_ids=torch.tensor([row["ids"]])).logits
        functional.cross_entropy(logits, torch.tensor([row["label"]])).backward()  # type: ignore[no-untyped-call]


if __name__ == "__main__":
    peer_main(make, packages=("torch-pruning", "torch", "transformers", "onnxruntime"))
