"""Runtimes: each computes what its name says or is refused; a policy and a study may name one, and what is exported for
one is judged, timed, loaded and verified in it."""

import dataclasses
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import autocompress
from autocompress import config
from autocompress.anatomy.weights import random_weights
from autocompress.core.device import DeviceProfile, KernelRow, KernelTable, Runtime
from autocompress.core.encoders import held_in
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.prediction import predictor_of
from autocompress.core.storage import BITS, Storage
from autocompress.core.wording import describe
from autocompress.core.workload import Workload
from autocompress.deploy.folder import read_manifest
from autocompress.deploy.graph import write_graph
from autocompress.deploy.runtimes import onnx_runtime
from autocompress.deploy.session import Session, runtime
from autocompress.devices.profiles import profile_to, validate_file
from autocompress.devices.profiling import Effort, bert_shape
from autocompress.errors import HostError, IntegrityError, NotFoundError, SpecError
from autocompress.operators import OPERATORS, effective
from autocompress.operators.choose_runtime import runtime_of
from autocompress.pricing import Pricing
from tests.given_study import WORDS, write_data, write_model, write_study

HAS_OPENVINO = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="openvino is not installed (extra `openvino`)")
HAS_GPU = "CUDAExecutionProvider" in onnxruntime.get_available_providers()

SMALL = bert_shape(hidden=32, heads=4, head_size=8, width=64, layers=2)
IN_OPENVINO = CompressionPolicy((Step("runtime", "*", {"runtime": "openvino"}),))


def graph_of(shape: ModelParts = SMALL, *, bits: int = 32) -> bytes:
    shape = held_in(shape, Storage(bits))  # type: ignore[arg-type]
    written: bytes = write_graph(random_weights(shape, positions=64, seed=0)).SerializeToString()
    return written


