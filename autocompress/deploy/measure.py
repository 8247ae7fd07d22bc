"""Measures the latency of exported models on the machine it runs on. Needs only: pip install onnxruntime numpy

    python measure.py FOLDER --json

Models that were deployed for another runtime need that too; what is missing is named. FOLDER is an exported model, or a
bundle of them (`autocompress bundle`), which carries a copy of this file. All models are measured in turns, round after
round, so that a drift of the machine meets all of them alike; what is printed is one JSON document for `autocompress
import-measurements`. It imports nothing of autocompress: it travels to devices that do not have it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import json
import os
import pathlib
import platform
import stat
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SCHEMA: Final = "autocompress.measurements/1"
BUNDLE_SCHEMA: Final = "autocompress.bundle/1"
BUNDLE: Final = "bundle.json"
BASELINE: Final = "baseline"
LEAST_ROUNDS: Final = 5
TURN: Final = 3
"""Inferences counted a turn, after one that is not: the model before it has just filled the caches."""

_SPEC, _NOT_FOUND, _HOST, _INTEGRITY = 2, 3, 4, 7  # exit codes, as everywhere in autocompress
_DEFAULT: Final = "onnxruntime"
_PROVIDER: Final = "CPUExecutionProvider"
_ROUNDS: Final = 40
_SECONDS: Final = 120.0
"""Unless rounds are asked for, no more than this, and never less than `LEAST_ROUNDS` rounds."""
_DISTURBED: Final = 1.25
"""A round is repeated when the first model takes this many times the best it did."""

STOP_SPINNING: Final = ("session.force_spinning_stop", "1")
"""Further threads of a session wait for its next inference by spinning, some 40 ms of a core each, which another model
then lacks: of two threads a small model took 1.16 times as long right after another one. Told to stop they spin within
an inference alone; by itself no model is slower for that (0.98 and 1.04 times)."""

EXACT_PRODUCTS: Final = ("session.x64quantprecision", "1")
"""Makes ONNX Runtime take its unsigned int8 kernels: exact on every CPU, and 2.7 times slower where the signed ones are
exact too (measured on one with AMX), so it is set only where `products_saturate`."""

_ALONE: Final = 0.1
"""An inference is one thread's work where the process's others use no more than this share of its processor time."""

_SCHEDULED: Final = pathlib.Path("/proc/thread-self/schedstat")
"""Of the calling thread: nanoseconds on a core, nanoseconds of waiting for one, and turns."""

_MOST: Final = {"batch": 4096, "length": 65536, "threads": 1024}
_MOST_BYTES: Final = 64 << 20
"""Of a file that lists others: more is no such file."""

Run = Callable[[], object]


class Refused(Exception):
    """It cannot be measured: why, and the code the program ends with (2 input, 3 not found, 4 machine, 7 damaged)."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True)
class Plan:
    """What is to be measured. `models` are files by the digest of their policy, the baseline's first under its own
    name; `sha256` are their digests, `switches` what their sessions are configured with, and `runtimes` what each of
    those runs in that does not run in ONNX Runtime's CPU provider. Token ids are drawn below `rows`."""

    study: str
    device: str
    workload: Mapping[str, Any]
    rows: int
    models: Mapping[str, pathlib.Path]
    sha256: Mapping[str, str]
    switches: Mapping[str, Mapping[str, str]]
    runtimes: Mapping[str, Mapping[str, Any]]


def measure(folder: pathlib.Path, *, rounds: int | None = None) -> dict[str, Any]:
    """Times every model of an exported folder or a bundle; the document that `import-measurements` reads.

    Raises Refused for a folder that is neither, a file that changed, or a runtime that cannot run them.
    """
    if rounds is not None and rounds < LEAST_ROUNDS:
        raise Refused(f"--rounds: at least {LEAST_ROUNDS} rounds are needed for an interval, got {rounds}", _SPEC)
    plan = read_plan(folder)
    opened = [
        _open(path, plan.runtimes.get(name), plan.workload, plan.switches[name]) for name, path in plan.models.items()
    ]
    runs = [_run(one, plan.workload, plan.rows) for one in opened]
    with _alone():
        samples = _in_turns(runs, rounds or _ROUNDS, seconds=None if rounds else _SECONDS)
    batches = len(_lengths(plan.workload))
    samples = [[reading / batches for reading in readings] for readings in samples]
    found = {
        name: _reading(plan.sha256[name], one.runtime, readings)
        for name, one, readings in zip(plan.models, opened, samples, strict=True)
    }
    import onnxruntime

    return {
        "schema": SCHEMA,
        "study": plan.study,
        "device": plan.device,
        "machine": machine(),
        "runtime": {"name": "onnxruntime", "version": onnxruntime.__version__, "provider": _PROVIDER},
        "workload": dict(plan.workload),
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "baseline": found.pop(BASELINE, None),
        "models": found,
    }


