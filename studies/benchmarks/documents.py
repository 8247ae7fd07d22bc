"""Puts what is generated into README.md and docs/, between its markers: the kept figures, the keys of a study, and the
models and tasks there are, the commands, the JSON documents, and what tests are about.

    python studies/benchmarks/documents.py [--check]

With `--check` nothing is written, and the exit code says whether every document is in step with `results/`, with the
schema of studies, and with what changed since the figures were taken.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import command_docs
import expectations
import json_docs
import study_keys
import supported

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).parent / "results"
DOCUMENTS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))

TABLES = {
    "front": "quickstart",
    "peers": "peers",
    "fronts": "front_quality",
    "movie-reviews": "front_quality-movie-reviews",
    "forms": "forms_of_deployment",
    "ladder": "ladder",
    "origins": "origins",
    "ablation": "recovery",
    "faults": "faults",
    "picks": "picks",
    "promise": "promise",
    "budget": "budget",
    "sparsity": "sparsity",
    "attention-forms": "attention_forms",
    "kept-tokens": "kept_tokens",
    "few-bits": "few_bits",
    "effort": "effort",
    "seeds": "seeds",
}
"""Parts of the documents that are a benchmark's own table, as it left it."""

SHORT = ("candidate", "accuracy", "test accuracy (95 %)", "latency", "faster", "size", "model")
"""The columns of a front that the README shows."""

UNDER: Mapping[str, tuple[str, ...]] = {
    "attention_forms": ("anatomy/attention_form", "anatomy/weights.py", "core/attention_form.py", "deploy"),
    "budget": ("candidates", "finalists", "planning", "study", "teacher"),
    "busy": ("devices",),
    "faults": (
        "search.py",
        "samplers.py",
        "store",
        "runners",
        "assets",
        "study/life.py",
        "study/searching.py",
        "study/stages.py",
        "finalists/promotion.py",
        "exported/proof.py",
    ),
    "effort": ("candidates", "distill", "finalists"),
    "few_bits": ("anatomy", "deploy", "operators", "finalists/recovery.py"),
    "forms_of_deployment": ("deploy", "anatomy", "families"),
    "hat": ("devices/fitting.py", "core/prediction.py"),
    "kept_tokens": ("core/kept_tokens.py", "core/cost.py", "deploy"),
    "low_rank": ("anatomy", "deploy", "operators"),
    "lowering": ("deploy", "core/lowering.py"),
    "precision": ("deploy", "operators", "anatomy"),
    "profiles": ("devices", "deploy", "core/prediction.py"),
    "profiles-others": ("devices", "deploy", "core/prediction.py"),
    "promise": ("certainty", "report/expectation.py", "report/bounds.py", "report/picking.py"),
    "sampling": ("search.py", "samplers.py", "core/nomination.py"),
    "seeds_by_solver": ("samplers.py", "pricing/solver.py"),
    "sparsity": ("anatomy", "deploy", "operators"),
    "vocabulary": ("anatomy", "core/cost.py", "deploy", "inputs", "operators"),
    "throughput": ("search.py", "samplers.py", "store", "runners", "candidates/evaluate.py"),
}
"""The code of the package that figures come from, where it is not all of it: when it changes, they are old."""


def figures_of(name: str) -> Any:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))["figures"]


def figures_table() -> str:
    quick, search = figures_of("quickstart"), figures_of("throughput")
    pick, base = quick["pick"], quick["baseline"]["metrics"]
    low, high = pick["test_quality"]["interval"]
    rates, long = search["search"]["candidates_a_minute"], search["long_study"]
    drop = 100 * quick["quality_drop"]
    rows = [
        ("the study, from nothing, downloads included", f"{quick['study_minutes']:.1f} minutes", "quickstart"),
        (
            "the pick: latency",
            f"{pick['latency_ms']['value']:.2f} ms against {base['latency_ms']['value']:.1f} ms, "
            f"**{quick['speedup']:.1f}x** faster",
            "quickstart",
        ),
        (
            "the pick: validation accuracy",
            f"{pick['quality']['value']:.4f}, teacher {base['quality']['value']:.4f} "
            f"({abs(drop):.1f} points {'below' if drop > 0 else 'above'})",
            "quickstart",
        ),
        (
            "the pick: test accuracy, never searched on",
            f"{pick['test_quality']['value']:.4f} [{low:.3f}, {high:.3f}], teacher {base['test_quality']['value']:.4f}",
            "quickstart",
        ),
        (
            "the pick: file",
            f"{pick['size_mb']['value']:.1f} MB against {base['size_mb']['value']:.1f} MB ({quick['size_ratio']:.0%})",
            "quickstart",
        ),
        ("candidates a minute, one and two workers", f"{rates['1']:.0f} and {rates['2']:.0f}", "throughput"),
        (
            "two workers against one (median of paired rounds)",
            f"{search['search']['two_workers_against_one']:.2f}x",
            "throughput",
        ),
        (
            "the driver's own processor time, share of the search",
            f"{quick['driver_share_of_search']:.1%}",
            "quickstart",
        ),
        ("one more candidate at 10,000 stored", f"{long['ms_a_candidate_at_10000']:.1f} ms", "throughput"),
        fault_row(),
    ]
    rows += [*file_rows(), *device_rows()]
    lines = ["| what | figure | `python studies/benchmarks/` |", "|---|---|---|"]
    return "\n".join([*lines, *(f"| {what} | {figure} | `{script}.py` |" for what, figure, script in rows)])


