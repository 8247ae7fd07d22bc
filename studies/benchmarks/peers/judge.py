"""Judges deployed models: their answers on the validation and test splits, and how long they take, in turns.

    python judge.py ASKED.json ANSWER.json

All models of one call are timed in one process, one inference at a time, round after round, with the stock fp32 export
in ONNX Runtime among them: a peer's speed is told against the reading of that export in the same rounds. Needs numpy,
psutil and onnxruntime, and the runtimes of the models it is given; of autocompress it uses the timing loop.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from openvino_models import tensors

from autocompress.devices.timing import time_side_by_side, timing_lane

Arrays = Mapping[str, NDArray[np.int64]]


class Served(Protocol):
    """A model behind its runtime, with a number of threads."""

    def run_of(self, length: int) -> Callable[[Arrays], Any]:
        """What answers inputs of so many tokens."""

    def pad_to(self) -> int | None:
        """The length that all texts are padded to, where the shape is fixed."""


class InOnnxRuntime:
    """As its users open it: nothing is set but the threads."""

    def __init__(self, path: Path, threads: int, settings: Mapping[str, Any]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        self._names = [entry.name for entry in self._session.get_inputs()]

    def run_of(self, length: int) -> Callable[[Arrays], Any]:
        return lambda fed: self._session.run(None, {name: fed[name] for name in self._names})[0]

    def pad_to(self) -> int | None:
        return None


class InOpenVino:
    """One stream, for latency; a fixed shape is compiled for each length."""

    def __init__(self, path: Path, threads: int, settings: Mapping[str, Any]) -> None:
        import openvino

        self._core, self._path, self._settings = openvino.Core(), path, settings
        self._options: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads}
        if "precision" in settings:
            self._options["INFERENCE_PRECISION_HINT"] = settings["precision"]
        self._compiled: dict[int, Any] = {}

    def _request(self, length: int) -> Any:
        fixed = bool(self._settings.get("fixed"))
        place = length if fixed else 0
        if place not in self._compiled:
            model = self._core.read_model(self._path)
            if fixed:
                model.reshape({entry.get_any_name(): [1, length] for entry in model.inputs})
            compiled = self._core.compile_model(model, "CPU", self._options)
            names = [entry.get_any_name() for entry in compiled.inputs]
            self._compiled[place] = compiled.create_infer_request(), names
        return self._compiled[place]

    def run_of(self, length: int) -> Callable[[Arrays], Any]:
        request, names = self._request(length)

        def run(fed: Arrays) -> Any:
            return request.infer({name: fed[name] for name in names}, share_inputs=True)[0]

        return run

    def pad_to(self) -> int | None:
        return int(self._settings["serves"]) if self._settings.get("fixed") else None


class InAutocompress:
    """As its own loader opens an exported folder; or a file with switches."""

    def __init__(self, path: Path, threads: int, settings: Mapping[str, Any]) -> None:
        from autocompress.deploy.folder import MODEL, read_manifest
        from autocompress.deploy.session import Session

        switches = settings["switches"] if path.is_file() else read_manifest(path).switches
        self._session = Session(path if path.is_file() else path / MODEL, threads=threads, switches=switches)

    def run_of(self, length: int) -> Callable[[Arrays], Any]:
        return lambda fed: self._session.run(self._session.feed(fed["input_ids"], fed["attention_mask"]))

    def pad_to(self) -> int | None:
        return None


class InTorch:
    """Whatever the peer's own module loads."""

    def __init__(self, path: Path, threads: int, settings: Mapping[str, Any]) -> None:
        import torch

        torch.set_num_threads(threads)
        self._run = importlib.import_module(settings["module"]).load(path)

    def run_of(self, length: int) -> Callable[[Arrays], Any]:
        return lambda fed: self._run(fed["input_ids"], fed["attention_mask"])

    def pad_to(self) -> int | None:
        return None


RUNTIMES: dict[str, Callable[[Path, int, Mapping[str, Any]], Served]] = {
    "onnxruntime": InOnnxRuntime,
    "openvino": InOpenVino,
    "autocompress": InAutocompress,
    "torch": InTorch,
}
NAMES = {"input_ids", "attention_mask", "token_type_ids"}


def right_answers(model: Served, rows: list[dict[str, Any]]) -> str:
    """Text by text, as it is served: 1 where the answer is right, so that two models can be compared in pairs."""
    marks = []
    for row in rows:
        fed = tensors(row["ids"], NAMES, pad_to=model.pad_to())
        answer = int(np.argmax(model.run_of(fed["input_ids"].shape[1])(fed)))
        marks.append("1" if answer == row["label"] else "0")
    return "".join(marks)


def full_length(length: int, vocabulary: int) -> dict[str, Any]:
    """Random tokens; their values do not matter for speed."""
    ids = np.random.default_rng(0).integers(1, vocabulary, length).tolist()
    return tensors(ids, NAMES)


def call(model: Served, length: int, vocabulary: int) -> Callable[[], object]:
    run, fed = model.run_of(length), full_length(length, vocabulary)
    return lambda: run(fed)


def opened(asked: Mapping[str, Any], threads: int, failed: dict[str, str]) -> dict[str, Served]:
    """All models that their runtimes can open and run; the reference first."""
    found: dict[str, Served] = {"": InOnnxRuntime(Path(asked["reference"]), threads, {})}
    for name, one in asked["models"].items():
        settings = {**one["settings"], "serves": max(asked["lengths"])}
        try:
            found[name] = RUNTIMES[one["runtime"]](Path(one["path"]), threads, settings)
            for length in asked["lengths"]:
                call(found[name], length, asked["vocabulary"])()
        except Exception as error:  # noqa: BLE001 - one peer's broken file must not end the others' measurement
            failed[name] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
            found.pop(name, None)
    return found


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    failed: dict[str, str] = {}
    latency: dict[str, dict[str, Any]] = {name: {} for name in asked["models"]}
    right: dict[str, dict[str, str]] = {}
    for threads in asked["threads"]:
        models = opened(asked, threads, failed)
        if not right:
            for name, model in models.items():
                right[name] = {split: right_answers(model, rows) for split, rows in asked["splits"].items()}
        for length in asked["lengths"]:
            with timing_lane():
                timed = time_side_by_side(
                    [call(model, length, asked["vocabulary"]) for model in models.values()],
                    rounds=asked["rounds"],
                    seconds=asked["seconds"],
                )
            for name, one in list(zip(models, timed, strict=True))[1:]:
                low, high = one.interval()
                latency[name][f"{length}/{threads}"] = {
                    "ms": one.median,
                    "interval": [low, high],
                    "reference_ms": timed[0].median,
                    "readings": len(one.samples),
                    "disturbed": one.disturbed,
                }
        del models
        time.sleep(0.2)  # the pools of the runtimes that were closed end their threads
    answer = {"latency": latency, "right": right, "failed": failed}
    Path(sys.argv[2]).write_text(json.dumps(answer, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
