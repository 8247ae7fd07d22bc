"""Whether a pick keeps its bound on rows that it has not seen, by the rows that finished studies kept.

    python studies/benchmarks/promise.py [STUDY=DATABASE ...] [STUDY ...] [--resplits 200] [--bound 1%]
    python studies/benchmarks/promise.py --print

The held-out rows of a study, validation and test, are split at random into seen and unseen halves, each split by
itself. Every rule picks from the seen half; the unseen one judges the pick. Where a rule refuses, the uncompressed
model stays: it loses nothing, and is no faster. A study without a database is run here first.

Where a study certified (`finalists.certify`), its folds of training rows, which are in neither half, make one more row
of the default rule. The last column is what honesty costs in speed, beside the picks as seen.

Where a study kept how unsure its members are, cascades of two are picked by the default rule from the seen half too,
and judged with their threshold on the unseen one, the share that they hand on there included.

The unseen half is small itself: a model that loses nothing at all breaks a bound there by chance. What a rule could
keep at best is shown beside it, by the fastest member that keeps the bound over all rows, which nobody can know.
"""

from __future__ import annotations

import argparse
import math
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from record import RESULTS, keep, kept

import autocompress
from autocompress.cascades import Answerer, Costs, Crossed, found_cascades, priced
from autocompress.certainty import CONFIDENCE, Belief, Folds, Losses, RowScores, believe, fold_losses, held_out_losses
from autocompress.core.certified import certified_of
from autocompress.core.outcome import values
from autocompress.core.shares import amount
from autocompress.report.expectation import fold_scores, row_doubts, row_scores
from autocompress.store import Store

Rows = Mapping[str, RowScores]
HALF, DEFAULT, FOLDED = 0.5, "90 % sure (default)", "90 % sure, certified"
CASCADE = "cascade, 90 % sure"
SHOWN = ("as seen", "expected", "80 % sure", DEFAULT, "95 % sure", FOLDED, CASCADE, "the best there is")


@dataclass(frozen=True)
class Stored:
    """A finished study: the rows of its uncompressed model and of its members, the fastest first, and how many times as
    fast as it these are; what folds showed where it certified, so many of so many (`judged`, of the member that was
    judged on most). `answerers` are members that say how unsure they are, beside a `baseline` of so many milliseconds.
    """

    teacher: Rows
    members: Sequence[Rows]
    speeds: Sequence[float]
    folds: Folds | None = None
    answerers: Sequence[Answerer] = ()
    baseline: float = 1.0

    @property
    def judged(self) -> str:
        if self.folds is None:
            return ""
        return f"{np.bincount(self.folds.member).max()} of {self.folds.of} folds"


@dataclass(frozen=True)
class Choice:
    """What a rule did with one half: how fast the pick is, what it said it loses, what it lost on the other half."""

    speed: float
    shown: float
    lost: float
    refused: bool


def stored(store: Store, name: str) -> Stored:
    finalists = store.finalists(name)
    baseline = next(one for one in finalists if one.candidate.policy.is_baseline)
    base = values(baseline.measurements)["latency_ms"]
    verified = sorted(
        (one for one in finalists if one.state == "verified"),
        key=lambda one: values(one.measurements)["latency_ms"],
    )
    speeds = [base / values(one.measurements)["latency_ms"] for one in verified]
    facts = store.study(name).facts
    teachers, *of_folds = fold_scores(store, facts, [one.candidate.digest for one in (baseline, *verified)])
    certified = certified_of(facts)
    folds = fold_losses(teachers, of_folds, of=certified.of) if certified else None
    members = [row_scores(store, one) for one in verified]
    answerers = [
        Answerer(one.candidate.number, rows, doubts.splits, Costs(known["latency_ms"], known["size_mb"]))
        for one, rows in zip(verified, members, strict=True)
        if (doubts := row_doubts(store, one)) is not None and (known := values(one.measurements))
    ]
    return Stored(row_scores(store, baseline), members, speeds, folds, answerers, base)


def together(rows: Rows) -> RowScores:
    """All splits as one."""
    first, *others = rows.values()
    for other in others:
        first = first.beside(other)
    return first


def lost(teacher: Rows, members: Sequence[Rows]) -> list[float]:
    whole = together(teacher).score()
    return [whole - together(one).score() for one in members]


def keepers(
    losses: Losses, folds: Folds | None, seen: Sequence[float], every: Sequence[float], bound: float
) -> dict[str, Any]:
    """Of each rule: which members it would offer, and the losses that it says they have."""
    belief, allowed = believe(losses), bound + 1e-9
    folded = None if folds is None else believe(losses, folds)
    return {
        "as seen": ([one <= allowed for one in seen], seen),
        "expected": (list(belief.expected <= allowed), belief.expected),
        **{
            f"{share:.0%}".replace("%", " %") + " sure" + " (default)" * (share == CONFIDENCE): (
                list(belief.keeps(allowed, share)),
                belief.expected,
            )
            for share in (0.8, CONFIDENCE, 0.95)
        },
        **({} if folded is None else {FOLDED: (list(folded.keeps(allowed)), folded.expected)}),
        "the best there is": ([one <= allowed for one in every], every),
    }


