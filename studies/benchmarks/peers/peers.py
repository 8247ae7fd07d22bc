"""The same teacher and data through other people's tools: quality, latency, size and time of each, side by side.

    python studies/benchmarks/peers/peers.py [--only NAME ...] [--storage autocompress.db] [--quick]
    python studies/benchmarks/peers/peers.py --measure         # again, what was made before: on a quiet machine
    python studies/benchmarks/peers/peers.py --print           # table and picture from the kept figures

Every peer is one file `peer_NAME.py`. It runs in a virtual environment of its own when there is an
`environments/NAME.txt` (made once, in the cache), else with the Python that runs this; what cannot be installed, or
fails, is a row that says why. Peers write deployed models; these are then judged by `judge.py`: text by text on the
validation and test splits, and timed in turns, all of ONNX Runtime's and OpenVINO's in one process, with the stock
fp32 export of ONNX Runtime beside every one of them. Figures go to results/peers.json and .png; with `--quick` (few
texts and rounds: does it work?) they stay in the cache.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
import venv
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
sys.path.append(str(HERE.parent))

from contract import Job  # noqa: E402
from record import RESULTS, keep, kept  # noqa: E402

PEERS = (
    "pytorch",
    "ort",
    "ort_dynamic",
    "ort_static",
    "openvino",
    "nncf",
    "olive",
    "inc",
    "torch_pruning",
    "every_other_layer",
    "autocompress",
)
REFERENCE = "ONNX Runtime fp32"
PICK = "the pick within one point of the teacher"
LENGTHS, THREADS = (32, 128), (1, 2)
TICKS = (0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50)
PATIENCE = 3600.0
"""Seconds until a peer counts as hanging."""
ALONE = {"HF_HUB_OFFLINE": "1", "OLIVE_DISABLE_TELEMETRY": "1", "NNCF_CI": "1"}
"""No tool fetches anything, or reports that it was used."""
SHARED, SHARED_RUNTIMES = "shared", {"onnxruntime", "openvino", "autocompress"}
"""Their models are timed in one process; those in PyTorch with their own peer's packages."""


@dataclass(frozen=True)
class Place:
    """Where everything is kept between runs."""

    folder: Path
    quick: bool

    @property
    def teacher(self) -> Path:
        return self.folder / "teacher"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def runs(self) -> Path:
        return self.folder / ("quick" if self.quick else "runs")

    @property
    def reference(self) -> Path:
        return self.runs / "reference.onnx"

    @property
    def figures(self) -> Path:
        return self.runs / "peers.json" if self.quick else RESULTS / "peers.json"

    def save(self, rows: list[dict[str, Any]]) -> None:
        if self.quick:
            self.figures.write_text(json.dumps({"figures": {"rows": rows}}, indent=1), encoding="utf-8")
        else:
            keep("peers", {"rows": rows})

    def rows(self) -> list[dict[str, Any]]:
        if not self.quick:
            found: list[dict[str, Any]] = kept("peers", {"rows": []})["rows"]
            return found
        return json.loads(self.figures.read_text(encoding="utf-8"))["figures"]["rows"] if self.figures.exists() else []


class PeerFailed(Exception):
    """Why there are no figures of a peer."""


def command(arguments: Iterable[str | Path], log: Path, *, what: str) -> None:
    """Runs it with its output in a file. Raises PeerFailed with the last line that says what is wrong."""
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, **ALONE, "PYTHONPATH": str(ROOT)}
    with log.open("w", encoding="utf-8") as out:
        try:
            code = subprocess.run(
                [str(one) for one in arguments], cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT,
                timeout=PATIENCE, check=False,
            ).returncode  # fmt: skip
        except subprocess.TimeoutExpired as error:
            raise PeerFailed(f"{what}: no end after {PATIENCE / 60:.0f} minutes") from error
    if code:
        lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines()]
        telling = [line for line in lines if "error" in line.lower()] or [line for line in lines if line]
        raise PeerFailed(f"{what}: {(telling or [f'exit code {code}'])[-1][:300]}")


