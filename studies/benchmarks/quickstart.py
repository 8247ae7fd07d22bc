"""The main job from nothing, timed and held against what it promises.

    python studies/benchmarks/quickstart.py [--study quickstart] [--keep-cache] [--stored autocompress.db]

Runs the study in an empty folder with an empty cache, picks the fastest verified model within one point of its teacher,
and writes results/STUDY.json, .png, .md. With `--stored` it is not run, but read from a store: that of `make demo` in
a fresh clone, say; its minutes are the sum of its stages. Exit code 1 when a promise of the quickstart is not kept.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path

from record import RESULTS, keep

import autocompress
from autocompress.report import as_markdown, as_png

PROMISES = {
    "study_minutes": (None, 10.0),
    "speedup": (5.0, None),
    "quality_drop": (None, 0.01),
    "size_ratio": (None, 0.25),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--keep-cache", action="store_true", help="use what is downloaded and trained already")
    parser.add_argument("--stored", metavar="FILE", help="report on a study that is in this store")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if not options.keep_cache:
            os.environ["AUTOCOMPRESS_CACHE"] = str(Path(folder) / "cache")
        started = time.monotonic()
        with (
            autocompress.open_study(options.study, storage=options.stored)
            if options.stored
            else autocompress.run(options.study, storage=str(Path(folder) / "autocompress.db"))
        ) as study:
            minutes = (time.monotonic() - started) / 60
            picked = study.pick(max_quality_drop=0.01, minimize="latency_ms", as_seen=True).to_json()
            report, facts = study.pareto(), study.row.facts
            as_png(report, RESULTS / f"{options.study}.png")
            (RESULTS / f"{options.study}.md").write_text(as_markdown(report), encoding="utf-8")
    if options.stored:
        minutes = sum(facts["timings"].values()) / 60
    figures = {
        "study_minutes": minutes,
        **picked["relative"],
        "why": picked["why"],
        "pick": picked["metrics"],
        "baseline": picked["baseline"],
        "timings_seconds": facts["timings"],
        "driver_share_of_search": facts["driver_seconds"] / facts["search_seconds"],
        "candidates_a_minute": 60 * report.to_json()["counts"]["evaluated"] / facts["search_seconds"],
    }
    broken = []
    for name, (low, high) in PROMISES.items():
        kept = (low is None or figures[name] >= low) and (high is None or figures[name] <= high)
        print(f"{name}: {figures[name]:.3g} ({'at least ' + str(low) if low else 'at most ' + str(high)})")
        broken += [] if kept else [name]
    interval = picked["metrics"]["test_quality"]["interval"]
    reference = picked["baseline"]["metrics"]["test_quality"]["value"]
    print(f"test quality {picked['metrics']['test_quality']['value']:.4f} {interval}, teacher {reference:.4f}")
    broken += [] if interval[1] >= reference else ["test_quality"]
    print(f"kept in {keep(options.study, figures)}")
    print(f"not kept: {', '.join(broken)}" if broken else "every promise is kept")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
