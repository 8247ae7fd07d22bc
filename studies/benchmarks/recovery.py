"""What a finalist's recovery gains and costs by each of its habits: seconds and quality, side by side.

    python studies/benchmarks/recovery.py [--seeds 2]

One student (4 of 6 layers, 6 heads, 768 channels) of the quickstart's teacher, one thread. The quickstart's recipe, and
the same without one habit at a time: with the model's own dropout, with all embeddings trained, without made-up texts
(for as many epochs, and for as many steps).
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from prepared import prepare
from record import keep

from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.spec import FinalistSpec
from autocompress.distill import CHECKPOINT, best_weights, predict
from autocompress.finalists import Recovery, trainable_student
from autocompress.lessons import Lessons
from autocompress.tasks import batches

KEPT = (0, 1, 3, 5)
POLICY = CompressionPolicy(
    (
        Step("remove_layer", "layers.2"),
        Step("remove_layer", "layers.4"),
        *(Step("prune_heads", f"layers.{i}.attention", {"heads": 6, "importance": "fisher"}) for i in KEPT),
        *(Step("prune_channels", f"layers.{i}.feed_forward", {"channels": 768, "importance": "fisher"}) for i in KEPT),
    )
)


def variants(spec: FinalistSpec) -> dict[str, FinalistSpec]:
    plain, longer = replace(spec.transfer, copies=0), spec.training.epochs * (1 + spec.transfer.copies)
    return {
        "the recipe": spec,
        "with the model's dropout": replace(spec, training=replace(spec.training, dropout=None)),
        "embeddings trained": replace(spec, freeze_embeddings=False),
        "no made-up texts": replace(spec, transfer=plain),
        "no made-up texts, as many steps": replace(
            spec, transfer=plain, training=replace(spec.training, epochs=longer)
        ),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2)
    seeds = range(parser.parse_args().seeds)
    prepared = prepare()
    task = prepared.setup.task
    rows = []
    for seed in seeds:
        for name, spec in variants(prepared.spec.finalists).items():
            lessons = Lessons.of(prepared.setup, spec.transfer, seed=seed)
            recovery = Recovery(prepared.setup, lessons, spec, seed)
            with tempfile.TemporaryDirectory() as folder:
                started = time.monotonic()
                recovery(POLICY, folder=Path(folder))
                seconds = time.monotonic() - started
                weights, history = best_weights(Path(folder) / CHECKPOINT)
            student = trainable_student(prepared.setup, POLICY)
            student.model.load_state_dict(weights)
            test = task.examples("test")
            logits = predict(student.model, batches(test, 32))
            quality = task.score(logits.argmax(axis=1), test.labels).value
            rows.append(
                {"variant": name, "seed": seed, "validation": history.best, "test": quality, "seconds": round(seconds)}
            )
            print(rows[-1], flush=True)
    for name in variants(prepared.spec.finalists):
        found = [row for row in rows if row["variant"] == name]
        means = {key: statistics.mean(row[key] for row in found) for key in ("validation", "test", "seconds")}
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in means.items()))
    print(f"kept in {keep('recovery', rows)}")


if __name__ == "__main__":
    main()
