"""Every study's pick beside the stock fp32 export of its own teacher, and beside ONNX Runtime's own dynamic int8 of it.

    python studies/benchmarks/picks.py [STUDY ...] [--storage autocompress.db] [--print]

Studies are those in `studies/`, unless some are named. One that the store holds complete is taken from there; any other
is run into it, or gone on with. The data of some do not come along: where they are missing the table says so, and it
says which studies were never run. The pick is the fastest verified model within one point of its teacher on validation
data, or the best one where none is; stock files are opened as their users open them, with nothing set but the threads.
The three answer validation and test data one by one, and are timed in turns; with one thread what is compared is the
processor time of the thread, as in `lowering.py`.

Exit code 1 when a study keeps less than was promised of it. Of one that was not run nothing is known.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lowering import processor_ms, quick
from record import RESULTS, commit, keep, kept

import autocompress
from autocompress import config
from autocompress.core.ports import Tally
from autocompress.deploy.folder import MODEL
from autocompress.deploy.runtimes import Engine
from autocompress.deploy.session import Session
from autocompress.devices.host import fingerprint
from autocompress.devices.timing import time_side_by_side, timing_lane, workload_run
from autocompress.errors import NotFoundError
from autocompress.explain.explanation import found_teacher
from autocompress.exported.verification import Judged, judge_file, judge_folder
from autocompress.operators import OPERATORS
from autocompress.report import Picked
from autocompress.report.wording import drop_within
from autocompress.study.gathering import gather
from autocompress.study.preflight import problems_of
from autocompress.study.study import SilentObserver, Study
from autocompress.tasks import Task

STUDIES: Final = Path(__file__).parents[1]
PROMISED: Final = {
    "fashion-mnist": 5.0,
    "spoken-digits": 3.0,
    "sentence-embeddings": 5.0,
    "named-entities": 5.0,
    "sentence-pairs": 5.0,
    "quickstart": 5.0,
}
"""How many times as fast as the stock fp32 export a study's pick is at least."""

WITHIN: Final = 0.01
"""One point, which is 1 % of the range of a metric from 0 to 1."""

FP32, INT8, PICK = "stock fp32", "stock dynamic int8", "pick"
SPLITS: Final = ("validation", "test")

Row = dict[str, Any]


class AsItComes(Session):
    """A file as its users open it: nothing is set but the threads. Where the processor adds int8 products in 16 bits
    they overflow then, which our own sessions keep them from."""

    def __init__(self, path: Path, *, threads: int) -> None:
        super().__init__(path, threads=threads)
        self._engine = _Engine(path, threads, like=self._engine)


class _Engine:
    """`like` knows what the file wants."""

    shared = True

    def __init__(self, path: Path, threads: int, *, like: Engine) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self.inputs, self.sizes = like.inputs, like.sizes

    def infer(self, feed: Mapping[str, Any]) -> Any:
        return self._session.run(None, feed)[0]

    def end_watch(self) -> Path:
        return Path(self._session.end_profiling())


class Told:
    """Says what a study does, a line a stage."""

    def stage(self, name: str, detail: str = "") -> None:
        print(f"  {name} {detail}".rstrip(), flush=True)

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: Tally) -> None: ...

    def note(self, text: str) -> None:
        print(f"  {text}", flush=True)


def names() -> list[str]:
    """Of all studies that serve one row at a time with one thread."""
    found = {path.stem: config.load_study(path, operators=OPERATORS) for path in sorted(STUDIES.glob("*.yaml"))}
    return [name for name, spec in found.items() if (spec.workload.batch, spec.workload.threads) == (1, 1)]


def row_of(name: str, storage: str | None) -> Row:
    """What is known of a study; whether its data are missing is all where they are."""
    about = {
        "study": name,
        "commit": commit(),
        "date": datetime.date.today().isoformat(),
        "processor": fingerprint()["cpu"],
    }
    path = STUDIES / f"{name}.yaml"
    if problems := problems_of(config.load_study(path, operators=OPERATORS)):
        print(f"{name}: {problems[0]}", flush=True)
        return {**about, "missing": "data missing"}
    print(name, flush=True)
    with complete(path, storage) as study:
        return {**about, **measured(study)}


