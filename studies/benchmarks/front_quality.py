"""Fronts side by side: the whole of autocompress, and the same code with one thing taken away or done as others do it.

    python studies/benchmarks/front_quality.py [--study quickstart] [--seeds 0 1 2] [--minutes 4] [--only NAME ...]
    python studies/benchmarks/front_quality.py --print         # table and picture from the kept figures

Every contender is a stored study in `front_quality.db` (in the folder where the command runs): interrupted, the same
command goes on with it. All have the same teacher, data, device, number and training of finalists, and the same time
for their search; the time that the elastic model takes is part of it. There are no constraints, or half of the
contenders would have nothing to offer. Compared are the hypervolumes of the verified fronts and the fastest verified
model within 1 and 3 points of the teacher.

The hypervolume is that of (quality, log2 of latency, log2 of size), in points times doublings times doublings, against
one reference point: the teacher's latency and size, and 5 points below its quality, beyond which nobody would deploy a
model. Costs count by their logarithm, as their users count: from 4x to 8x is worth what 2x to 4x is. With a reference
at quality 0 and costs as they are, which the table shows beside it, any model that is small enough fills nine tenths
of the box, whatever it answers.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from record import RESULTS, keep, kept, spread

import autocompress
from autocompress import config
from autocompress.core.pareto import hypervolume
from autocompress.core.space import Choice, SearchSpace, StepSpace
from autocompress.core.spec import StudySpec
from autocompress.core.training_spec import ElasticSpec
from autocompress.operators import OPERATORS

STORE = "front_quality.db"


class Stages:
    """Prints a line for every stage."""

    def stage(self, name: str, detail: str = "") -> None:
        print(f"  {name} {detail}", flush=True)

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: Any) -> None: ...

    def note(self, text: str) -> None: ...


OURS = "autocompress"
TOLERABLE = 5.0
"""Points below the teacher's quality at which the hypervolume begins."""
WITHIN = (0.01, 0.03)
TICKS = (0.3, 0.5, 1, 2, 3, 5, 10, 20, 30)
BITS = {"layers.*": Choice((32, 8)), "embeddings": Choice((32, 8, 4))}
"""What any contender may choose from."""


def plain(spec: StudySpec) -> StudySpec:
    """Nothing but what candidates inherit from the teacher as it is."""
    return replace(spec, elastic=ElasticSpec(steps=0))


def in_space(spec: StudySpec, name: str) -> StudySpec:
    return replace(spec, space=config.load_space(name, operators=OPERATORS))


def prune_then_quantize(spec: StudySpec) -> StudySpec:
    """Sizes are searched in fp32; what comes out is made int8 as a whole, its embeddings 4 bits."""
    pruned = config.load_space("prune-only", operators=OPERATORS)
    return replace(
        spec, space=replace(pruned, name="prune-then-quantize", steps=(*pruned.steps, *quantized(fixed=True)))
    )


def quantized(*, fixed: bool) -> tuple[StepSpace, ...]:
    def options(target: str) -> dict[str, Any]:
        choice = BITS[target]
        return {"settings": {"bits": choice.choices[-1]}} if fixed else {"knobs": {"bits": choice}}

    return tuple(
        StepSpace("quantize", target, name=f"quantize-{target.rstrip('.*')}", per="step", **options(target))
        for target in BITS
    )


def every_other_layer(spec: StudySpec) -> StudySpec:
    """DistilBERT's recipe (Sanh et al. 2019): every other layer stays, then it is distilled from the logits."""
    removed = tuple(StepSpace("remove_layer", f"layers.{index}", name=f"remove-{index}") for index in (1, 3, 5))
    return plain(replace(spec, space=SearchSpace("every-other-layer", 1, (*removed, *quantized(fixed=False)))))


def layer_wise(spec: StudySpec) -> StudySpec:
    """TinyBERT's recipe (Jiao et al. 2020): fixed sizes, and a loss on every layer's attention and hidden states."""
    removed = tuple(StepSpace("remove_layer", f"layers.{index}", name=f"remove-{index}") for index in (1, 3))
    last = StepSpace("remove_layer", "layers.5", name="remove-5", optional=True)
    losses = replace(
        spec.finalists.distillation, attention=1.0, attention_form="mse-scores", hidden=1.0, embeddings=1.0,
        layer_map="uniform", adaptive=True,
    )  # fmt: skip
    space = SearchSpace("layer-wise", 1, (*removed, last, *quantized(fixed=False)))
    return plain(replace(spec, space=space, finalists=replace(spec.finalists, distillation=losses)))


def layer_by_layer(spec: StudySpec) -> StudySpec:
    """Every layer has a size of its own."""
    return in_space(spec, "bert-small")


def uniform_pruning(spec: StudySpec) -> StudySpec:
    """All layers stay, and are narrowed alike."""
    steps = tuple(step for step in spec.space.steps if step.operator != "remove_layer")
    return replace(spec, space=replace(spec.space, name="uniform-pruning", steps=steps))