def python_of(name: str, place: Place) -> Path:
    """The interpreter of a peer's environment, which is made when it is not there or its requirements changed."""
    wanted = HERE / "environments" / f"{name}.txt"
    if not wanted.exists():
        return Path(sys.executable)
    folder = place.folder / "environments" / name
    python, stamp = folder / "bin" / "python", folder / "installed"
    text = wanted.read_text(encoding="utf-8")
    digest = hashlib.sha256(text.encode()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="utf-8") == digest:
        return python
    print(f"  {name}: installing", flush=True)
    venv.create(folder, clear=True, with_pip=True)
    pip: list[str | Path] = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    log = folder / "install.log"
    # torch first and alone: together with the rest, pip would look for a newer build with gigabytes of CUDA
    for torch in (line for line in text.splitlines() if line.startswith("torch==")):
        command([*pip, torch], log, what="cannot be installed")
    command([*pip, "--requirement", wanted], log, what="cannot be installed")
    stamp.write_text(digest, encoding="utf-8")
    return python


def make(name: str, place: Place, asked: argparse.Namespace) -> None:
    """Lets a peer make its models, unless that was done."""
    out = place.runs / name
    job = Job(
        peer=name,
        teacher=str(place.teacher),
        data=str(place.data),
        reference=str(place.reference),
        out=str(out),
        lengths=LENGTHS,
        calibration=16 if place.quick else 300,
        study=asked.study,
        storage=str(Path(asked.storage).resolve()) if asked.storage else None,
        quick=place.quick,
    )
    out.mkdir(parents=True, exist_ok=True)
    (out / "result.json").unlink(missing_ok=True)
    (out / "job.json").write_text(json.dumps(asdict(job), indent=1), encoding="utf-8")
    python = python_of(name, place)
    started = time.monotonic()
    command([python, HERE / f"peer_{name}.py", out / "job.json"], out / "log.txt", what="failed")
    print(f"  {name}: made in {time.monotonic() - started:.0f} s", flush=True)


def made(name: str, place: Place) -> dict[str, Any]:
    path = place.runs / name / "result.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"models": []}
    return found


def size_mb(folder: Path, files: list[str]) -> float:
    """Of all files that have to be shipped but the tokenizer, which every model needs."""
    return sum(path.stat().st_size for name in files for path in folder.glob(f"{name}*") if path.is_file()) / 1e6


def judged(peers: list[str], place: Place) -> list[dict[str, Any]]:
    """Rows of all models that these peers made."""
    groups: dict[str, list[tuple[str, dict[str, Any]]]] = {}
    for name in peers:
        for one in made(name, place)["models"]:
            groups.setdefault(SHARED if one["runtime"] in SHARED_RUNTIMES else name, []).append((name, one))
    rows = []
    for title, group in groups.items():
        try:
            answer = answers(title, group, place)
        except PeerFailed as error:
            rows += [{"peer": name, "model": one["name"], "failed": str(error)} for name, one in group]
            continue
        rows += [row(name, one, answer, place) for name, one in group]
    return rows


def answers(title: str, group: list[tuple[str, dict[str, Any]]], place: Place) -> dict[str, Any]:
    """What `judge.py` says of models that share a process, in an environment that has their runtimes."""
    splits = {}
    for split in ("validation", "test"):
        lines = (place.data / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        splits[split] = [json.loads(line) for line in lines[: 60 if place.quick else None]]
    asked = {
        "reference": str(place.reference),
        "models": {
            one["name"]: {
                "runtime": one["runtime"],
                "path": str(place.runs / name / one["path"]),
                "settings": {**one["settings"], "module": f"peer_{name}"},
            }
            for name, one in group
        },
        "splits": splits,
        "lengths": LENGTHS,
        "threads": THREADS,
        "vocabulary": json.loads((place.teacher / "config.json").read_text(encoding="utf-8"))["vocab_size"],
        "rounds": 5 if place.quick else 60,
        "seconds": 5.0 if place.quick else 120.0,
    }
    folder = place.runs / "judged"
    folder.mkdir(parents=True, exist_ok=True)
    question, answer = folder / f"{title}-asked.json", folder / f"{title}.json"
    question.write_text(json.dumps(asked), encoding="utf-8")
    answer.unlink(missing_ok=True)
    environment = title
    if title == SHARED:
        environment = "openvino" if any(one["runtime"] == "openvino" for _, one in group) else "ort"
    python = python_of(environment, place)
    command([python, HERE / "judge.py", question, answer], folder / f"{title}.txt", what="cannot be judged")
    found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return found


def row(name: str, one: dict[str, Any], answer: dict[str, Any], place: Place) -> dict[str, Any]:
    about = {"peer": name, "model": one["name"], "runtime": one["runtime"], "note": one["note"]}
    if one["name"] in answer["failed"]:
        return {**about, "failed": answer["failed"][one["name"]]}
    right = answer["right"][one["name"]]
    return {
        **about,
        "versions": made(name, place)["versions"],
        "seconds": one["seconds"],
        "size_mb": size_mb(place.runs / name, one["files"] or [one["path"]]),
        **{split: marks.count("1") / len(marks) for split, marks in right.items()},
        "right_on_test": right["test"],
        "latency": answer["latency"][one["name"]],
    }


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: PEERS.index(row["peer"]))