def complete(path: Path, storage: str | None) -> Study:
    """The study, stored and complete."""
    spec = config.load_study(path, operators=OPERATORS)
    try:
        study = autocompress.open_study(spec.name, storage=storage)
    except NotFoundError:
        return autocompress.run(spec, storage=storage, observer=Told())
    return study if study.row.state == "complete" else study.resume(observer=Told())


def measured(study: Study) -> Row:
    spec, facts = study.spec, study.row.facts
    inputs = gather(spec, SilentObserver())
    teacher = found_teacher(study.store, spec, inputs.model, inputs.data, may_train=True, observer=SilentObserver())
    workload, base = spec.as_served(facts).workload, study.store.folder(spec.name) / "baseline" / MODEL
    row: Row = {
        "task": spec.task.kind,
        "metric": teacher.task.metric,
        "workload": str(workload),
        "minutes": sum(facts["timings"].values()) / 60,
        "rows": {split: len(teacher.task.examples(split)) for split in SPLITS},
    }
    with tempfile.TemporaryDirectory() as place:
        picked = pick(study)
        folder = study.export(picked.digest, Path(place) / "picked")
        row |= {"digest": picked.digest, "pick": picked.member.summary, "why": picked.why}
        row["within"] = (picked.member.relative.quality_drop or 0.0) <= WITHIN + 1e-9
        files = {FP32: base, INT8: in_int8(base, Path(place) / "int8.onnx")}
        shape, threads = teacher.anatomy.shape(), workload.threads
        found = {
            name: judge_file(path, teacher.task, shape, workload, session=AsItComes(path, threads=threads))
            for name, path in files.items()
        }
        found[PICK] = judge_folder(folder, teacher.task, shape)
        row["quality"] = {split: judged(teacher.task, split, found) for split in SPLITS}
        row |= timed({name: one.session for name, one in found.items()}, workload, rows=shape.vocabulary)
    return row


def pick(study: Study) -> Picked:
    """The fastest within a point of the teacher on validation rows; the best there is, where none is."""
    try:
        return study.pick(max_quality_drop=WITHIN, minimize="latency_ms", as_seen=True)
    except NotFoundError as error:
        print(f"  {error}", flush=True)
        return study.pick(maximize="quality")


def in_int8(stock: Path, path: Path) -> Path:
    """By ONNX Runtime's own quantizer, with its defaults; convolutions stay as they are, as it has no kernel for those
    that it writes."""
    import onnx
    from onnxruntime.quantization import quantize_dynamic

    model = onnx.load(str(stock))
    del model.graph.value_info[:]  # quantization refuses the shapes that torch's exporter writes
    bare = path.with_name("bare.onnx")
    onnx.save(model, str(bare))
    convolutions = [node.name for node in model.graph.node if node.op_type == "Conv"]
    quantize_dynamic(str(bare), str(path), nodes_to_exclude=convolutions)
    return path


def judged(task: Task, split: str, files: Mapping[str, Judged]) -> dict[str, Any]:
    """Scores by file, and how far each lies below the stock fp32 export: values with their intervals."""
    examples, whole = task.examples(split), files[FP32].outputs[split]
    scores = {name: task.score(file.outputs[split], examples) for name, file in files.items()}
    others = {name: file for name, file in files.items() if name != FP32}
    drops = {name: task.drop(file.outputs[split], whole, examples) for name, file in others.items()}
    return {
        "score": {name: [one.value, *one.interval] for name, one in scores.items()},
        "drop": {name: [one.value, *one.interval] for name, one in drops.items()},
    }