def resplit(study: Stored, bound: float, generator: np.random.Generator, every: Sequence[float]) -> dict[str, Choice]:
    """One random half of every split."""
    orders = {name: generator.permutation(len(rows)) for name, rows in study.teacher.items()}

    def places(name: str, *, seen: bool) -> Any:
        cut = round(HALF * len(orders[name]))
        return orders[name][:cut] if seen else orders[name][cut:]

    def part(rows: Rows, *, seen: bool) -> dict[str, RowScores]:
        return {name: one.take(places(name, seen=seen)) for name, one in rows.items()}

    def half(one: Answerer, *, seen: bool) -> Answerer:
        doubts = {name: values[places(name, seen=seen)] for name, values in one.doubts.items()}
        return replace(one, rows=part(one.rows, seen=seen), doubts=doubts)

    teacher, members = part(study.teacher, seen=True), [part(one, seen=True) for one in study.members]
    unseen = lost(part(study.teacher, seen=False), [part(one, seen=False) for one in study.members])
    offered = keepers(held_out_losses(teacher, members), study.folds, lost(teacher, members), every, bound)
    found = {}
    for rule, (keeps, shown) in offered.items():
        place = next((i for i, is_kept in enumerate(keeps) if is_kept), None)
        if place is None:
            found[rule] = Choice(1.0, 0.0, 0.0, refused=True)
        else:
            found[rule] = Choice(study.speeds[place], float(shown[place]), unseen[place], refused=False)
    if len(study.answerers) > 1:
        seen_halves = [half(one, seen=True) for one in study.answerers]
        others = [half(one, seen=False) for one in study.answerers]
        found[CASCADE] = cascade(study, teacher, seen_halves, part(study.teacher, seen=False), others, bound)
    return found


def cascade(
    study: Stored,
    teacher: Rows,
    seen: Sequence[Answerer],
    unseen_teacher: Rows,
    unseen: Sequence[Answerer],
    bound: float,
) -> Choice:
    """The fastest by the seen half that is sure to keep the bound, on the other one."""
    chosen = next(
        (
            one
            for one in found_cascades(teacher, seen)
            if Belief(np.array([one.expected]), np.array([one.uncertain])).keeps(bound + 1e-9)[0]
        ),
        None,
    )
    if chosen is None:
        return Choice(1.0, 0.0, 0.0, refused=True)
    by_number = {one.number: one for one in unseen}
    small, large = by_number[chosen.small], by_number[chosen.large]
    handed = {name: doubts > chosen.threshold for name, doubts in small.doubts.items()}
    rows = {
        name: RowScores(one.form, np.where(handed[name][:, None], large.rows[name].values, one.values))
        for name, one in small.rows.items()
    }
    count, of = Crossed(rows, handed).counts
    price = priced(small.costs, large.costs, count / of)
    (below,) = lost(unseen_teacher, [rows])
    return Choice(study.baseline / price.mean_ms, chosen.expected, below, refused=False)


def judge(study: Stored, bound: float, resplits: int) -> dict[str, Any]:
    """The figures of every rule."""
    generator, every = np.random.default_rng(0), lost(study.teacher, study.members)
    choices = [resplit(study, bound, generator, every) for _ in range(resplits)]
    rules = {}
    for rule in (rule for rule in SHOWN if rule in choices[0]):
        mine = [one[rule] for one in choices]
        picks = [one for one in mine if not one.refused]
        rules[rule] = {
            "kept": sum(one.lost <= bound + 1e-9 for one in mine) / len(mine),
            "refused": 1 - len(picks) / len(mine),
            "speed": math.exp(statistics.fmean(math.log(one.speed) for one in mine)),
            "shown_minus_lost": statistics.fmean(one.shown - one.lost for one in picks) if picks else None,
            "lost": statistics.fmean(one.lost for one in mine),
        }
    return {
        "rows": sum(len(rows) for rows in study.teacher.values()),
        "members": len(study.members),
        "losses": every,
        "speeds": list(study.speeds),
        "bound": bound,
        "resplits": resplits,
        **({"folds": study.judged} if study.judged else {}),
        "rules": rules,
    }


def table(figures: Mapping[str, Any]) -> str:
    """Markdown: a row for every study and rule. Speeds are means of their logarithms over all re-splits,
    `beside` those of picks as seen."""
    lines = [
        "| study | rule | bound kept on the unseen half | refused | shown − lost, points | times as fast | beside |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for name, one in figures.items():
        about = f"{name}: {one['members']} members, {one['rows']:,} held-out rows, {100 * one['bound']:g} pt"
        about += f", {one['folds']}" if one.get("folds") else ""
        for rule in (rule for rule in SHOWN if rule in one["rules"]):
            known, beside = one["rules"][rule], one["rules"]["as seen"]["speed"]
            off = "" if known["shown_minus_lost"] is None else f"{100 * known['shown_minus_lost']:+.2f}"
            lines.append(
                f"| {about} | {rule} | {known['kept']:.0%} | {known['refused']:.0%} | {off} | {known['speed']:.1f} "
                f"| {known['speed'] / beside:.2f} |"
            )
            about = ""
    return "\n".join(lines) + "\n"


def run_here(name: str) -> tuple[Store, Callable[[], None]]:
    """The study, run in a folder of its own."""
    folder = tempfile.TemporaryDirectory(prefix="promise-")
    study = autocompress.run(name, storage=str(Path(folder.name) / "studies.db"))

    def close() -> None:
        study.close()
        folder.cleanup()

    return study.store, close


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY[=DATABASE]")
    parser.add_argument("--resplits", type=int, default=200)
    parser.add_argument("--bound", default="1%")
    parser.add_argument("--print", action="store_true", help="only what was kept")
    asked = parser.parse_args()
    figures = kept("promise", {})
    for given in [] if asked.print else asked.studies:
        name, _, database = given.partition("=")
        store, close = run_here(name) if not database else ((one := Store.open(database, create=False)), one.close)
        try:
            figures[name] = judge(stored(store, name), amount(asked.bound, points=True), asked.resplits)
        finally:
            close()
    if not asked.print:
        keep("promise", figures)
        (RESULTS / "promise.md").write_text(table(figures), encoding="utf-8")
    print(table(figures))


if __name__ == "__main__":
    main()