def table(rows: list[dict[str, Any]]) -> str:
    """Markdown; speed is the median reading of the stock export over the model's own, both of the same rounds."""
    at = [f"{length}/{threads}" for length in LENGTHS for threads in THREADS]
    heads = [
        f"ms at {length} tokens, {threads} thread{'s' * (threads > 1)}" for length in LENGTHS for threads in THREADS
    ]
    lines = [
        f"| model | validation | test | MB | {' | '.join(heads)} | against stock fp32 | made in |",
        "|---|" + "---:|" * (5 + len(at)),
    ]
    for one in rows:
        if "failed" in one:
            lines.append(f"| {one['model']} | no figures: {one['failed'].replace('|', '/')} |" + " |" * (4 + len(at)))
            continue
        cells = [f"{one['latency'][place]['ms']:.2f}" for place in at]
        lines.append(
            f"| {one['model']} | {one['validation']:.4f} | {one['test']:.4f} | {one['size_mb']:.1f} "
            f"| {' | '.join(cells)} | {speed(one):.1f}x | {one['seconds']:.0f} s |"
        )
    return "\n".join(lines)


def speed(one: dict[str, Any]) -> float:
    """At the quickstart's workload: 128 tokens, one thread."""
    found = one["latency"]["128/1"]
    return float(found["reference_ms"] / found["ms"])


def told_apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    """How likely two equally good models would differ this much on the test texts: the exact sign test over those that
    one answers and the other does not (McNemar 1947)."""
    from scipy import stats

    pairs = list(zip(one["right_on_test"], other["right_on_test"], strict=True))
    won, lost = pairs.count(("1", "0")), pairs.count(("0", "1"))
    return float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0


def verdict(rows: list[dict[str, Any]]) -> str:
    """The pick beside the fastest peers: within its own rule, and of those that the test texts do not call worse;
    and the fastest of ours that they do not call worse than the latter, of those within three points of the teacher."""
    shown = [one for one in rows if "failed" not in one]
    pick = next((one for one in shown if PICK in one["note"]), None)
    stock = next((one for one in shown if one["model"] == REFERENCE), None)
    if pick is None or stock is None:
        return ""
    peers = [one for one in shown if one["peer"] != "autocompress"]
    by_rule = [one for one in peers if one["validation"] >= stock["validation"] - 0.01 - 1e-9]
    told = [f"{pick['model']} is {PICK}: {speed(pick):.1f}x the stock export."]
    best = max(by_rule, key=speed)
    told.append(f"The fastest peer within one point of the teacher is {beside(best, pick)}.")
    fastest = max((one for one in peers if not_worse(one, pick)), key=speed, default=None)
    if fastest is not None and fastest is not best:
        told.append(
            f"The fastest that the test texts do not call worse, whatever it loses, is {beside(fastest, pick)}."
        )
        near = [one for one in shown if one["validation"] >= stock["validation"] - 0.03 - 1e-9]
        ours = [one for one in near if one["peer"] == "autocompress" and not_worse(one, fastest)]
        if ours:
            quick = max(ours, key=speed)
            told.append(
                f"Neither do they call {quick['model']} worse than that one, with {speed(quick):.1f}x the stock export "
                f"and {speed(quick) / speed(fastest):.1f}x that peer (test {quick['test']:.4f}, p = "
                f"{told_apart(quick, fastest):.2f})."
            )
    return "\n" + " ".join(told)


def beside(peer: dict[str, Any], pick: dict[str, Any]) -> str:
    """A peer in words, with what the pick is against it."""
    return (
        f"{peer['model']}, {speed(peer):.1f}x: the pick is **{speed(pick) / speed(peer):.1f}x** as fast (test "
        f"{pick['test']:.4f} against {peer['test']:.4f} on {len(pick['right_on_test'])} texts, sign test p = "
        f"{told_apart(peer, pick):.2f})"
    )