def timed(sessions: Mapping[str, Session], workload: Any, *, rows: int) -> Row:
    runs = [workload_run(session, workload, rows=rows) for session in sessions.values()]
    with timing_lane():
        found = time_side_by_side(runs, rounds=60, seconds=30)
    batches = len(workload.batches)
    clock = {file: quick(one.turns) / batches for file, one in zip(sessions, found, strict=True)}
    processor = dict(zip(sessions, (ms / batches for ms in processor_ms(runs)), strict=True))
    alone = workload.threads == 1
    return {
        "ms": processor if alone else clock,
        "compared": "processor time" if alone else "clock",
        "clock_ms": clock,
        "disturbed": found[0].disturbed,
    }


def table(rows: Sequence[Row]) -> str:
    """Of all studies: those without figures are said to have none."""
    known = {row["study"]: row for row in rows}
    lines = [
        "| study | metric | teacher: validation, test | stock fp32 | its dynamic int8 | the pick | beside fp32 "
        "| beside int8 | pick, validation | pick, test | int8, validation | int8, test | promised | minutes | taken |",
        "|---|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    for name in sorted({*known, *names(), *PROMISED}):
        row = known.get(name, {"study": name, "missing": "not run yet"})
        cells = [row["missing"], *[""] * 10] if row.get("missing") else figures(row)
        asked = f"{PROMISED[name]:g}x" if name in PROMISED else ""
        minutes = f"{row['minutes']:.0f}" if "minutes" in row else ""
        taken = ", ".join(row[key] for key in ("date", "commit", "processor") if key in row)
        lines.append(f"| {name} | {' | '.join(cells)} | {asked} | {minutes} | {taken} |")
    return "\n".join(lines)


def figures(row: Row) -> list[str]:
    times, quality = row["ms"], row["quality"]
    scores = ", ".join(f"{quality[split]['score'][FP32][0]:.3f}" for split in SPLITS)
    took = [f"{times[file]:.3g} ms" for file in (FP32, INT8, PICK)]
    took[-1] += "" if row["within"] else ", beyond a point"
    ratios = [f"**{times[FP32] / times[PICK]:.1f}x**", f"{times[INT8] / times[PICK]:.1f}x"]
    return [
        row["metric"],
        scores,
        *took,
        *ratios,
        *(told(row, file, split) for file in (PICK, INT8) for split in SPLITS),
    ]


def told(row: Row, file: str, split: str) -> str:
    """`−0.4 [−0.9 to +0.1]`: in points, or as it is where the metric is a correlation."""
    drop, low, high = row["quality"][split]["drop"][file]
    return drop_within(drop, (low, high), row["metric"])


def broken(rows: Sequence[Row]) -> list[str]:
    """Studies whose pick is slower than was promised, or beyond a point; of those without figures nothing is known."""
    known = [row for row in rows if not row.get("missing") and row["study"] in PROMISED]
    return [
        row["study"] for row in known if not row["within"] or row["ms"][FP32] < PROMISED[row["study"]] * row["ms"][PICK]
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("studies", nargs="*", metavar="STUDY", help="[default: all]")
    parser.add_argument("--storage", metavar="URL", help="[default: ./autocompress.db]")
    parser.add_argument("--print", action="store_true", dest="only_print", help="only the table, from kept figures")
    asked = parser.parse_args()
    logging.getLogger().setLevel(logging.ERROR)  # the quantizer's advice
    rows: list[Row] = kept("picks", [])
    for name in [] if asked.only_print else asked.studies or names():
        found = row_of(name, asked.storage)
        if found.get("missing") and any(row["study"] == name for row in rows):
            continue  # what is kept was measured where the data were
        rows = sorted([*(row for row in rows if row["study"] != name), found], key=lambda row: str(row["study"]))
        keep("picks", rows)
    text = table(rows)
    (RESULTS / "picks.md").write_text(f"{text}\n", encoding="utf-8")
    print(text)
    if slow := broken(rows):
        print(f"not kept: {', '.join(slow)}")
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
