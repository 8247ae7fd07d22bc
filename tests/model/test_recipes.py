"""What docs/recipes.md shows, run over an exported folder: its answers are those of `autocompress.load`."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import autocompress
from tests.model.test_exported_folder import Exported, made
from tests.model.test_plain_form import NARROW, ROUNDED, exported

__all__ = ["made"]

RECIPES = Path(__file__).parents[2] / "docs" / "recipes.md"
HARD = ["", "goal " * 40, "THE team", "é 東京"]

Told = list[tuple[str, float]]


def shown(heading: str, language: str = "python") -> list[str]:
    """The blocks of a recipe."""
    (recipe,) = re.findall(
        rf"^## {re.escape(heading)}(?![\w.]).*?(?=^## |\Z)", RECIPES.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    blocks: list[str] = re.findall(rf"```{language}\n(.*?)```", recipe, re.DOTALL)
    return blocks


_KEPT: list[Any] = []
"""Cores of OpenVINO, which must not end before the process does."""


def run(heading: str) -> dict[str, Any]:
    """The names that the only block of a recipe leaves."""
    (block,) = shown(heading)
    names: dict[str, Any] = {"__name__": "recipe"}
    exec(compile(block, f"{RECIPES}: {heading}", "exec"), names)
    _KEPT.append(names.get("core"))
    return names


@pytest.fixture(scope="module")
def texts(made: Exported) -> list[str]:
    """A hundred."""
    known = [text for split in ("train", "validation", "test") for text in made.teacher.task.examples(split).texts]
    return [*known[: 100 - len(HARD)], *HARD]


@pytest.fixture(scope="module")
def rounded(made: Exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A narrower model in 8 bits."""
    return exported(made, tmp_path_factory.mktemp("rounded"), [*NARROW, *ROUNDED])


@pytest.fixture(params=["fp32", "int8"])
def folder(made: Exported, rounded: Path, request: pytest.FixtureRequest) -> Path:
    return made.folder if request.param == "fp32" else rounded


