"""What a step of training takes with long texts: a model of MiniLM's sizes (six layers of 384, twelve heads) with
random weights, its positions tiled, trained as a teacher is, each length in a process of its own.

    python studies/benchmarks/long_training.py [--lengths 512 2048] [--rows 8] [--dropout 0.1] [--threads 2] [--again]
    python studies/benchmarks/long_training.py --attention [--lengths 32 128 512 2048]

Prints seconds of a step, those of processor time in it (what a machine with other work would take without), and the
process's peak memory beside what it had before the first step. With `--attention` instead what one layer's attention
takes of one core, in plain products and fused, forwards and backwards, the best of six times.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time
from collections.abc import Sequence
from typing import Final

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AutoModelForSequenceClassification, BertConfig

from autocompress.anatomy import FAMILIES
from autocompress.anatomy.positions import give_positions
from autocompress.core.cores import usable_cores
from autocompress.core.training_spec import TrainingSpec
from autocompress.distill import answers, seconds_of_steps
from autocompress.inputs.examples import Examples

_WORDS: Final = 30_522


def measured(length: int, rows: int, threads: int, again: bool, dropout: float) -> tuple[float, float, float, float]:
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
    spec = TrainingSpec(gradient_checkpointing=again, dropout=dropout)
    began = time.process_time()
    (seconds,) = seconds_of_steps(model, [batch], goal, spec=spec)
    spent = (time.process_time() - began) / 2  # there is a step before that does not count
    return seconds, spent, before, _peak()


def attention_ms(length: int, kernel: SDPBackend) -> tuple[float, float]:
    """Milliseconds of processor time, forwards and backwards, of 2,048 tokens in rows of this length, of which the
    first is padded."""
    torch.set_num_threads(1)
    rows = max(1, 2048 // length)
    query, key, value = (torch.randn(rows, 12, length, 32, requires_grad=True) for _ in range(3))
    mask = torch.ones(rows, 1, length, length, dtype=torch.bool)
    mask[0, ..., length - 5 :] = False
    best = [float("inf")] * 2
    with sdpa_kernel(kernel):
        for _ in range(6):
            began = time.process_time()
            found = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
            between = time.process_time()
            found.sum().backward()  # type: ignore[no-untyped-call]
            taken = between - began, time.process_time() - between
            best = [min(one, other) for one, other in zip(best, taken, strict=True)]
    return 1e3 * best[0], 1e3 * best[1]


def print_attention(lengths: Sequence[int]) -> None:
    print("tokens  plain: ms forwards, backwards  fused: ms forwards, backwards  plain / fused")
    for length in lengths:
        plain, fused = (attention_ms(length, one) for one in (SDPBackend.MATH, SDPBackend.FLASH_ATTENTION))
        told = "  ".join(f"{one[0]:>19.1f}, {one[1]:>9.1f}" for one in (plain, fused))
        print(f"{length:>6}  {told}  {sum(plain) / sum(fused):>13.2f}", flush=True)


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", metavar="N")
    parser.add_argument("--attention", action="store_true", help="one layer's attention alone, fused and not")
    parser.add_argument("--rows", type=int, default=8, metavar="N", help="of a step")
    parser.add_argument("--threads", type=int, default=usable_cores(), metavar="N")
    parser.add_argument("--dropout", type=float, default=0.1, metavar="P", help="without (0) attention is fused")
    parser.add_argument("--again", action="store_true", help="layers are computed again in the backward pass")
    asked = parser.parse_args()
    if asked.attention:
        print_attention(asked.lengths or [32, 128, 256, 512, 1024, 2048])
        return
    print("tokens  rows  s a step  processor s  GiB before  GiB at the peak")
    for length in asked.lengths or [512, 2048, 4096]:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, spent, before, peak = pool.apply(
                measured, (length, asked.rows, asked.threads, asked.again, asked.dropout)
            )
        times = f"{asked.rows:>4}  {seconds:>8.2f}  {spent:>11.2f}"
        print(f"{length:>6}  {times}  {before:>10.2f}  {peak:>15.2f}", flush=True)


if __name__ == "__main__":
    main()