def fault_row() -> tuple[str, str, str]:
    """All faults together."""
    rows = figures_of("faults")["rows"]
    kinds, times = len({row["kind"] for row in rows}), sum(row["times"] for row in rows)
    ended = ", ".join(f"{sum(row[name] for row in rows)} {name}" for name in ("lost", "twice", "stuck"))
    return f"real studies struck {times:,} times by faults of {kinds} kinds", f"{ended} ([all](#faults))", "faults"


def taken_table() -> str:
    """Every kept result: with which commit, when and on which machine it was taken, and whether it is old."""
    lines = ["| figures | commit | date | machine | since then |", "|---|---|---|---|---|"]
    for path in sorted(RESULTS.glob("*.json")):
        about = json.loads(path.read_text(encoding="utf-8"))
        since = "**old**: the code under it changed" if is_old(path.stem) else "nothing under it changed"
        lines.append(f"| `{path.stem}` | {about['commit']} | {about['date'][:10]} | {machine(about)} | {since} |")
    return "\n".join(lines)


def taken(name: str) -> str:
    """A line that says where figures come from, to stand under them."""
    about = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    since = " **Old**: the code under them has changed since." if is_old(name) else ""
    return f"Figures of {about['date'][:10]}, commit {about['commit']}, {machine(about)}.{since}"


def machine(about: Mapping[str, Any]) -> str:
    """`Intel(R) Xeon(R) Processor, 2 cores (avx512_vnni, amx_int8)`"""
    found = about["machine"]
    told = [one for one in ("avx512_vnni", "amx_int8") if one in found["isa"].split()]
    return f"{found['cpu']}, {found['cores']} cores" + (f" ({', '.join(told)})" if told else "")


@cache
def is_old(name: str) -> bool:
    """Whether the code that figures come from is another one than when they were taken, or cannot be compared."""
    about = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    commit = re.match(r"[0-9a-f]{7,40}", about["commit"])
    paths = [f"autocompress/{part}" for part in UNDER.get(name, ("",))]
    compared = ["git", "diff", "--quiet", commit[0] if commit else "unknown", "--", *paths]
    return subprocess.run(compared, cwd=ROOT, capture_output=True, check=False).returncode != 0


def file_rows() -> list[tuple[str, str, str]]:
    """The uncompressed model's weights in other files: how they are written, and in how many bits."""
    lowering, precision = figures_of("lowering"), figures_of("precision")
    rows = []
    for found in lowering["workloads"]:
        times, load = found["compared_ms"], found["workload"]
        if load["threads"] == 1:
            int8, plain = times["our int8, lowered"], times["our int8, plain"]
            fp32 = times["stock fp32"] / times["our fp32, lowered"]
            rows.append(
                (
                    f"the same weights in int8, {load['length']} tokens: ours against ONNX Runtime's own dynamic int8",
                    f"**{times['stock dynamic int8'] / int8:.2f}x** (before the device chose its form "
                    f"{times['stock dynamic int8'] / plain:.2f}x), {times['stock fp32'] / int8:.1f}x stock fp32; "
                    f"our fp32 {fp32:.2f}x",
                    "lowering",
                )
            )
    by_name = {row["variant"]: row for row in precision["teacher"]}
    eight, four = by_name["int8"], by_name["int8, embeddings int4"]
    rows.append(
        (
            "embeddings in 4 bits instead of 8, layers in int8: file, and right answers on validation and test",
            f"{four['mb']:.1f} MB for {eight['mb']:.1f}; {four['validation']:.4f} and {four['test']:.4f} for "
            f"{eight['validation']:.4f} and {eight['test']:.4f}",
            "precision",
        )
    )
    return rows


