"""Does a finalist's recovery need its word embeddings trained? Time an epoch and quality, with and without.

    python studies/benchmarks/recovery.py [--seeds 3]

One student (4 of 6 layers, 6 heads, 768 channels) of the quickstart's teacher, one thread, the quickstart's recipe.
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
from autocompress.distill import CHECKPOINT, best_weights, predict
from autocompress.finalists import Recovery, trainable_student
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    seeds = range(parser.parse_args().seeds)
    prepared = prepare()
    task = prepared.setup.task
    recovery = Recovery.of(prepared.setup, prepared.spec.finalists, seed=0)
    rows = []
    for seed in seeds:
        for freeze in (False, True):
            tried = replace(recovery, seed=seed, spec=replace(recovery.spec, freeze_embeddings=freeze))
            with tempfile.TemporaryDirectory() as folder:
                started = time.monotonic()
                tried(POLICY, folder=Path(folder))
                seconds = (time.monotonic() - started) / tried.spec.training.epochs
                weights, history = best_weights(Path(folder) / CHECKPOINT)
            student = trainable_student(prepared.setup, POLICY)
            student.model.load_state_dict(weights)
            test = task.examples("test")
            logits = predict(student.model, batches(test, 32))
            rows.append(
                {
                    "freeze_embeddings": freeze,
                    "seed": seed,
                    "validation": history.best,
                    "test": task.score(logits.argmax(axis=1), test.labels).value,
                    "seconds_an_epoch": round(seconds, 1),
                }
            )
            print(rows[-1], flush=True)
    for freeze in (False, True):
        found = [row for row in rows if row["freeze_embeddings"] is freeze]
        means = {key: statistics.mean(row[key] for row in found) for key in ("validation", "test", "seconds_an_epoch")}
        print(f"freeze_embeddings={freeze}: " + ", ".join(f"{name} {value:.4g}" for name, value in means.items()))
    print(f"kept in {keep('recovery', rows)}")


if __name__ == "__main__":
    main()