def answers(graph: bytes, name: str, *, threads: int = 1) -> list[np.ndarray]:
    """Of padded batches of several lengths, one after the other in one session."""
    session, generator = Session(graph, threads=threads, runtime=name), np.random.default_rng(0)
    found = []
    for length in (7, 16, 3, 16):
        mask = np.ones((2, length), np.int64)
        mask[1, length // 2 :] = 0
        found.append(session.run(session.feed(generator.integers(1, 1000, (2, length)), mask)))
    return found


# What computes, and what is refused


@needs_openvino
@pytest.mark.parametrize(("bits", "tolerance"), [(32, 1e-5), (8, 5e-3)])
def test_openvino_computes_what_onnxruntime_computes(bits: int, tolerance: float) -> None:
    graph = graph_of(bits=bits)
    for expected, got in zip(answers(graph, "onnxruntime"), answers(graph, "openvino", threads=2), strict=True):
        assert np.abs(expected - got).max() < tolerance


@needs_openvino
def test_bf16_is_computed_where_it_is_named_and_nowhere_else() -> None:
    exact, close = runtime("openvino"), answers(graph_of(), "onnxruntime")
    assert exact.options["INFERENCE_PRECISION_HINT"] == "f32"
    try:
        coarse = answers(graph_of(), "openvino-bf16")
    except HostError as error:
        assert "this CPU has no bf16 kernels" in str(error)  # noqa: PT017 - what a machine without them must say
        return
    apart = max(float(np.abs(a - b).max()) for a, b in zip(close, coarse, strict=True))
    assert 1e-5 < apart < 0.02
    assert runtime("openvino-bf16").options["INFERENCE_PRECISION_HINT"] == "bf16"


@needs_openvino
def test_a_damaged_model_is_refused_by_openvino_too(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(graph_of()[:1000])
    with pytest.raises(IntegrityError, match=r"model\.onnx: not a valid model: "):
        Session(path, runtime="openvino")


@pytest.mark.expectation(17)
def test_openvino_tells_nobody_that_it_is_imported() -> None:
    code = (
        "import sys; from autocompress.deploy.runtimes import open_vino as ours; ours._core('openvino')\n"
        "from openvino.tools.ovc import telemetry\n"
        "print(type(telemetry).__module__, [name for name in sys.modules if 'openvino_telemetry' in name])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["openvino.tools.ovc.telemetry_stub", "[]"]


def test_a_runtime_that_is_not_installed_is_named_with_its_extra() -> None:
    code = (
        "import sys; sys.modules['openvino'] = None\n"
        "from autocompress.deploy.session import runtime\n"
        "try: runtime('openvino-bf16')\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("HostError runtime 'openvino-bf16': openvino is not installed; ")
    assert "pip install 'autocompress[openvino]'" in done.stdout


@pytest.mark.skipif(HAS_GPU, reason="here is an ONNX Runtime for GPUs")
@pytest.mark.parametrize("name", ["onnxruntime-cuda", "onnxruntime-tensorrt"])
def test_a_gpu_that_is_not_there_is_refused_with_what_to_install(name: str) -> None:
    with pytest.raises(HostError, match=rf"runtime '{name}': this onnxruntime .* has no .*ExecutionProvider .*-gpu"):
        runtime(name)
    with pytest.raises(HostError, match="pip install onnxruntime-gpu"):
        Session(graph_of(), runtime=name)


def test_a_session_that_fell_back_to_the_cpu_is_refused() -> None:
    fallen = onnxruntime.InferenceSession(graph_of(), providers=["CPUExecutionProvider"])
    with pytest.raises(HostError, match="asked for CUDAExecutionProvider, got CPUExecutionProvider"):
        onnx_runtime.refuse_fallback("onnxruntime-cuda", onnx_runtime.CUDA, fallen)


def test_a_provider_that_leaves_the_products_to_the_cpu_is_refused() -> None:
    known = onnxruntime.get_available_providers()
    if "AzureExecutionProvider" not in known:
        pytest.skip("this onnxruntime was built without the provider that takes no node of such a model")
    providers = ("AzureExecutionProvider", "CPUExecutionProvider")
    with pytest.raises(HostError, match="AzureExecutionProvider leaves Gemm, MatMul to the CPU"):
        onnx_runtime.OnnxRuntimeEngine("onnxruntime-cuda", providers, graph_of(), 1, {}, None)


@pytest.mark.skipif(not HAS_GPU, reason="needs an NVIDIA GPU and onnxruntime-gpu")
def test_the_gpu_computes_what_the_cpu_computes() -> None:
    graph = graph_of()
    for expected, got in zip(answers(graph, "onnxruntime"), answers(graph, "onnxruntime-cuda"), strict=True):
        assert np.abs(expected - got).max() < 1e-3


def test_an_unknown_runtime_is_refused_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="no runtime is called 'openvin'; did you mean 'openvino'"):
        runtime("openvin")


# Policies and studies


def test_a_policy_names_its_runtime_and_the_default_leaves_no_trace() -> None:
    kept, shape = effective(IN_OPENVINO, SMALL)
    assert (kept, shape.runtime, runtime_of(kept)) == (IN_OPENVINO, "openvino", "openvino")
    assert describe(shape).endswith("fp32, in openvino")
    default = CompressionPolicy((Step("runtime", "*", {"runtime": "onnxruntime"}),))
    assert effective(default, SMALL) == (CompressionPolicy(), SMALL)


def spec_of(tmp_path: Path, **changes: Any) -> autocompress.StudySpec:
    return config.load_study(write_study(tmp_path, **changes), operators=OPERATORS)


def space_with(step: dict[str, Any]) -> dict[str, Any]:
    return {"name": "s", "version": 1, "steps": [{"operator": "runtime", "target": "*", **step}]}


def test_a_study_has_one_runtime_for_all_or_a_space_that_chooses(tmp_path: Path) -> None:
    plain, whole = spec_of(tmp_path), spec_of(tmp_path, runtime="openvino")
    chosen = spec_of(tmp_path, space=space_with({"knobs": {"runtime": {"choices": ["openvino-bf16", "onnxruntime"]}}}))
    assert plain.policies is plain.space
    last = whole.policies.steps[-1]
    assert (last.operator, last.settings) == ("runtime", {"runtime": "openvino"})
    assert [one.runtimes for one in (plain, whole, chosen)] == [
        ("onnxruntime",),
        ("onnxruntime", "openvino"),
        ("onnxruntime", "openvino-bf16"),
    ]
    assert config.study_from_json(config.spec_to_json(whole), operators=OPERATORS) == whole


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"runtime": "openvin"}, "did you mean 'openvino'"),
        (
            {"runtime": "openvino", "space": space_with({"settings": {"runtime": "onnxruntime"}})},
            "must be left out, as the space 's' chooses it by itself",
        ),
        ({"space": space_with({"knobs": {"runtime": {"choices": ["tflite"]}}})}, "'tflite' is not offered"),
    ],
)
def test_a_runtime_that_cannot_be_meant_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=message):
        spec_of(tmp_path, **changes)


