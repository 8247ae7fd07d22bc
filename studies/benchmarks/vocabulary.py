"""What fewer words are worth: how many rows of MiniLM's table the questions use, how held-out questions are read with
these alone, what a file with int8 layers and 4-bit embeddings weighs, and how often the model says the same as before,
untrained.

    python studies/benchmarks/vocabulary.py [--print]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from hidden_size import ready, sizes, without
from numpy.typing import NDArray
from record import RESULTS, keep, kept

from autocompress import operators
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.deploy.graph import write_graph
from autocompress.distill import predict
from autocompress.inputs.vocabulary import Coverage, row_scores, uses_of
from autocompress.tasks import batches

MODELS: Final[Mapping[str, tuple[Step, ...]]] = {
    "6 layers, uncut": (),
    "3 layers, 6 heads, 384 channels": (*without(0, 2, 5), *sizes(6, 384, layers=(1, 3, 4))),
}
SPLITS: Final = ("validation", "test")


def policy_of(steps: tuple[Step, ...], rows: int, layers: int) -> CompressionPolicy:
    """Layers in int8, the table of words in 4 bits."""
    fewer = Step("prune_vocabulary", "embeddings", {"rows": rows})
    rounded = [Step("quantize", f"layers.{layer}", {"bits": 8}) for layer in range(layers)]
    return CompressionPolicy((*steps, fewer, *rounded, Step("quantize", "embeddings", {"bits": 4})))


def answers(setup: Setup, policy: CompressionPolicy) -> dict[str, NDArray[np.int64]]:
    """The class of every held-out question, by the model as it is cut."""
    model, task = SliceEvaluator(setup).build(policy).model, setup.reading(policy).task
    return {split: predict(model, batches(task.examples(split), 32), precision="fp32").argmax(1) for split in SPLITS}


def megabytes(setup: Setup, policy: CompressionPolicy) -> float:
    student = SliceEvaluator(setup).build(policy)
    student.renumber()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(write_graph(student.weights()).SerializeToString())
        return path.stat().st_size / 1e6


def judged(setup: Setup, rows: int) -> dict[str, Any]:
    """How held-out questions are read with so many rows, and what becomes of each model."""
    whole, task = setup.teacher().shape(), setup.task
    row: dict[str, Any] = {"rows": rows}
    vocabulary = setup.vocabulary(policy_of((), rows, whole.depth))
    assert vocabulary is not None, "the policy names its rows"
    row |= {split: asdict(Coverage.of(task.examples(split), vocabulary)) for split in SPLITS}
    for name, steps in MODELS.items():
        before, after = (
            operators.effective(policy_of(steps, count, whole.depth), whole)[0] for count in (whole.vocabulary, rows)
        )
        known, found = answers(setup, before), answers(setup, after)
        labels = {split: task.examples(split).labels for split in SPLITS}
        row[name] = {
            "mb": megabytes(setup, after),
            "same": {split: float((known[split] == found[split]).mean()) for split in SPLITS},
            "right": {split: float((found[split] == labels[split]).mean()) for split in SPLITS},
        }
    return row


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| rows of the table of words | tokens left: validation, test | questions read as before | tokens a question | "
        + " | ".join(f"{name}: file, same answers, right on test" for name in MODELS)
        + " |",
        "|---:|---:|---:|---:|" + "---:|" * len(MODELS),
    ]
    for row in rows:
        read = [row[split] for split in SPLITS]
        cells = [
            f"{row['rows']:,}",
            ", ".join(f"{one['tokens']:.1%}" for one in read),
            ", ".join(f"{one['texts']:.1%}" for one in read),
            ", ".join(f"{one['growth']:.2f}x" for one in read),
            *(
                f"{row[name]['mb']:.1f} MB, {row[name]['same']['test']:.1%}, {row[name]['right']['test']:.1%}"
                for name in MODELS
            ),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    rows: list[dict[str, Any]] = kept("vocabulary", [])
    if not parser.parse_args().print:
        torch.set_num_threads(1)
        setup = ready()
        task, count = setup.task, setup.teacher().shape().vocabulary
        scores = row_scores(task.tokenizer, count, [task.examples("train")])
        setup = replace(setup, importance=replace(setup.importance, rows=scores))
        uses = uses_of(task.tokenizer, scores, task.examples("validation"))
        rows = []
        for asked in (count, count // 2, uses.used, round(uses.used * 0.6), max(uses.least, round(uses.used * 0.3))):
            rows.append(judged(setup, asked))
            print(rows[-1], flush=True)
        keep("vocabulary", rows)
        (RESULTS / "vocabulary.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
