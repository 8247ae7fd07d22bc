"""What it is worth to let the most attended tokens go on alone from the middle of a model on, by the length of an
input: six layers of MiniLM's sizes (384, twelve heads) that keep all, half and a quarter of their tokens behind the
third, side by side in one run, in fp32 and in int8 on one thread. Nothing is learned: speed depends on sizes alone, and
what is lost of quality is not asked here.

    python studies/benchmarks/kept_tokens.py [--lengths 128 512] [--seconds 20] [--print]
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any, Final

import numpy as np
from record import RESULTS, commit, keep, kept

from autocompress.anatomy.weights import random_weights
from autocompress.core.cost import macs, passes
from autocompress.core.encoders import encoder, encoder_layer, keeping
from autocompress.core.kept_tokens import KeptTokens
from autocompress.core.parts import ModelParts
from autocompress.core.storage import PRECISION, Bits, Storage
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run

NAME: Final = "kept_tokens"
LENGTHS: Final = (128, 512)
KEPT: Final = (None, KeptTokens(percent=50), KeptTokens(percent=25))
_DEPTH, _BEHIND, _WORDS = 6, 2, 1000


def shape_of(kept_there: KeptTokens | None, bits: Bits) -> ModelParts:
    held = Storage(bits)
    layers = [encoder_layer(place, 384, heads=12, head_size=32, channels=1536, held=held) for place in range(_DEPTH)]
    layers[_BEHIND] = tuple(keeping(part, kept_there) for part in layers[_BEHIND])
    return encoder(384, layers, words=_WORDS, head=(384, 2), words_in=held)


def measured(length: int, bits: Bits, seconds: float, folder: Path) -> list[dict[str, Any]]:
    """A row for each, in the same turns as the one that keeps all."""
    load, shapes = Workload(1, length, 1), [shape_of(one, bits) for one in KEPT]
    runs = []
    for place, shape in enumerate(shapes):
        path = folder / f"{place}.onnx"
        path.write_bytes(write_graph(random_weights(shape, positions=length, seed=0)).SerializeToString())
        runs.append(workload_run(Session(path, threads=load.threads), load, rows=_WORDS))
    with timing_lane():
        turns = [np.asarray(one.turns) for one in time_side_by_side(runs, rounds=15, seconds=seconds)]
    return [
        {
            "length": length,
            "precision": PRECISION[bits],
            "kept": str(one or "all"),
            "commit": commit(),
            "ms": float(np.median(found)),
            "faster": float(np.median(turns[0] / found)),
            "macs": macs(shape, passes(shape, load)),
        }
        for one, shape, found in zip(KEPT, shapes, turns, strict=True)
    ]


def table(rows: list[dict[str, Any]]) -> str:
    lines = ["| tokens | kept behind the third layer | fp32 | int8 | work |", "|---:|---|---:|---:|---:|"]
    for length in sorted({row["length"] for row in rows}):
        whole = next(row["macs"] for row in rows if row["length"] == length)
        for one in KEPT:
            named = str(one or "all")
            found = {row["precision"]: row for row in rows if (row["length"], row["kept"]) == (length, named)}
            cells = [f"{row['ms']:.3g} ms, {row['faster']:.2f}x" for row in (found["fp32"], found["int8"])]
            lines.append(f"| {length} | {named} | {' | '.join(cells)} | {found['fp32']['macs'] / whole:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), metavar="N")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of timing each length and precision")
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = kept(NAME, []) if asked.print else []
    precisions: tuple[Bits, ...] = (32, 8)
    for length, bits in [(length, bits) for length in asked.lengths for bits in precisions if not asked.print]:
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(length, bits, asked.seconds, Path(folder))
    if not asked.print:
        keep(NAME, rows)
        (RESULTS / f"{NAME}.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