CONTENDERS: dict[str, Callable[[StudySpec], StudySpec]] = {
    OURS: lambda spec: spec,
    "random search": lambda spec: replace(spec, sampler="random"),
    "without the elastic model": plain,
    "layer by layer": layer_by_layer,
    "layer by layer, random search": lambda spec: replace(layer_by_layer(spec), sampler="random"),
    "layer by layer, without the elastic model": lambda spec: plain(layer_by_layer(spec)),
    "uniform pruning": uniform_pruning,
    "prune only": lambda spec: in_space(spec, "prune-only"),
    "quantize only": lambda spec: in_space(spec, "quantize-only"),
    "prune then quantize": prune_then_quantize,
    "every other layer": every_other_layer,
    "layer-wise distillation": layer_wise,
}


def contender(study: str, name: str, seed: int, minutes: float) -> StudySpec:
    spec = config.load_study(study, operators=OPERATORS)
    spec = CONTENDERS[name](replace(spec, constraints={}, seed=seed))
    spent = spec.elastic.minutes if spec.elastic.steps else 0.0
    share = min(spent, minutes / 2)
    budget = replace(spec.budget, trials=100_000, search_minutes=minutes - share)
    elastic = replace(spec.elastic, minutes=share, steps=3_000) if spent else spec.elastic
    label = f"{study}-{name.replace(' ', '-')}-{seed}-{minutes:g}"
    return replace(spec, name=label, budget=budget, elastic=elastic)


def judged(study: str, name: str, seed: int, minutes: float) -> dict[str, Any]:
    """Runs or resumes one contender; what it found."""
    print(f"{name}, seed {seed}", flush=True)
    spec, observer = contender(study, name, seed, minutes), Stages()
    try:
        done = autocompress.open_study(spec.name, storage=STORE)
        if done.row.state != "complete":
            done.resume(observer=observer)
    except autocompress.AutocompressError:
        done = autocompress.run(spec, storage=STORE, observer=observer)
    with done:
        report, facts = done.pareto(), done.row.facts
    assert report.baseline is not None
    teacher = report.baseline.metrics["quality"].value
    fastest = {}
    for drop in WITHIN:
        speeds = [
            member.relative.speedup
            for member in report.verified
            if member.relative.speedup and member.metrics["quality"].value >= teacher - drop - 1e-9
        ]
        fastest[str(drop)] = max(speeds, default=None)
    members = [
        {metric: member.metrics[metric].value for metric in ("quality", "test_quality", "latency_ms", "size_mb")}
        for member in report.verified
    ]
    return {
        "contender": name,
        "seed": seed,
        "hypervolume": report.hypervolume.verified,
        "reference": dict(report.hypervolume.reference or {}),
        "fastest_within": fastest,
        "teacher": {metric: report.baseline.metrics[metric].value for metric in ("quality", "latency_ms", "size_mb")},
        "members": members,
        "candidates": report.counts.evaluated,
        "timings_seconds": facts["timings"],
    }