@pytest.fixture
def here(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder to work in, with the model in `small/` and the first recipe beside it as `model.py`."""
    (tmp_path / "small").symlink_to(folder)
    (tmp_path / "model.py").write_text(shown("ONNX Runtime")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield tmp_path
    sys.modules.pop("model", None)


def expected(folder: Path, texts: list[str]) -> Told:
    return [(answer.label, answer.shares[answer.label]) for answer in autocompress.load(folder)(texts)]


def apart(found: Told, known: Told) -> float:
    """The largest difference of shares; answers are the same where the best two are not closer than that."""
    assert len(found) == len(known)
    most = max(abs(one[1] - other[1]) for one, other in zip(found, known, strict=True))
    assert [label for label, _ in found] == [label for label, _ in known]
    return most


def test_plain_onnx_runtime_answers_as_the_loader(here: Path, texts: list[str]) -> None:
    answers = run("ONNX Runtime")["answers"]
    assert apart([answers([text])[0] for text in texts], expected(here / "small", texts)) < 1e-6


def test_texts_in_one_batch_are_answered_as_each_alone(made: Exported, texts: list[str], here: Path) -> None:
    """Nearly, in 8 bits: there a batch shares its scales."""
    rounded = (here / "small").resolve() != made.folder.resolve()
    assert apart(run("ONNX Runtime")["answers"](texts), expected(here / "small", texts)) < (0.02 if rounded else 1e-6)


@pytest.mark.parametrize("folder", ["fp32"], indirect=True)
def test_the_service_answers_together_what_waits_together(here: Path, texts: list[str]) -> None:
    pytest.importorskip("fastapi")
    service = run("A small HTTP service")
    answers, batches = service["answers"], []

    def watched(batch: list[str]) -> Told:
        batches.append(len(batch))
        found: Told = answers(batch)
        return found

    async def asked() -> Told:
        waiting: asyncio.Queue[Any] = asyncio.Queue()
        futures = [asyncio.get_running_loop().create_future() for _ in [*texts, *texts]]
        for pair in zip([*texts, *texts], futures, strict=True):
            waiting.put_nowait(pair)
        answering = asyncio.create_task(service["answer_what_waits"](waiting))
        found = await asyncio.gather(*futures)
        answering.cancel()
        return found

    service["answers"] = watched
    assert apart(asyncio.run(asked()), 2 * expected(here / "small", texts)) < 1e-6
    assert sum(batches) == 200
    assert max(batches) == batches[0] == 32


@pytest.mark.parametrize("folder", ["fp32"], indirect=True)
def test_the_service_answers_over_http_and_goes_on_after_a_failure(here: Path, texts: list[str]) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    service = run("A small HTTP service")
    answers = service["answers"]

    def failing(batch: list[str]) -> Told:
        if "fail" in batch:
            raise RuntimeError("no answer")
        found: Told = answers(batch)
        return found

    service["answers"] = failing
    with TestClient(service["app"], raise_server_exceptions=False) as client:
        assert client.post("/classify", json={"text": "fail"}).status_code == 500
        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(lambda text: client.post("/classify", json={"text": text}).json(), texts))
        assert client.post("/classify", json={"text": "x" * 20_001}).status_code == 422
    assert apart([(one["label"], one["share"]) for one in said], expected(here / "small", texts)) < 1e-6


def test_openvino_answers_as_onnx_runtime(here: Path, texts: list[str]) -> None:
    pytest.importorskip("openvino")
    assert apart(run("OpenVINO")["answers"](texts), expected(here / "small", texts)) < 5e-3


def test_node_answers_as_python(here: Path, texts: list[str]) -> None:
    """Where `npm install onnxruntime-node @huggingface/tokenizers` was run in the project's folder or above."""
    installed = [
        place / "node_modules" for place in RECIPES.parents if (place / "node_modules" / "onnxruntime-node").exists()
    ]
    node = shutil.which("node")
    if node is None or not installed:
        pytest.skip("node or its package onnxruntime-node is not installed")
    (here / "node_modules").symlink_to(installed[0])
    (here / "ask.mjs").write_text(shown("Node", "javascript")[0])
    done = subprocess.run([node, "ask.mjs", *texts], capture_output=True, text=True, check=True)
    found = [line.split("\t") for line in done.stdout.splitlines()]
    assert apart([(label, float(share)) for label, share in found], expected(here / "small", texts)) < 0.02


@pytest.mark.parametrize("folder", ["fp32"], indirect=True)
def test_transformers_js_answers_as_python(here: Path, texts: list[str]) -> None:
    """Where `npm install @huggingface/transformers` was run; it cuts long texts its own way."""
    installed = [
        place / "node_modules"
        for place in RECIPES.parents
        if (place / "node_modules" / "@huggingface" / "transformers").exists()
    ]
    node = shutil.which("node")
    if node is None or not installed:
        pytest.skip("node or its package @huggingface/transformers is not installed")
    (here / "node_modules").symlink_to(installed[0])
    (here / "classify.mjs").write_text(shown("transformers.js", "javascript")[0])
    asked = [text for text in texts if text and len(text) < 100]
    done = subprocess.run([node, "classify.mjs", *asked], capture_output=True, text=True, check=True)
    found = [line.split("\t") for line in done.stdout.splitlines()]
    assert apart([(label, float(share)) for label, share in found], expected(here / "small", asked)) < 1e-3


@pytest.mark.parametrize("folder", ["fp32"], indirect=True)
def test_optimum_answers_as_the_loader(here: Path, texts: list[str]) -> None:
    pytest.importorskip("optimum.onnxruntime")
    assert apart(run("Optimum")["answers"](texts), expected(here / "small", texts)) < 1e-5


@pytest.mark.parametrize("folder", ["fp32"], indirect=True)
def test_triton_is_told_the_names_and_sizes_of_the_model(made: Exported, here: Path) -> None:
    run("Triton")
    (told,) = shown("Triton", "text")
    assert (here / "models" / "small" / "config.pbtxt").read_text() == told
    assert (here / "models" / "small" / "1" / "model.onnx").read_bytes() == (here / "small" / "model.onnx").read_bytes()


@pytest.mark.usefixtures("adapted")
def test_a_pipeline_of_transformers_answers_alike(made: Exported, texts: list[str], here: Path) -> None:
    rounded = (here / "small").resolve() != made.folder.resolve()
    found = run("transformers")["answers"](texts)
    assert apart(found, expected(here / "small", texts)) < (0.05 if rounded else 1e-5)


def test_check_json_holds_what_the_recipes_say_of_it(made: Exported) -> None:
    told = json.loads((made.folder / "check.json").read_text())
    assert set(told) == {"texts", "tokens", "logits", "labels", "readings"}
    assert len(told["texts"]) == len(told["tokens"]) == len(told["logits"]) == len(told["labels"])
    assert "" in [one["text"] for one in told["readings"]]
