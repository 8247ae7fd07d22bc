"""A study from nothing with several seeds, by one commit beside another, in turns.

    python studies/benchmarks/seeds.py COMMIT [COMMIT ...] [--study quickstart] [--seeds 0 1 2]
    python studies/benchmarks/seeds.py --print

Every run is a process of its own in an empty folder with an empty cache: a commit's own code and its own study file, of
which only the seed and the bounds are others: these are today's. What a run with one seed and one commit left on this
machine is kept, and only missing ones are run, so that the table may be made on several days. A pick is the fastest
verified model within so many points of its own teacher on validation data, as seen.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import yaml
from record import RESULTS, keep, kept

ROOT: Final = Path(__file__).parents[2]
WITHIN: Final = (0.01, 0.02)
"""Of quality: one point and two."""

RUN: Final = """
import json, sys, time, autocompress
started = time.monotonic()
with autocompress.run(sys.argv[1], storage=sys.argv[2]) as study:
    report = {"minutes": (time.monotonic() - started) / 60, "timings": study.row.facts["timings"]}
    report |= {name: study.pareto().to_json()[name] for name in ("baseline", "members")}
print(json.dumps(report))
"""
"""What both commits can be asked."""

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commits", nargs="*", metavar="COMMIT", help="the oldest first")
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--print", action="store_true", dest="only_print", help="the table of what is kept")
    options = parser.parse_args()
    if not options.commits and not options.only_print:
        parser.error("name a commit, or ask for what is kept with --print")
    rows: list[Row] = kept("seeds", {"rows": []})["rows"]
    commits = [_named(name) for name in options.commits]
    for seed in options.seeds if not options.only_print else ():
        for commit in commits[:: -1 if seed % 2 else 1]:  # neither is always the first
            key = {"study": options.study, "seed": seed, "commit": commit}
            if any(key.items() <= row.items() for row in rows):
                continue
            rows.append({**key, **_run(options.study, seed, commit)})
            keep("seeds", {"rows": rows})
            print({**key, "minutes": round(rows[-1]["minutes"], 1)}, flush=True)
    table = markdown(rows)
    (RESULTS / "seeds.md").write_text(table, encoding="utf-8")
    print(table)


def _named(name: str) -> str:
    found = subprocess.run(
        ["git", "rev-parse", "--short", f"{name}^{{commit}}"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(f"{name}: no such commit")
    return found.stdout.strip()


def _run(study: str, seed: int, commit: str) -> Row:
    with tempfile.TemporaryDirectory() as folder:
        at = Path(folder)
        code = _code_of(commit, at / "code")
        today = yaml.safe_load((ROOT / "studies" / f"{study}.yaml").read_text(encoding="utf-8"))
        asked = yaml.safe_load((code / "studies" / f"{study}.yaml").read_text(encoding="utf-8"))
        asked |= {"seed": seed, "constraints": today["constraints"]}
        (at / "study.yaml").write_text(yaml.safe_dump(asked, sort_keys=False), encoding="utf-8")
        own = {"PYTHONPATH": str(code), "AUTOCOMPRESS_CACHE": str(at / "cache")}
        done = subprocess.run(
            [sys.executable, "-c", RUN, str(at / "study.yaml"), str(at / "autocompress.db")],
            cwd=at,
            env={**os.environ, **own},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        if done.returncode:
            sys.exit(f"{study} with seed {seed}, commit {commit}: exit code {done.returncode}")
    return _row(json.loads(done.stdout.splitlines()[-1]))


def _code_of(name: str, at: Path) -> Path:
    packed = subprocess.run(["git", "archive", name], cwd=ROOT, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        archive.extractall(at, filter="data")
    return at


def _row(report: Mapping[str, Any]) -> Row:
    base = report["baseline"]["metrics"]
    return {
        "minutes": report["minutes"],
        "timings": report["timings"],
        "teacher": {name: base[name]["value"] for name in ("quality", "test_quality", "latency_ms")},
        "picks": {str(within): _pick(report["members"], within) for within in WITHIN},
    }


def _pick(members: Sequence[Mapping[str, Any]], within: float) -> Row | None:
    fitting = [one for one in members if one["verified"] and one["relative"]["quality_drop"] <= within + 1e-9]
    if not fitting:
        return None
    best = min(fitting, key=lambda one: one["metrics"]["latency_ms"]["value"])
    return {
        "policy": best["policy"],
        **{name: best["metrics"][name]["value"] for name in ("quality", "test_quality", "latency_ms", "size_mb")},
        **{name: best["relative"][name] for name in ("speedup", "quality_drop", "test_quality_drop")},
    }


def markdown(rows: Sequence[Row]) -> str:
    """A row a run, and one with the medians of each commit and their range."""
    lines = [
        "| study, commit | seed | minutes | teacher: validation, test "
        "| within 1 pt: times as fast, points on validation, test | within 2 pt |",
        "|---|---:|---:|---|---|---|",
    ]
    for study, of in dict.fromkeys((row["study"], row["commit"]) for row in rows):
        group = sorted(
            (row for row in rows if (row["study"], row["commit"]) == (study, of)), key=lambda row: row["seed"]
        )
        name = f"{study}, {of}"
        lines += [
            f"| {name} | {row['seed']} | {row['minutes']:.1f} "
            f"| {row['teacher']['quality']:.3f}, {row['teacher']['test_quality']:.3f} "
            f"| {' | '.join(_told(row['picks'][str(within)]) for within in WITHIN)} |"
            for row in group
        ]
        if len(group) > 1:
            minutes = _middle([row["minutes"] for row in group], ".1f")
            # A study without such a model leaves the one that it began with.
            speeds = [
                _middle([(row["picks"][str(within)] or {"speedup": 1.0})["speedup"] for row in group], ".1f")
                for within in WITHIN
            ]
            lines.append(f"| **{name}** | median (range) | {minutes} | | {' | '.join(f'{one}x' for one in speeds)} |")
    return "\n".join(lines) + "\n"


def _told(pick: Mapping[str, Any] | None) -> str:
    if pick is None:
        return "none"
    return f"{pick['speedup']:.1f}x, {-100 * pick['quality_drop']:+.1f}, {-100 * pick['test_quality_drop']:+.1f}"


def _middle(values: Sequence[float], form: str) -> str:
    return f"{statistics.median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


if __name__ == "__main__":
    main()