def volume(*rows: dict[str, Any]) -> float:
    """The hypervolume of the members of one front, or of several as one front, see above."""
    points = [
        (
            -below(row, member),
            math.log2(member["latency_ms"] / row["teacher"]["latency_ms"]),
            math.log2(member["size_mb"] / row["teacher"]["size_mb"]),
        )
        for row in rows
        for member in row["members"]
    ]
    return hypervolume(points, (TOLERABLE, 0.0, 0.0))


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| contender | seeds | hypervolume | ours against it | from quality 0, costs as they are "
        "| fastest within 1 point | within 3 |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name in dict.fromkeys(row["contender"] for row in rows):
        own = [row for row in rows if row["contender"] == name]
        against = None if name == OURS else ours_against(rows, name)
        cells = [
            spread([volume(row) for row in own], 1),
            f"{against[0]:.2f}x" if against else "",
            spread([row["hypervolume"] or 0.0 for row in own], 1),
        ]
        for drop in WITHIN:
            speeds = [row["fastest_within"][str(drop)] for row in own]
            cells.append(", ".join("none" if speed is None else f"{speed:.1f}x" for speed in speeds))
        lines.append(f"| {name} | {len(own)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def ours_against(rows: list[dict[str, Any]], name: str) -> tuple[float, int] | None:
    """Our mean hypervolume over a contender's, on the seeds that both have, and how many these are."""
    volumes = {(row["contender"], row["seed"]): volume(row) for row in rows}
    seeds = sorted(seed for who, seed in volumes if who == name and (OURS, seed) in volumes)
    if not seeds:
        return None
    ours, theirs = (statistics.fmean(volumes[who, seed] for seed in seeds) for who in (OURS, name))
    return ours / theirs, len(seeds)


def against_the_best(rows: list[dict[str, Any]]) -> str:
    """The contender beside which ours looks worst, and what is the most that could be seen here."""
    names = [name for name in dict.fromkeys(row["contender"] for row in rows) if name != OURS]
    found = {name: against for name in names if (against := ours_against(rows, name))}
    if not found:
        return "no seed has been run by ours and another"
    hardest = min(found, key=lambda name: found[name][0])
    ratio, count = found[hardest]
    told = f"{OURS}: {ratio:.2f}x the hypervolume of {hardest}, the best beside it ({count} seed{'s' * (count > 1)})"
    return f"{told}\n\n{together(rows)}"


def together(rows: list[dict[str, Any]]) -> str:
    """What the best choice among the models of all contenders would reach: nobody who trains as many as one of them,
    by the same recipe, can hope for more."""
    volumes = {(row["contender"], row["seed"]): volume(row) for row in rows}
    seeds = sorted(seed for name, seed in volumes if name == OURS)
    fronts = [[row for row in rows if row["seed"] == seed] for seed in seeds]
    most = [volume(*front) for front in fronts]
    names = [name for name, seed in volumes if seed == seeds[0] and all((name, other) in volumes for other in seeds)]
    means = {name: statistics.fmean(volumes[name, seed] for seed in seeds) for name in names}
    ours = means.pop(OURS)
    best = max(means, key=means.__getitem__)
    count = f"{len(seeds)} seed{'s' * (len(seeds) > 1)}"
    models = sum(len(row["members"]) for front in fronts for row in front)
    reached = statistics.fmean(most)
    return (
        f"the {models} models that all contenders trained ({count}), as one front a seed: {spread(most, 1)}; that is "
        f"{reached / ours:.2f}x {OURS} and {reached / means[best]:.2f}x {best}, the best of the others with {count}"
    )


def picture(rows: list[dict[str, Any]], path: str) -> None:
    """Points below the teacher against latency of every contender's verified members, those of a seed joined."""
    from autocompress.report.canvas import new_figure, save

    figure = new_figure(1000, 620)
    axes = figure.add_axes((0.08, 0.11, 0.89, 0.8))
    names = list(dict.fromkeys(row["contender"] for row in rows))
    points = {id(row): sorted((m["latency_ms"], below(row, m)) for m in row["members"]) for row in rows}
    for row in rows:
        place = names.index(row["contender"])
        colour = f"C{place + (place > 0)}"  # the second is as orange as ours
        style = {"color": "#d55e00", "linewidth": 2.2, "zorder": 5} if not place else {"color": colour}
        first = row is next(other for other in rows if other["contender"] == row["contender"])
        label = row["contender"] if first else None
        axes.plot(*zip(*points[id(row)], strict=True), marker="o", markersize=5, alpha=0.9, label=label, **style)
    axes.plot([rows[0]["teacher"]["latency_ms"]], [0], marker="s", color="black", linestyle="", label="teacher")
    for drop in WITHIN:
        axes.axhline(-100 * drop, color="grey", linestyle=":", linewidth=1)
        corner = (rows[0]["teacher"]["latency_ms"], -100 * drop)
        axes.annotate(f"{-100 * drop:g} points", corner, color="grey", ha="right", va="bottom")
    axes.set_xscale("log")
    axes.set_xticks(TICKS, [f"{tick:g}" for tick in TICKS])
    axes.minorticks_off()
    axes.set_xlabel("latency of the exported file, ms (log)")
    axes.set_ylabel("validation quality, points above the teacher")
    axes.set_ylim(bottom=max(min(y for line in points.values() for _, y in line) - 0.5, -20))
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="lower right")
    save(figure, RESULTS / path, about="verified models of every contender: quality against latency")


def below(row: dict[str, Any], member: dict[str, float]) -> float:
    """A member's quality, in points above its teacher's."""
    return 100 * float(member["quality"] - row["teacher"]["quality"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--minutes", type=float, default=4.0)
    parser.add_argument("--only", nargs="+", choices=[*CONTENDERS], default=[*CONTENDERS])
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    name = "front_quality" if asked.study == "quickstart" else f"front_quality-{asked.study}"
    rows: list[dict[str, Any]] = kept(name, {"rows": []})["rows"]
    if not asked.only_print:
        for seed in asked.seeds:
            for who in asked.only:
                found = judged(asked.study, who, seed, asked.minutes)
                rows = [row for row in rows if (row["contender"], row["seed"]) != (who, seed)] + [found]
                keep(name, {"minutes": asked.minutes, "rows": rows})
    rows.sort(key=lambda row: ([*CONTENDERS].index(row["contender"]), row["seed"]))
    picture(rows, f"{name}.png")
    told = f"{table(rows)}\n\n{against_the_best(rows)}\n"
    (RESULTS / f"{name}.md").write_text(told, encoding="utf-8")
    print(told)


if __name__ == "__main__":
    main()