def read_plan(folder: pathlib.Path) -> Plan:
    """What a folder asks for, after checking every file that it lists. Raises Refused."""
    if (folder / BUNDLE).is_file():
        about = _json(folder / BUNDLE)
        try:
            if about["schema"] != BUNDLE_SCHEMA:
                raise Refused(
                    f"{folder / BUNDLE}: schema {about['schema']!r}, this program reads {BUNDLE_SCHEMA!r}", _SPEC
                )
            check_files(folder, about["files"])
            places = {BASELINE: about["baseline"], **about["members"]}
            return _plan(folder, about, places, rows=int(about["rows"]), device=str(about["device"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise Refused(f"{folder / BUNDLE}: damaged: {error!r}; make the bundle again", _INTEGRITY) from error
    if not (folder / "manifest.json").is_file():
        raise Refused(f"{folder}: neither a bundle (no {BUNDLE}) nor an exported model (no manifest.json)", _NOT_FOUND)
    about = _json(folder / "manifest.json")
    if about.get("kind") == "cascade":
        raise Refused(f"{folder}: a cascade of two models; measure {folder / 'small'} and {folder / 'large'}", _SPEC)
    try:
        check_files(folder, about["files"])
        # the vocabulary holds at least what the texts that travel with the model hold; images have none
        rows = 1 + max((max(ids) for ids in _json(folder / "check.json")["tokens"]), default=1)
        return _plan(folder, about, {about["digest"]: "."}, rows=rows, device=str(about["provenance"]["device"]))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Refused(f"{folder / 'manifest.json'}: damaged: {error!r}; export it again", _INTEGRITY) from error


def check_files(folder: pathlib.Path, files: Mapping[str, str]) -> None:
    """Raises Refused naming every file that is missing or not what its SHA-256 says."""
    problems = []
    for name in files:
        _inside(name)
    for name, promised in sorted(files.items()):
        path = folder / name
        if not path.is_file():
            problems.append(f"{path}: missing")
        elif (found := _sha256(path)) != promised:
            problems.append(f"{path}: changed since it was exported (SHA-256 {found[:12]}, expected {promised[:12]})")
    if problems:
        raise Refused("\n".join([*problems, "nothing was measured; copy the folder again"]), _INTEGRITY)


def machine() -> dict[str, Any]:
    """Who measured: the CPU's name, its logical cores, its architecture and system."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count() or 1,
        "machine": platform.machine(),
        "system": f"{platform.system()} {platform.release()}",
    }


def session_entries(switches: Mapping[str, str]) -> dict[str, str]:
    """The entries of a session's configuration: what always holds, a model's own switches, what this CPU needs."""
    return {**dict([STOP_SPINNING]), **switches, **(dict([EXACT_PRODUCTS]) if products_saturate() else {})}


def products_saturate(cpuinfo: str | None = None, architecture: str | None = None) -> bool:
    """Whether this CPU (or one that the kernel describes so) adds pairs of unsigned by signed 8-bit products in 16
    bits, which overflow silently: x86 without VNNI instructions. A system that does not say is held for one."""
    if (architecture or platform.machine()).lower() not in ("x86_64", "amd64", "x86", "i686"):
        return False
    flags = set((_text("/proc/cpuinfo") if cpuinfo is None else cpuinfo).split())
    return not flags & {"avx512_vnni", "avx_vnni"}


def lines(document: Mapping[str, Any]) -> list[str]:
    """A measured document for people."""
    base = document["baseline"]
    found = {**({BASELINE: base} if base else {}), **document["models"]}
    load = ", ".join(f"{name} {value}" for name, value in document["workload"].items())
    texts = [f"{document['machine']['cpu']}, onnxruntime {document['runtime']['version']}, {load}"]
    for name, one in found.items():
        low, high = one["quartiles_ms"]
        faster = f", {base['median_ms'] / one['median_ms']:.2f}x faster" if base and one is not base else ""
        texts.append(
            f"{name:<16}  {one['median_ms']:.4g} ms ({low:.4g} to {high:.4g}, n {len(one['samples_ms'])}){faster}"
        )
    return [_shown(text) for text in texts]


def text_of(document: Mapping[str, Any]) -> str:
    """The document as it is printed and written: ASCII, no number that JSON does not have."""
    return json.dumps(document, indent=1, allow_nan=False) + "\n"


def write(path: pathlib.Path, document: Mapping[str, Any]) -> None:
    """Appears whole or not at all. Raises Refused when it cannot be written, or something else stands there."""
    check_target(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        part.write_text(text_of(document), encoding="utf-8")
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise Refused(f"{path}: cannot be written: {error.strerror or error}", _HOST) from error


def check_target(path: pathlib.Path) -> None:
    """Raises Refused where a file stands that is no such document: it is somebody's."""
    try:
        if path.is_dir():
            raise Refused(f"{path}: is a folder; name a file", _SPEC)
        if path.is_file() and path.stat().st_size and f'"schema": "{SCHEMA}"'.encode() not in path.read_bytes()[:4096]:
            raise Refused(f"{path}: exists and holds no measurements, so it is left as it is; name another", _SPEC)
    except OSError as error:
        raise Refused(f"{path}: cannot be written: {error.strerror or error}", _HOST) from error


def main(arguments: Sequence[str] | None = None, *, program: str = "measure.py") -> int:
    """The command line, as it is without autocompress. Returns the exit code."""
    parser = argparse.ArgumentParser(prog=program, description="Measure exported models on this machine.")
    parser.add_argument("folder", type=pathlib.Path, help="an exported model, or a bundle of them")
    parser.add_argument("--json", action="store_true", help="one JSON document on stdout")
    parser.add_argument("--rounds", type=int, metavar="N", help=f"rounds of {TURN} inferences a model")
    parser.add_argument("--out", type=pathlib.Path, metavar="FILE", help="write the JSON document there")
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot print the name of a CPU
    given = parser.parse_args(arguments)
    try:
        if given.out:
            check_target(given.out)
        document = measure(given.folder, rounds=given.rounds)
        if given.out:
            write(given.out, document)
    except Refused as refused:
        sys.stderr.write("\n".join(_shown(line) for line in f"error: {refused}".splitlines()) + "\n")
        return refused.exit_code
    sys.stdout.write(text_of(document) if given.json else "\n".join(lines(document)) + "\n")
    return 0


def _plan(folder: pathlib.Path, about: Mapping[str, Any], places: Mapping[str, str], *, rows: int, device: str) -> Plan:
    """Raises KeyError, TypeError or ValueError when something is missing."""
    for place in places.values():
        _inside(place)
    names = {name: "model.onnx" if place == "." else f"{place}/model.onnx" for name, place in places.items()}
    manifests = {name: folder / file.replace("model.onnx", "manifest.json") for name, file in names.items()}
    told = {name: _json(path).get("runtime") for name, path in manifests.items() if path.is_file()}
    return Plan(
        study=str(about["study"]),
        device=device,
        workload=_workload(about["workload"]),
        rows=max(rows, 2),
        models={name: folder / file for name, file in names.items()},
        sha256={name: about["files"][file] for name, file in names.items()},
        switches={name: _switches(folder / place) for name, place in places.items()},
        runtimes={name: runtime for name, runtime in told.items() if runtime and runtime["name"] != _DEFAULT},
    )


def _switches(folder: pathlib.Path) -> dict[str, str]:
    """What the manifest of an exported model asks of a session; nothing for the stock baseline, which has none."""
    manifest = folder / "manifest.json"
    return (
        {str(key): str(value) for key, value in _json(manifest).get("switches", {}).items()}
        if manifest.is_file()
        else {}
    )


def _workload(told: Mapping[str, Any]) -> dict[str, Any]:
    """Raises KeyError, TypeError or ValueError when something is missing, or beyond all use."""
    counts: dict[str, Any] = {name: _count(name, told[name], most) for name, most in _MOST.items()}
    if told.get("lengths", "padded") == "padded":
        return counts
    return {
        **counts,
        "lengths": str(told["lengths"]),
        "tokens": [_count("length", one, _MOST["length"]) for one in told["tokens"]],
    }


def _count(name: str, told: Any, most: int) -> int:
    if isinstance(told, bool) or not isinstance(told, int) or not 1 <= told <= most:
        raise ValueError(f"`{name}` must be a whole number from 1 to {most}, got {str(told)[:20]}")
    return told


def _inside(name: str) -> None:
    """Raises ValueError for a name that leads out of the folder."""
    path = pathlib.PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name:
        raise ValueError(f"`{_shown(name)}` leads out of the folder")


def _shown(text: Any) -> str:
    """Text of others on one line, without what moves a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in str(text))


def _lengths(workload: Mapping[str, Any]) -> Sequence[int]:
    """The lengths of the batches that are timed: their mean is the latency."""
    return workload.get("tokens") or (workload["length"],)


def _json(path: pathlib.Path) -> Any:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{path}: cannot be read: {error}", _INTEGRITY) from error


def _sha256(path: pathlib.Path) -> str:
    whole = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            whole.update(block)
    return whole.hexdigest()


@dataclass(frozen=True)
class _Opened:
    """A model in its runtime, named with its version: what it wants to be fed, and how large that is (None where it is
    free), and one inference."""

    runtime: str
    inputs: Mapping[str, Sequence[int | None]]
    infer: Callable[[Mapping[str, Any]], object]


def _open(
    path: pathlib.Path, runtime: Mapping[str, Any] | None, workload: Mapping[str, Any], switches: Mapping[str, str]
) -> _Opened:
    """Raises Refused when the runtime is not installed, or does not run the model as it was measured."""
    name = runtime["name"] if runtime else _DEFAULT
    options = dict(runtime["options"]) if runtime else {"provider": _PROVIDER}
    try:
        if name.startswith("openvino"):
            return _in_openvino(path, name, options, workload["threads"])
        return _in_onnxruntime(path, name, options, workload["threads"], switches)
    except ImportError as error:
        wanted = "onnxruntime openvino" if name.startswith("openvino") else "onnxruntime"
        raise Refused(f"{error.name} is not installed; pip install {wanted} numpy", _HOST) from error


def _in_onnxruntime(
    path: pathlib.Path, name: str, given: Mapping[str, Any], threads: int, switches: Mapping[str, str]
) -> _Opened:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    for key, value in session_entries(switches).items():
        options.add_session_config_entry(key, value)
    providers = str(given["provider"]).split()
    if providers[0] not in onnxruntime.get_available_providers():
        raise Refused(f"{path}: runs in {name}, and this onnxruntime has no {providers[0]}", _HOST)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise Refused(f"{path}: onnxruntime {onnxruntime.__version__} cannot run it: {error}", _HOST) from error
    if session.get_providers()[0] != providers[0]:
        raise Refused(f"{path}: runs in {name}, and {providers[0]} could not be loaded", _HOST)
    inputs = {
        entry.name: [size if isinstance(size, int) else None for size in entry.shape] for entry in session.get_inputs()
    }
    return _Opened(f"{name} {onnxruntime.__version__}", inputs, lambda feed: session.run(None, feed))


@functools.cache
def _openvino() -> tuple[Any, Any]:
    """The library, without its telemetry, and one registry of plug-ins for all models: the process would die of a
    signal after two of them had ended."""
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # OpenVINO has a stub for where it is not
    import openvino

    return openvino, openvino.Core()


def _in_openvino(path: pathlib.Path, name: str, given: Mapping[str, Any], threads: int) -> _Opened:
    openvino, core = _openvino()
    try:
        compiled = core.compile_model(core.read_model(path), "CPU", {**given, "INFERENCE_NUM_THREADS": threads})
    except RuntimeError as error:
        raise Refused(f"{path}: openvino {openvino.__version__} cannot run it: {error}", _HOST) from error
    precision = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
    if precision != given.get("INFERENCE_PRECISION_HINT", precision):
        raise Refused(f"{path}: runs in {name}, and openvino computes in {precision} on this machine", _HOST)
    request = compiled.create_infer_request()
    inputs = {
        name: [None if size.is_dynamic else size.get_length() for size in entry.get_partial_shape()]
        for entry in compiled.inputs
        for name in entry.get_names()
    }
    version = str(openvino.__version__).partition("-")[0]
    return _Opened(f"{name} {version}", inputs, lambda feed: request.infer(feed, share_inputs=True))


def _run(opened: _Opened, workload: Mapping[str, Any], rows: int) -> Run:
    """One inference of each length, of random token ids, or of whatever else the model reads; their values do not
    matter for speed."""
    import numpy as np

    feeds, generator = [], np.random.default_rng(0)

    def drawn(sizes: Sequence[int | None]) -> Any:
        return generator.standard_normal([workload["batch"], *(size or 1 for size in sizes[1:])], dtype=np.float32)

    for length in _lengths(workload):
        ids = generator.integers(1, rows, (workload["batch"], length), dtype=np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        feeds.append({name: fed[name] if name in fed else drawn(sizes) for name, sizes in opened.inputs.items()})

    def run() -> None:
        for feed in feeds:
            opened.infer(feed)

    return run


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """The timing lane of `autocompress.devices.timing`: one measurement at a time of one user. The lock lies where
    others may write: it is opened through no link, nothing is written to it, and what is another's is no lock of ours.
    """
    if sys.platform == "win32":
        yield
        return
    import fcntl

    path = pathlib.Path(tempfile.gettempdir()) / f"autocompress-timing-{os.getuid()}.lock"
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        try:
            lock = os.open(path, flags | os.O_CREAT, 0o600)
        except PermissionError:
            lock = os.open(path, flags)
    except OSError as error:
        sys.stderr.write(f"{path}: no lock ({error.strerror}); other measurements of yours may disturb this one\n")
        yield
        return
    try:
        about = os.fstat(lock)
        if stat.S_ISREG(about.st_mode) and about.st_uid == os.getuid():
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _in_turns(runs: Sequence[Run], rounds: int, *, seconds: float | None) -> list[list[float]]:
    """Milliseconds of every counted inference of every run."""
    samples: list[list[float]] = [[] for _ in runs]
    best, tried, kept = float("inf"), 0, 0
    deadline = time.monotonic() + seconds if seconds else float("inf")
    while kept < rounds and (time.monotonic() < deadline or kept < LEAST_ROUNDS):
        turns = [_turn(run) for run in runs]
        tried += 1
        typical = statistics.median(turns[0])
        best = min(best, typical)
        if typical > _DISTURBED * best and tried < 3 * rounds:
            continue
        kept += 1
        for readings, turn in zip(samples, turns, strict=True):
            readings.extend(turn)
    return samples


def _turn(run: Run) -> list[float]:
    run()
    return [1e3 * seconds_of(run) for _ in range(TURN)]


def seconds_of(run: Run) -> float:
    """Of one inference, without what it waited for a core that others had: on a busy machine a long inference is
    interrupted and a short one is not, so that their ratio would be anything. What waiting costs several threads cannot
    be told: their reading is the clock's."""
    waited, everybody, own, start = _waited(), time.process_time(), time.thread_time(), time.perf_counter()
    run()
    took, used = time.perf_counter() - start, time.thread_time() - own
    by_others = time.process_time() - everybody - used
    return max(used, took - (_waited() - waited)) if by_others <= _ALONE * used else took


def _waited() -> float:
    """Seconds that the calling thread was ready to go on and had no core, as Linux counts them; 0 elsewhere."""
    try:
        return int(_SCHEDULED.read_bytes().split()[1]) / 1e9
    except (OSError, IndexError, ValueError):
        return 0.0


def _reading(sha256: str, runtime: str, samples: Sequence[float]) -> dict[str, Any]:
    low, middle, high = statistics.quantiles(samples, n=4, method="inclusive")
    rounded = [round(value, 6) for value in samples]
    return {
        "sha256": sha256,
        "runtime": runtime,
        "median_ms": middle,
        "quartiles_ms": [low, high],
        "samples_ms": rounded,
    }


def _cpu() -> str:
    """From /proc/cpuinfo, or the board's name where the kernel does not name the CPU (ARM)."""
    named = [line.partition(":")[2] for line in _text("/proc/cpuinfo").splitlines() if line.startswith("model name")]
    board = _text("/proc/device-tree/model")
    found = (*named[:1], board, platform.processor(), platform.machine())
    return next((name.strip("\0\t\n ") for name in found if name.strip("\0\t\n ")), "unknown")


def _text(path: str) -> str:
    try:
        return pathlib.Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


if __name__ == "__main__":
    sys.exit(main())