# Profiles


def table(name: str, milliseconds: float) -> KernelTable:
    rows = [
        KernelRow(block, bits, size, milliseconds if size or block == "base" else 0.0, 0.0, 1e3)  # type: ignore[arg-type]
        for bits in BITS
        for block, most in (
            ("base", 0),
            ("attention", 4),
            ("feed_forward", 64),
            ("last_attention", 4),
            ("last_feed_forward", 64),
        )
        for size in sorted({0, most})
    ]
    return KernelTable(32, 8, Workload(1, 16, 1), tuple(rows), runtime=name)  # type: ignore[arg-type]


def device(*tables: KernelTable) -> DeviceProfile:
    return DeviceProfile("box", 1, "measured", "", {}, Runtime("onnxruntime", "1"), "2026-11-22", tables)


def test_a_shape_is_predicted_by_the_table_of_its_runtime() -> None:
    both = device(table("onnxruntime", 1.0), table("openvino", 3.0))
    predict = predictor_of(both, hidden=32, head_size=8, workload=Workload(1, 16, 1))
    assert [predict(dataclasses.replace(SMALL, runtime=name)).value for name in ("onnxruntime", "openvino")] == [5, 15]
    with pytest.raises(ValueError, match=r"not measured in runtime 'openvino-bf16'.*measured: onnxruntime, openvino"):
        predict(dataclasses.replace(SMALL, runtime="openvino-bf16"))


def test_a_study_of_a_runtime_that_a_profile_lacks_says_how_to_measure_it() -> None:
    asked: dict[str, Any] = {"workload": Workload(1, 16, 1), "objectives": ["latency_ms"], "constraints": {}}
    with pytest.raises(SpecError, match="in runtime 'openvino'.*--runtime onnxruntime --runtime openvino`"):
        Pricing.of(device(table("onnxruntime", 1.0)), SMALL, runtimes=["onnxruntime", "openvino"], **asked)


def test_a_table_a_runtime_is_kept_and_two_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 thread, openvino twice"):
        device(table("openvino", 1.0), table("openvino", 2.0))


def test_a_profile_of_before_there_were_runtimes_is_one_of_onnxruntime() -> None:
    shipped = config.load_device("xeon-2core")
    assert {one.runtime for one in shipped.tables} == {"onnxruntime"}
    assert shipped.other_runtimes == ()


