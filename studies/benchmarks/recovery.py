"""What a finalist's recovery gains and costs by each of its habits and losses: seconds and quality, side by side.

    python studies/benchmarks/recovery.py [--seeds 0 1 2] [--only NAME ...]

Three students of the quickstart's teacher (2, 3 and 4 layers), each trained alone on one thread: by the quickstart's
recipe, all from the elastic model (`origins.py` is about that); by the same without one of its habits (from the
teacher's weights, with the epoch kept that is best on validation data instead of the last, with dropout, with all
embeddings trained, without made-up texts for as many epochs or for as many steps, with one kind of them alone); and by
the same with one more loss (attention maps, attention relations, hidden states). Kept rows are replaced one by one, so
that parts may be run on different days.
"""

from __future__ import annotations

import argparse
import statistics
from dataclasses import replace
from typing import Any

from prepared import LAYER_BY_LAYER, Prepared, prepare
from record import RESULTS, keep, kept, mean_with_interval, spread
from students import SPLITS, THREE, Job, side_by_side

from autocompress.candidates.lessons import Lessons
from autocompress.core.training_spec import FinalistSpec, TransferSpec
from autocompress.finalists.recovery import Recovery

RECIPE = "the recipe"


def variants(spec: FinalistSpec) -> dict[str, FinalistSpec]:
    spec = replace(spec, from_teacher=2.0)
    made = spec.transfer.copies + spec.transfer.recombined
    none, longer = replace(spec.transfer, copies=0, recombined=0), spec.training.epochs * (1 + made)

    def learning(**weights: Any) -> FinalistSpec:
        return replace(spec, distillation=replace(spec.distillation, **weights))

    return {
        RECIPE: spec,
        "from the teacher's weights": replace(spec, from_teacher=0.0),
        "the best epoch kept": replace(spec, keep="best"),
        "with the model's dropout": replace(spec, training=replace(spec.training, dropout=None)),
        "embeddings trained": replace(spec, freeze_embeddings=False),
        "no made-up texts": replace(spec, transfer=none),
        "no made-up texts, as many steps": replace(spec, transfer=none, training=replace(spec.training, epochs=longer)),
        "variations alone, as many steps": replace(spec, transfer=replace(spec.transfer, copies=made, recombined=0)),
        "recombined alone, as many steps": replace(spec, transfer=replace(spec.transfer, copies=0, recombined=made)),
        "+ attention maps": learning(attention=1.0),
        "+ attention relations": learning(relations=1.0),
        "+ hidden states": learning(hidden=1.0),
    }


def jobs(prepared: Prepared, seeds: list[int], only: list[str]) -> list[Job]:
    found: list[Job] = []
    lessons: dict[tuple[TransferSpec, int], Lessons] = {}
    for seed in seeds:
        for name, spec in variants(prepared.spec.finalists).items():
            key = (spec.transfer, seed)
            if name not in only:
                continue
            if key not in lessons:
                lessons[key] = Lessons.of(prepared.setup, spec.transfer, seed=seed)
            recovery = Recovery(prepared.setup, lessons[key], spec, seed)
            for size, policy in THREE.items():
                found.append(({"variant": name, "student": size, "seed": seed}, recovery, policy))
    return found


def table(rows: list[dict[str, Any]]) -> str:
    sizes = list(THREE)
    lines = [
        f"| variant | {' | '.join(f'{size}: validation / test' for size in sizes)} "
        "| against the recipe, points: validation / test | seconds |",
        "|---|" + "---:|" * (len(sizes) + 2),
    ]
    for name in dict.fromkeys(row["variant"] for row in rows):
        cells = []
        for size in sizes:
            own = [row for row in rows if (row["variant"], row["student"]) == (name, size)]
            cells.append(" / ".join(spread([row[split] for row in own]) for split in SPLITS) if own else "")
        gains = "" if name == RECIPE else " / ".join(gain(rows, name, split) for split in SPLITS)
        seconds = statistics.fmean(row["seconds"] for row in rows if row["variant"] == name)
        lines.append(f"| {name} | {' | '.join(cells)} | {gains} | {seconds:.0f} |")
    return "\n".join(lines)


def gain(rows: list[dict[str, Any]], name: str, split: str) -> str:
    """Points that a variant is above the recipe with the same student and seed."""
    found = {(row["variant"], row["student"], row["seed"]): row[split] for row in rows}
    pairs = [
        100 * (value - found[RECIPE, student, seed])
        for (variant, student, seed), value in found.items()
        if variant == name and (RECIPE, student, seed) in found
    ]
    return mean_with_interval(pairs) if pairs else ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these variants alone")
    asked = parser.parse_args()
    prepared = prepare(space=LAYER_BY_LAYER)
    names = list(variants(prepared.spec.finalists))
    rows: list[dict[str, Any]] = kept("recovery", [])
    todo = jobs(prepared, asked.seeds, asked.only or names)
    for about, found in side_by_side(todo):
        rows = [row for row in rows if any(row[key] != value for key, value in about.items())]
        rows.append({**about, **found})
        rows.sort(key=lambda row: (names.index(row["variant"]), row["student"], row["seed"]))
        keep("recovery", rows)
        print({**about, **found}, flush=True)
    told = table(rows) + "\n"
    (RESULTS / "recovery.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