def not_worse(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(one["test"] >= other["test"] or told_apart(one, other) >= 0.05)


def picture(rows: list[dict[str, Any]], path: Path) -> None:
    """Quality against latency of every model, autocompress's joined. Readings of another process are brought to the
    scale of this one by the stock export that was timed in both."""
    from autocompress.report.canvas import new_figure, save

    shown = [one for one in rows if "failed" not in one]
    stock = next((one for one in shown if one["model"] == REFERENCE), None)
    scale = stock["latency"]["128/1"]["reference_ms"] if stock else 1.0
    figure = new_figure(1100, 640)
    axes = figure.add_axes((0.07, 0.1, 0.6, 0.86))
    marks = {"onnxruntime": "o", "openvino": "D", "torch": "^"}
    ours = sorted((one for one in shown if one["peer"] == "autocompress"), key=speed)
    others = [one for one in shown if one not in ours and one is not stock]
    for place, one in enumerate(sorted(others, key=speed, reverse=True)):
        edge = "black" if place >= 10 else "white"  # ten colours, and again with an edge
        axes.plot(
            [scale / speed(one)], [100 * one["test"]], linestyle="", marker=marks[one["runtime"]], markersize=8,
            color=f"C{place % 10}", markeredgecolor=edge, label=one["model"],
        )  # fmt: skip
    if ours:
        points = [scale / speed(one) for one in ours], [100 * one["test"] for one in ours]
        axes.plot(*points, marker="o", markersize=7, color="#d55e00", linewidth=2.2, zorder=5, label="autocompress")
    if stock:
        label = f"{REFERENCE}: the stock export"
        axes.plot([scale], [100 * stock["test"]], marker="s", markersize=9, color="black", linestyle="", label=label)
    axes.set_xscale("log")
    ticks = [tick for tick in TICKS if _within(tick, [scale / speed(one) for one in shown])]
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("latency of what is deployed, 128 tokens, one thread, ms (log)")
    axes.set_ylabel("test quality, %")
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8)
    save(figure, path, about="peers and autocompress: test quality against latency of the deployed model")


def _within(tick: float, readings: list[float]) -> bool:
    return min(readings, default=tick) / 1.5 <= tick <= 1.5 * max(readings, default=tick)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PEERS, default=list(PEERS), metavar="NAME", help=", ".join(PEERS))
    parser.add_argument("--study", default="quickstart")
    parser.add_argument("--storage", metavar="FILE", help="where the study is stored, for autocompress's own rows")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "autocompress-peers")
    parser.add_argument("--quick", action="store_true", help="few texts and rounds: does it work?")
    parser.add_argument("--measure", action="store_true", help="judge again what was made before, make nothing")
    parser.add_argument("--print", action="store_true", dest="only_print")
    asked = parser.parse_args()
    place = Place(asked.cache.resolve(), asked.quick)
    if not asked.only_print:
        run(asked, place)
    rows = in_order(place.rows())
    picture(rows, place.figures.with_suffix(".png"))
    found = f"{table(rows)}\n{verdict(rows)}\n"
    place.figures.with_suffix(".md").write_text(found, encoding="utf-8")
    print(found)


def run(asked: argparse.Namespace, place: Place) -> None:
    """Makes and judges what is asked for; every peer that fails leaves a row that says why."""
    from distilled import write_inputs

    place.runs.mkdir(parents=True, exist_ok=True)
    write_inputs(asked.study, place.teacher, place.data)
    if not place.reference.exists() and "ort" not in asked.only:
        make("ort", place, asked)
    failed = {}
    for name in PEERS:
        if name in asked.only and not asked.measure:
            print(name, flush=True)
            try:
                make(name, place, asked)
            except PeerFailed as error:
                failed[name] = str(error)
                print(f"  {name}: {error}", flush=True)
    fresh = [{"peer": name, "model": name, "failed": reason} for name, reason in failed.items()]
    print("judging", flush=True)
    fresh += judged([name for name in asked.only if name not in failed], place)
    done = {row["peer"] for row in fresh}
    place.save(in_order([row for row in place.rows() if row["peer"] not in done] + fresh))


if __name__ == "__main__":
    main()