@needs_openvino
@pytest.mark.long
def test_a_profile_holds_a_table_for_each_runtime_and_all_are_validated(tmp_path: Path) -> None:
    path, load = tmp_path / "toy.yaml", Workload(1, 8, 1)
    made = profile_to(
        path, SMALL, [load], effort=Effort((0.0, 1.0), 5, 0.5, None, 3), runtimes=["onnxruntime", "openvino"]
    )
    assert [(one.runtime, one.workload) for one in made.tables] == [("onnxruntime", load), ("openvino", load)]
    assert (made.runtime.name, *(one.name for one in made.other_runtimes)) == ("onnxruntime", "openvino")
    checked = validate_file(path, models=2)
    assert all(one.accuracy and one.accuracy.n == 2 for one in checked.tables)
    assert config.load_device(path) == checked


# A whole study in another runtime than the default


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_data(folder / "texts.csv")
    write_model(folder / "model", head=False)
    return folder


@pytest.fixture(scope="module")
def study(project: Path) -> Iterator[autocompress.Study]:
    if not HAS_OPENVINO:
        pytest.skip("openvino is not installed (extra `openvino`)")
    path = write_study(project, name="elsewhere", runtime="openvino")
    with autocompress.run(path, storage=str(project / "autocompress.db"), workers=0) as done:
        yield done


def test_every_candidate_of_the_study_names_its_runtime(study: autocompress.Study) -> None:
    baseline, *others = study.records()
    assert runtime_of(baseline.candidate.policy) == "onnxruntime"
    assert {runtime_of(one.candidate.policy) for one in others} == {"openvino"}
    assert study.store.check(study.name) == []


def test_what_is_picked_says_so_and_answers_in_its_runtime(study: autocompress.Study, tmp_path: Path) -> None:
    folder = tmp_path / "picked"
    picked = study.pick(maximize="quality", runtime="openvino", out=folder)
    assert picked.to_json()["runtime"] == "openvino"
    assert picked.member.summary.endswith("· openvino")
    used = json.loads(json.dumps(dataclasses.asdict(runtime("openvino"))))
    assert read_manifest(folder).runtime == {**used, "requires": "openvino"}
    card = (folder / "README.md").read_text()
    assert "pip install openvino tokenizers numpy" in card
    assert f"this model in openvino {runtime('openvino').version}, the uncompressed one in onnxruntime" in card
    done = subprocess.run(
        [sys.executable, str(folder / "example.py"), "we saw the oven and some soup"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[0] in WORDS
    assert autocompress.load(folder)(["we saw the oven and some soup"])[0].label == done.stdout.split()[0]
    assert autocompress.verify_folder(folder).ok


def test_members_of_another_runtime_are_not_picked(study: autocompress.Study) -> None:
    with pytest.raises(NotFoundError, match="deployed in 'onnxruntime' .they are in openvino."):
        study.pick(runtime="onnxruntime")
    with pytest.raises(SpecError, match="no runtime is called 'onxruntime'"):
        study.pick(runtime="onxruntime")


def test_a_folder_whose_runtime_is_missing_names_the_extra(study: autocompress.Study, tmp_path: Path) -> None:
    folder = tmp_path / "picked"
    study.pick(knee=True, out=folder)
    code = "import sys; sys.modules['openvino'] = None\nfrom autocompress.cli import main\nsys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", code, "verify", str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == HostError.exit_code
    assert "pip install 'autocompress[openvino]'" in " ".join(done.stderr.split())


def test_a_bundle_measures_each_model_in_its_runtime(study: autocompress.Study, tmp_path: Path) -> None:
    folder = study.bundle(tmp_path / "bundle")
    assert "pip install openvino onnxruntime numpy" in (folder / "README.md").read_text()
    done = subprocess.run(
        [sys.executable, "measure.py", ".", "--json", "--rounds", "5"],
        cwd=folder,
        env={**os.environ, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=True,
    )
    document = json.loads(done.stdout)
    assert document["baseline"]["runtime"].startswith("onnxruntime ")
    assert {one["runtime"].split()[0] for one in document["models"].values()} == {"openvino"}


def test_the_time_of_parts_is_not_told_of_another_runtime(study: autocompress.Study) -> None:
    assert any("the model runs in openvino" in note for note in study.explain().notes)
