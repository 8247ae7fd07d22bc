"""What a step of training takes with long texts: a model of MiniLM's sizes (six layers of 384, twelve heads) with
random weights, its positions tiled, trained as a teacher is, each length in a process of its own.

    python studies/benchmarks/long_training.py [--lengths 512 2048 4096] [--rows 8] [--threads 2] [--again]

Prints seconds of a step, those of processor time in it (what a machine with other work would take without), and the
process's peak memory beside what it had before the first step.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from typing import Final

import numpy as np
import torch
from transformers import AutoModelForSequenceClassification, BertConfig

from autocompress.anatomy import FAMILIES
from autocompress.anatomy.positions import give_positions
from autocompress.core.cores import usable_cores
from autocompress.core.training_spec import TrainingSpec
from autocompress.distill import answers, seconds_of_steps
from autocompress.inputs.examples import Examples

_WORDS: Final = 30_522


def measured(length: int, rows: int, threads: int, again: bool) -> tuple[float, float, float, float]:
    """Seconds of a step and of processor time in it, and GiB before it and at the peak."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    config = BertConfig(vocab_size=_WORDS, hidden_size=384, num_hidden_layers=6, intermediate_size=1536, num_labels=2)
    model = AutoModelForSequenceClassification.from_config(config)
    give_positions(model, FAMILIES["bert"], length, "tile")
    generator = np.random.default_rng(0)
    tokens = tuple(generator.integers(5, _WORDS, length) for _ in range(rows))
    examples = Examples(("",) * rows, tokens, generator.integers(0, 2, rows), 0)
    goal = answers(lambda logits, batch: torch.nn.functional.cross_entropy(logits, batch.targets))
    before = _peak()
    batch = examples.batch(np.arange(rows))
    spec = TrainingSpec(gradient_checkpointing=again)
    began = time.process_time()
    (seconds,) = seconds_of_steps(model, [batch], goal, spec=spec)
    spent = (time.process_time() - began) / 2  # there is a step before that does not count
    return seconds, spent, before, _peak()


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=[512, 2048, 4096], metavar="N")
    parser.add_argument("--rows", type=int, default=8, metavar="N", help="of a step")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--again", action="store_true", help="layers are computed again in the backward pass")
    asked = parser.parse_args()
    print("tokens  rows  s a step  processor s  GiB before  GiB at the peak")
    for length in asked.lengths:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, spent, before, peak = pool.apply(measured, (length, asked.rows, asked.threads, asked.again))
        times = f"{asked.rows:>4}  {seconds:>8.2f}  {spent:>11.2f}"
        print(f"{length:>6}  {times}  {before:>10.2f}  {peak:>15.2f}", flush=True)


if __name__ == "__main__":
    main()