def device_rows() -> list[tuple[str, str, str]]:
    """Predictions: how far from measurements, how fast, and on what machines somebody else measured."""
    profiles, busy, hat = figures_of("profiles"), figures_of("busy"), figures_of("hat")
    errors, retarget = profiles["errors"], profiles["retarget"]
    together, lowest = errors["together"], errors["lowest"]
    models = next(iter(errors["by_workload"].values()))["n"]
    rows = [
        (
            f"predicted against measured, {models} fresh random policies at lengths 32 and 128, at the profile's pace",
            f"error {together['mape']:.1%}, {together['within_10']:.1%} within 10 %, "
            f"Spearman at least {lowest['spearman']:.3f}",
            "profiles",
        ),
        ("predicting 10,000 policies", f"{profiles['speed']['seconds_for_10000_predictions']:.2f} s", "profiles"),
        (f"re-targeting a study of {retarget['candidates']:,} candidates", f"{retarget['seconds']:.1f} s", "profiles"),
        (
            "another process on one core while profiling: noticed, and false alarms",
            f"{busy['busy_noticed']} of {busy['trials']}, {busy['quiet_alarms']} of {busy['trials']}",
            "busy",
        ),
    ]
    rows += other_profile_rows()
    for name, found in hat.items():
        fewer = ", ".join(f"{found['mape_with_fewer_samples'][n]['mean']:.1%}" for n in ("10", "50", "200"))
        rows.append(
            (
                f"HAT, {name}: error on its 200 test rows",
                f"{found['ours']['mape']:.2%}; ridge {found['ridge']['mape']:.2%}, "
                f"HAT's own network {found['hat_network_in_percent']['mape']:.2f} %; "
                f"ours with 10, 50, 200 samples {fewer}",
                "hat",
            )
        )
    return rows


def other_profile_rows() -> list[tuple[str, str, str]]:
    """Predictions for other runtimes, batches and threads, as far as they were measured."""
    if not (RESULTS / "profiles-others.json").exists():
        return []
    rows = []
    for name, found in figures_of("profiles-others").items():
        together, lowest = found["together"], found["lowest"]
        models = next(iter(found["by_workload"].values()))["n"]
        rows.append(
            (
                f"the same, {name}: {models} random policies for {' and '.join(found['by_workload'])}",
                f"error {together['mape']:.1%}, {together['within_10']:.1%} within 10 %, "
                f"Spearman at least {lowest['spearman']:.3f}",
                "profiles",
            )
        )
    return rows


def table(name: str) -> str:
    """A benchmark's own table, and where it comes from."""
    if not (RESULTS / f"{name}.md").exists():
        return "Not taken yet."
    return f"{(RESULTS / f'{name}.md').read_text(encoding='utf-8').strip()}\n\n{taken(name)}"


def short_front() -> str:
    """The front of the quickstart without what takes a second look."""
    rows = [
        [cell.strip() for cell in line.strip().strip("|").split("|")]
        for line in (RESULTS / "quickstart.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("|")
    ]
    columns = [rows[0].index(name) for name in SHORT]
    return "\n".join("| " + " | ".join(row[column] for column in columns) + " |" for row in rows) + (
        f"\n\n◆ is the knee of the front. {taken('quickstart')}"
    )


def parts() -> dict[str, Callable[[], str]]:
    """What stands between `<!-- NAME -->` and `<!-- /NAME -->`, by name."""
    return {
        **{name: partial(table, file) for name, file in TABLES.items()},
        "short-front": short_front,
        "figures": figures_table,
        "taken": taken_table,
        "keys": partial(study_keys.tables, "study"),
        "metrics": study_keys.metrics,
        "operators": study_keys.operators,
        "supported": supported.table,
        "tasks": supported.tasks,
        "json": json_docs.tables,
        "json-others": json_docs.others,
        "expectations": expectations.table,
        "commands": command_docs.listed,
        "command-options": command_docs.of_all,
        "command-sections": command_docs.sections,
        "exit-codes": command_docs.exit_codes,
    }


def filled(text: str, made: Mapping[str, str]) -> str:
    """The document with everything between markers made anew."""
    for name in re.findall(r"^<!-- ([a-z-]+) -->$", text, re.MULTILINE):
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, _, rest = text.partition(begin)
        text = f"{before}{begin}{made[name]}\n{end}{rest.partition(end)[2]}"
    return text


def main() -> None:
    made = {name: make() for name, make in parts().items()}
    before = {path: path.read_text(encoding="utf-8") for path in DOCUMENTS}
    after = {path: filled(text, made) for path, text in before.items()}
    unused = sorted(name for name in made if not any(f"<!-- {name} -->" in text for text in before.values()))
    changed = [str(path.relative_to(ROOT)) for path in DOCUMENTS if before[path] != after[path]]
    if unused or ("--check" in sys.argv and changed):
        sys.exit(
            f"not in step: {', '.join(changed)}; run `python studies/benchmarks/documents.py`"
            if changed
            else f"no document holds <!-- {unused[0]} -->"
        )
    for path, text in after.items():
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
