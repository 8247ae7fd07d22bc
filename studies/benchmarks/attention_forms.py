"""What forms of attention are worth by the length of an input: full attention and each other form, side by side in one
run, in one layer and in a whole model of MiniLM's sizes (six layers of 384, twelve heads), in fp32 and in int8 on one
thread; and what the whole model takes of memory. Nothing is learned: speed and memory depend on sizes alone.

    python studies/benchmarks/attention_forms.py [--lengths 128 512 1024 2048 4096] [--seconds 20] [--print]

What the same code measured is not measured again: the table can be filled length by length.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from documents import ROOT, UNDER
from record import RESULTS, commit, keep, kept

from autocompress.anatomy.weights import random_weights
from autocompress.core.attention_form import FULL_ATTENTION, AttentionForm
from autocompress.core.encoders import encoder, encoder_layer, in_form
from autocompress.core.parts import ModelParts
from autocompress.core.storage import PRECISION, Bits, Storage
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.devices.memory import peak_memory_mib
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run

NAME: Final = "attention_forms"
LENGTHS: Final = (128, 512, 1024, 2048, 4096)
FORMS: Final = (
    FULL_ATTENTION,
    AttentionForm("local", 32, 1),
    AttentionForm("local", 64, 1),
    AttentionForm("local", 128, 1),
    AttentionForm("sparse", 64, 1, blocks=2),
    AttentionForm("pooled", 16),
    AttentionForm("linear"),
    AttentionForm("performer", features=64),
)
WHAT: Final = ("a layer", "six layers")
_DEPTH, _WORDS = 6, 1000


def shape_of(form: AttentionForm, bits: Bits, *, layers: int) -> ModelParts:
    """In a whole model the last layer stays as it is: it computes the first position alone, which sees all."""
    held = Storage(bits)
    found = [
        encoder_layer(place, 384, heads=12, head_size=32, channels=1536, held=held)
        if place == layers - 1 == _DEPTH - 1
        else tuple(
            in_form(part, form) for part in encoder_layer(place, 384, heads=12, head_size=32, channels=1536, held=held)
        )
        for place in range(layers)
    ]
    return encoder(384, found, words=_WORDS, head=(384, 2), words_in=held)


def write(path: Path, shape: ModelParts, length: int, *, every_token: bool) -> Path:
    weights = random_weights(shape, positions=length, seed=0)
    path.write_bytes(write_graph(weights, every_token=every_token).SerializeToString())
    return path


def measured(length: int, bits: Bits, seconds: float, folder: Path) -> Iterator[dict[str, Any]]:
    """A row for each form: what one layer that computes every position adds, and a whole model; each beside the full
    one in the same turns."""
    load, made = Workload(1, length, 1), commit()
    bare = write(folder / "bare.onnx", shape_of(FULL_ATTENTION, bits, layers=0), length, every_token=True)
    one = [
        write(folder / f"layer{place}.onnx", shape_of(form, bits, layers=1), length, every_token=True)
        for place, form in enumerate(FORMS)
    ]
    whole = [
        write(folder / f"whole{place}.onnx", shape_of(form, bits, layers=_DEPTH), length, every_token=False)
        for place, form in enumerate(FORMS)
    ]
    memory = [peak_memory_mib(path, load) for path in whole]
    layers, models = _turns([bare, *one], load, seconds), _turns(whole, load, seconds)
    added = [turns - layers[0] for turns in layers[1:]]
    for form, layer, model, peak in zip(FORMS, added, models, memory, strict=True):
        yield {
            "length": length,
            "precision": PRECISION[bits],
            "form": str(form),
            "commit": made,
            **_told("a layer", layer, added[0]),
            **_told("six layers", model, models[0]),
            "peak_mib": peak,
        }


def _turns(paths: Sequence[Path], load: Workload, seconds: float) -> list[Any]:
    runs = [workload_run(Session(path, threads=load.threads), load, rows=_WORDS) for path in paths]
    with timing_lane():
        return [np.asarray(one.turns) for one in time_side_by_side(runs, rounds=15, seconds=seconds)]


def _told(what: str, turns: Any, of_full: Any) -> dict[str, Any]:
    return {f"{what}: ms": float(np.median(turns)), f"{what}: faster": float(np.median(of_full / turns))}


def table(rows: list[dict[str, Any]]) -> str:
    names = ("tokens", "attention", "a layer, fp32", "int8", "six layers, fp32", "int8", "peak memory, fp32", "int8")
    lines = [f"| {' | '.join(names)} |", "|---:|---|" + "---:|" * (len(names) - 2)]
    for length in sorted({row["length"] for row in rows}):
        for form in map(str, FORMS):
            found = {row["precision"]: row for row in rows if (row["length"], row["form"]) == (length, form)}
            if len(found) < 2:
                continue
            both = found["fp32"], found["int8"]
            cells = [f"{length:,}", form]
            for what in WHAT:
                cells += [f"{row[f'{what}: ms']:.3g} ms, {row[f'{what}: faster']:.2f}x" for row in both]
            cells += ["" if row["peak_mib"] is None else f"{row['peak_mib']:.0f} MiB" for row in both]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def is_current(row: dict[str, Any]) -> bool:
    """Whether a row was made by the code of today, of the package's rooms that it comes from."""
    paths = (f"autocompress/{room}" for room in UNDER[NAME])
    compared = ["git", "diff", "--quiet", row["commit"], "--", *paths]
    return subprocess.run(compared, cwd=ROOT, capture_output=True, check=False).returncode == 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lengths", type=int, nargs="+", default=list(LENGTHS), metavar="N")
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="of timing a table of one precision")
    parser.add_argument("--print", action="store_true", help="the table of what is kept")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = [row for row in kept(NAME, []) if asked.print or is_current(row)]
    precisions: tuple[Bits, ...] = (32, 8)
    for length, bits in [(length, bits) for length in asked.lengths for bits in precisions if not asked.print]:
        if any((row["length"], row["precision"]) == (length, PRECISION[bits]) for row in rows):
            continue
        with tempfile.TemporaryDirectory() as folder:
            rows += measured(length, bits, asked.seconds, Path(folder))
        keep(NAME, rows)
        (RESULTS / f"{NAME}.md").write_text(table(rows) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
