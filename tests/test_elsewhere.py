"""Studies for another machine: predicted, measured there through Ray, or carried there and back. Real throughout."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

import autocompress
from autocompress import config
from autocompress.core.device import Block, DeviceProfile, EnergyModel, KernelRow, KernelTable, Runtime
from autocompress.core.outcome import RUNG_FINALIST, Measurement
from autocompress.core.storage import RowBits
from autocompress.core.workload import Workload
from autocompress.deploy import measure
from autocompress.errors import HostError, IntegrityError, NotFoundError, SpecError, StudyLockedError
from autocompress.exported.elsewhere import ENERGY_FACT
from autocompress.exported.folder_check import verify_folder
from autocompress.runners.cluster import cluster
from autocompress.runners.devices import has_device, resource, timed_elsewhere
from autocompress.store import Finalist
from tests.drivers import cluster_with_a_device, in_a_driver
from tests.given_study import write_data, write_model, write_study

pytestmark = pytest.mark.slow

ROOT = Path(autocompress.__path__[0]).parent
TESTBOX = "testbox"
BARE = """
import importlib.util, runpy, sys
allowed = {*sys.stdlib_module_names, "numpy", "onnxruntime", "tokenizers", "autocompress"}
finders = list(sys.meta_path)
class Only:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in allowed:
            return next(filter(None, (finder.find_spec(name, path, target) for finder in finders)), None)
sys.meta_path[:] = [Only]
assert importlib.util.find_spec("typer") is None and importlib.util.find_spec("torch") is None
sys.argv[:] = ["autocompress", *sys.argv[1:]]
runpy.run_module("autocompress", run_name="__main__", alter_sys=True)
"""
"""A program that sees what `pip install onnxruntime numpy tokenizers` gives, and this checkout."""


def other_machine(*, milliseconds: float = 1.0) -> DeviceProfile:
    """A device with another CPU than this machine, where every block takes this long at full size in fp32."""

    def rows(block: Block) -> Iterator[KernelRow]:
        sizes = [0] if block == "base" else [1, 2, 3, 4] if block.endswith("attention") else [16, 32, 48, 64]
        for bits in get_args(RowBits):
            for size in sizes:
                value = milliseconds * (size / sizes[-1] if size else 1.0) * bits / 32
                yield KernelRow(block, bits, size, value, 0.9 * value, 1.1 * value)

    blocks: tuple[Block, ...] = get_args(Block)
    table = KernelTable(32, 8, Workload(1, 16, 1), tuple(row for block in blocks for row in rows(block)))
    return DeviceProfile(
        name=TESTBOX,
        version=1,
        source="measured",
        description="a box on another desk",
        fingerprint={"cpu": "Testbox 9000", "isa": "", "machine": "riscv64", "cores": "3", "system": "Linux"},
        runtime=Runtime("onnxruntime", "1"),
        measured_on="2026-01-01",
        tables=(table,),
        energy=EnergyModel(1.0, 5.0, 4, 3.0, 1.0, 10.0, source="made up for a test", spread=0.3),
    )


def write_project(folder: Path, **changes: Any) -> Path:
    """The study file; its device is another machine."""
    write_data(folder / "texts.csv")
    write_model(folder / "model", head=False)
    (folder / "testbox.yaml").write_text(config.dump_device(other_machine()), encoding="utf-8")
    given = {"device": "testbox.yaml", "budget": {"trials": 6}, "teacher": {"epochs": 8, "learning_rate": 5.0e-3}}
    return write_study(folder, **{**given, **changes})


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def study(project: Path) -> Iterator[autocompress.Study]:
    """Run once, where its device is out of reach. Tests that change it put it back."""
    path = write_project(project, constraints={"latency_ms": {"max": 50.0}})
    with autocompress.run(path, storage=str(project / "autocompress.db"), workers=0) as done:
        yield done


@pytest.fixture(scope="module")
def bundle(study: autocompress.Study, project: Path) -> Path:
    return study.bundle(project / "bundle")


@pytest.fixture(scope="module")
def document(bundle: Path) -> dict[str, Any]:
    """What a bare device said of the bundle; as if it were of another make."""
    done = bare("measure", str(bundle), "--json", "--rounds", "5")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found | {"machine": {**found["machine"], "cpu": "Testbox 9000"}}


@pytest.fixture
def untouched(study: autocompress.Study) -> Iterator[autocompress.Study]:
    """The study, with its finalists put back as they were."""
    before = study.store.finalists(study.name)
    yield study
    with study.store.lease(study.name) as lease:
        study.store.remeasure(lease, before)


def bare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BARE, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def command(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "autocompress", *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


def by_name(finalist: Finalist) -> dict[str, Measurement]:
    return {one.metric: one for one in finalist.measurements}


def verified(study: autocompress.Study) -> list[Finalist]:
    return [one for one in study.store.finalists(study.name) if one.state == "verified"]


# A device out of reach


def test_finalists_of_a_device_out_of_reach_are_offered_with_their_latency_predicted(study: autocompress.Study) -> None:
    members = verified(study)
    assert members
    for one in (study.store.finalists(study.name)[0], *members):
        found = by_name(one)
        latency = found["latency_ms"]
        assert (latency.source, latency.samples) == ("predicted", ())
        assert latency.interval is not None
        assert latency.interval[0] < latency.value < latency.interval[1]
        assert found["quality"].source == found["size_mb"].source == "measured"
        assert one.provenance["latency"] == "predicted"
        assert "latency_p90_ms" not in found
    assert study.store.front(study.name, rung=RUNG_FINALIST)
    assert study.store.check(study.name) == []


def test_what_follows_from_a_latency_is_stored_with_it(study: autocompress.Study) -> None:
    for one in study.store.finalists(study.name):
        found = by_name(one)
        assert found["throughput"].value == pytest.approx(1e3 / found["latency_ms"].value)
        assert found["throughput"].source == "predicted"
        assert found["energy_mj"].source == "modelled"
        # at one of four cores: 1 W at rest and a quarter of the 4 W on top
        assert found["energy_mj"].value == pytest.approx(2 * found["latency_ms"].value, rel=0.1)
        assert found["peak_memory_mib"].source == "counted"
        assert found["peak_memory_mib"].value > 0


def test_the_folder_of_a_finalist_says_that_its_latency_was_predicted(study: autocompress.Study) -> None:
    folder = study.store.folder(study.name) / verified(study)[0].candidate.digest
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["metrics"]["latency_ms"]["source"] == "predicted"
    assert manifest["provenance"]["latency"] == "predicted"
    assert verify_folder(folder, rounds=5).ok


# A device that is a node of Ray


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with cluster_with_a_device(resource(TESTBOX)) as found:
        yield found


@pytest.mark.ray
@pytest.mark.long
def test_finalists_are_measured_on_the_ray_node_that_is_the_device(address: str, tmp_path: Path) -> None:
    cheap = {
        "budget": {"trials": 3},
        "elastic": {"steps": 0},
        "finalists": {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    }
    in_a_driver(_measured_there, write_project(tmp_path, **cheap), str(tmp_path / "autocompress.db"), address)


def _measured_there(path: Path, database: str, address: str) -> None:
    options: dict[str, Any] = {"storage": database, "workers": 1, "ray_address": address}
    with (
        autocompress.resume("mine", **options)
        if Path(database).exists()
        else autocompress.run(path, **options) as study
    ):
        members = verified(study)
        assert members
        for one in (study.store.finalists(study.name)[0], *members):
            found = by_name(one)
            assert (found["latency_ms"].source, found["latency_ms"].device) == ("measured", TESTBOX)
            assert len(found["latency_ms"].samples) >= 15
            assert found["latency_p90_ms"].value >= found["latency_ms"].value
            assert (found["throughput"].source, found["throughput"].device) == ("measured", TESTBOX)
            assert one.provenance["latency"] == f"measured on {os.uname().nodename} by Ray"
        assert study.store.check(study.name) == []


@pytest.mark.long
@pytest.mark.ray
def test_a_device_is_known_by_its_resource_and_a_node_that_fails_is_an_error_with_a_way_out(address: str) -> None:
    in_a_driver(_known_by_its_resource, address)


def _known_by_its_resource(address: str) -> None:
    with cluster(workers=1, address=address) as ray:
        assert has_device(ray, TESTBOX)
        assert not has_device(ray, "toaster")
        there = timed_elsewhere(ray, TESTBOX, [b"123", b"45"], _sizes)
        assert (there.node, there.found) == (os.uname().nodename, [3, 2])
        with pytest.raises(HostError, match=r"device 'testbox'.*no room for 5 bytes.*autocompress resume"):
            timed_elsewhere(ray, TESTBOX, [b"123", b"45"], _fails)
        with pytest.raises(HostError, match="device 'toaster'.*did not measure"):
            timed_elsewhere(ray, "toaster", [b"123"], len, patience=1.0)


def _sizes(models: Sequence[bytes]) -> list[int]:
    return [len(model) for model in models]


def _fails(models: Sequence[bytes]) -> None:
    raise ValueError(f"no room for {sum(map(len, models))} bytes")


@pytest.mark.ray
@pytest.mark.long
def test_one_process_joins_and_starts_ray_one_after_the_other(address: str) -> None:
    in_a_driver(_joins_and_starts, address)


def _joins_and_starts(address: str) -> None:
    with cluster(workers=1, address=address) as ray:
        assert has_device(ray, TESTBOX)
    with cluster(workers=1) as ray:
        assert not has_device(ray, TESTBOX)
    with cluster(workers=1, address=address) as ray:
        assert has_device(ray, TESTBOX)


# A bundle, carried there and back


def test_a_bundle_holds_every_verified_model_and_the_baseline(study: autocompress.Study, bundle: Path) -> None:
    about = json.loads((bundle / "bundle.json").read_text())
    digests = {one.candidate.digest for one in verified(study)}
    assert (about["study"], about["device"], about["workload"]) == (
        "mine",
        TESTBOX,
        {"batch": 1, "length": 16, "threads": 1},
    )
    assert set(about["members"]) == digests
    for folder in about["members"].values():
        assert verify_folder(bundle / folder, rounds=5).ok
    files = {path.relative_to(bundle).as_posix() for path in bundle.rglob("*") if path.is_file()}
    assert set(about["files"]) == files - {"bundle.json"}
    assert {"measure.py", "baseline/model.onnx"} <= files
    for name, sha256 in about["files"].items():
        assert hashlib.sha256((bundle / name).read_bytes()).hexdigest() == sha256


def test_a_bundle_is_not_written_over_something_else(study: autocompress.Study, bundle: Path) -> None:
    (bundle.parent / "thesis").mkdir()
    (bundle.parent / "thesis" / "one.tex").write_text("years of work")
    with pytest.raises(SpecError, match=r"thesis: exists, is not empty and is no earlier export"):
        study.bundle(bundle.parent / "thesis", force=True)
    assert [path.name for path in (bundle.parent / "thesis").iterdir()] == ["one.tex"]
    assert study.bundle(bundle) == bundle


def test_a_study_without_verified_models_makes_no_bundle(untouched: autocompress.Study, tmp_path: Path) -> None:
    store, name = untouched.store, untouched.name
    with store.lease(name) as lease:
        store.remeasure(lease, [replace(one, state="rejected", reason="x") for one in verified(untouched)])
    with pytest.raises(NotFoundError, match="no verified finalist to carry away"):
        untouched.bundle(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_bare_device_measures_a_bundle_in_turns(document: dict[str, Any], study: autocompress.Study) -> None:
    assert (document["schema"], document["study"], document["device"]) == (measure.SCHEMA, "mine", TESTBOX)
    assert document["workload"] == {"batch": 1, "length": 16, "threads": 1}
    assert document["runtime"]["name"] == "onnxruntime"
    assert document["machine"]["cores"] == os.cpu_count()
    assert set(document["models"]) == {one.candidate.digest for one in verified(study)}
    for found in (document["baseline"], *document["models"].values()):
        low, high = found["quartiles_ms"]
        assert 0 < low <= found["median_ms"] <= high
        assert len(found["samples_ms"]) == 5 * measure.TURN


def test_a_bundle_measures_itself_without_us(bundle: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-I", "measure.py", ".", "--rounds", "5", "--out", str(tmp_path / "found.json")],
        cwd=bundle,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "x faster" in done.stdout
    assert json.loads((tmp_path / "found.json").read_text())["schema"] == measure.SCHEMA


def test_an_exported_folder_is_measured_alone(study: autocompress.Study, tmp_path: Path) -> None:
    picked = study.pick(maximize="quality", out=tmp_path / "picked")
    done = command(tmp_path, "measure", "picked", "--json", "--rounds", "5", "--out", "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == json.loads((tmp_path / "found.json").read_text())
    assert (found["baseline"], list(found["models"])) == (None, [picked.digest])
    with pytest.raises(SpecError, match="holds no baseline.*measure the whole bundle"):
        study.import_measurements(tmp_path / "found.json")


def test_a_changed_file_is_not_measured(study: autocompress.Study, tmp_path: Path) -> None:
    folder = study.bundle(tmp_path / "bundle")
    model = folder / verified(study)[0].candidate.digest / "model.onnx"
    model.write_bytes(model.read_bytes() + b"!")
    (folder / "baseline" / "model.onnx").unlink()
    for done in (bare("measure", str(folder), "--json"), command(tmp_path, "measure", "bundle", "--json")):
        assert (done.returncode, done.stdout) == (IntegrityError.exit_code, "")
        assert f"{model.parent.name}/model.onnx: changed since it was exported" in done.stderr
        assert "baseline/model.onnx: missing" in done.stderr
        assert "Traceback" not in done.stderr


def test_what_cannot_be_measured_is_said_with_the_same_exit_code_everywhere(bundle: Path, tmp_path: Path) -> None:
    for arguments, code, message in (
        (("measure", "nowhere"), NotFoundError.exit_code, "neither a bundle (no bundle.json) nor an exported model"),
        (("measure", str(bundle), "--rounds", "1"), SpecError.exit_code, "at least 5 rounds"),
        (
            ("measure", str(bundle), "--rounds", "5", "--out", "no/such/folder.json"),
            HostError.exit_code,
            "cannot be wr",
        ),
    ):
        for done in (bare(*arguments), command(tmp_path, *arguments)):
            assert done.returncode == code, done.stderr
            assert message in done.stderr


def test_a_bare_device_does_nothing_but_measure() -> None:
    done = bare("run", "quickstart")
    assert done.returncode == HostError.exit_code
    assert "only `measure` works; pip install autocompress" in done.stderr
    assert "usage: autocompress measure" in bare("measure", "--help").stdout


def test_imported_measurements_replace_the_predictions(
    untouched: autocompress.Study, document: dict[str, Any], tmp_path: Path
) -> None:
    study, before = untouched, {one.candidate.number: by_name(one) for one in untouched.store.finalists("mine")}
    file = tmp_path / "found.json"
    file.write_text(json.dumps(document))
    found = study.import_measurements(file)
    assert (found.machine, found.device, len(found.changes)) == ("Testbox 9000", "", 1 + len(verified(study)))
    for one in study.store.finalists("mine"):
        metrics, digest = by_name(one), one.candidate.digest
        readings = document["models"].get(digest, document["baseline"])
        latency = metrics["latency_ms"]
        assert (latency.source, latency.device) == ("measured", "Testbox 9000")
        assert latency.samples == tuple(readings["samples_ms"])
        assert latency.value == pytest.approx(readings["median_ms"], rel=1e-3)
        assert metrics["throughput"].value == pytest.approx(1e3 / latency.value)
        assert metrics["throughput"].source == "measured"
        assert metrics["energy_mj"].value == pytest.approx(2 * latency.value, rel=0.5)
        assert metrics["energy_mj"].value != before[one.candidate.number]["energy_mj"].value
        assert metrics["quality"] == before[one.candidate.number]["quality"]
        assert one.provenance["latency"] == "measured on Testbox 9000, imported"
        assert metrics.keys() == before[one.candidate.number].keys() | {"latency_p90_ms"}
    assert study.store.check("mine") == []
    once = study.store.finalists("mine")
    study.import_measurements(file)
    assert study.store.finalists("mine") == once
    assert study.row.state == "complete"


def test_the_front_follows_what_was_imported(
    untouched: autocompress.Study, document: dict[str, Any], tmp_path: Path
) -> None:
    """Two verified finalists: whichever is dominated depends on their latencies alone once the rest is equal."""
    store, (first, second) = untouched.store, verified(untouched)[:2]
    same = tuple(m for m in first.measurements if m.metric in ("quality", "size_mb"))
    others = tuple(m for m in second.measurements if m.metric not in ("quality", "size_mb"))
    with store.lease("mine") as lease:
        store.remeasure(lease, [replace(second, measurements=(*same, *others))])
    file = tmp_path / "found.json"
    for slow, fast in ((first, second), (second, first)):
        for one, milliseconds in ((slow, 9.0), (fast, 1.0)):
            document["models"][one.candidate.digest]["samples_ms"] = [milliseconds] * 15
        file.write_text(json.dumps(document))
        untouched.import_measurements(file)
        assert store.front("mine", rung=RUNG_FINALIST) == [fast.candidate.number]
        assert store.check("mine") == []


def test_a_model_that_proves_too_slow_is_offered_no_longer(
    tmp_path: Path, document: dict[str, Any], untouched: autocompress.Study
) -> None:
    """Measured again on a machine that is fast enough, it is offered again."""
    digest, file = next(iter(document["models"])), tmp_path / "found.json"
    for milliseconds, state in ((80.0, "rejected"), (20.0, "verified")):
        slow = document["models"][digest] | {"samples_ms": [milliseconds] * 15}
        file.write_text(json.dumps(document | {"models": document["models"] | {digest: slow}}))
        found = untouched.import_measurements(file)
        one = next(one for one in untouched.store.finalists("mine") if one.candidate.digest == digest)
        assert one.state == state
        assert one.artifacts
        if state == "rejected":
            assert one.reason == "latency_ms is 80, the study asks for <= 50"
            assert any("not offered: latency_ms is 80" in line for line in found.lines)


def without(key: str) -> Callable[[dict[str, Any]], Any]:
    return lambda tree: tree.pop(key)


def samples(value: Any) -> Callable[[dict[str, Any]], Any]:
    def change(tree: dict[str, Any]) -> None:
        next(iter(tree["models"].values()))["samples_ms"] = value

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda tree: tree.update(schema="autocompress.front/1"),
            "schema 'autocompress.front/1', allowed: 'autocompre",
        ),
        (lambda tree: tree.update(study="theirs"), "measurements of study 'theirs', not of 'mine'"),
        (
            lambda tree: tree["workload"].update(length=8),
            "measured under batch 1, length 8.*asks for batch 1, length 16",
        ),
        (lambda tree: tree["workload"].update(length=0), "`length >= 1` must hold"),
        (lambda tree: tree["models"].update(abc=tree["baseline"]), "abc is no exported finalist of study 'mine'"),
        (lambda tree: tree["models"].popitem(), "was not measured; measure all models together"),
        (lambda tree: tree["baseline"].update(sha256="0" * 64), "baseline: another file was measured than the study"),
        (
            lambda tree: next(iter(tree["models"].values())).update(sha256="0" * 64),
            "another file was measured than the study exported .SHA-256 000000000000, expected",
        ),
        (lambda tree: tree["machine"].update(cpu=" "), "`machine.cpu` must be the name of a CPU, got ' '"),
        (without("machine"), "lacks 'machine'"),
        (without("baseline"), "holds no baseline"),
        (samples([1.0] * 14), "at least 15 samples are needed, got 14"),
        (samples([1.0] * 15 + [-1.0]), "finite number of milliseconds > 0, at most 1e\\+07, got -1.0"),
        (samples([1.0] * 15 + [float("nan")]), "finite number of milliseconds > 0, at most 1e\\+07, got nan"),
        (samples([1.0] * 15 + [True]), "finite number of milliseconds > 0, at most 1e\\+07, got True"),
        (samples("1" * 20), "`samples_ms` must be a list of numbers, got str"),
    ],
)
def test_measurements_that_do_not_belong_here_are_refused(
    change: Callable[[dict[str, Any]], Any],
    message: str,
    study: autocompress.Study,
    document: dict[str, Any],
    tmp_path: Path,
) -> None:
    before = study.store.finalists(study.name)
    tree = json.loads(json.dumps(document))
    change(tree)
    file = tmp_path / "found.json"
    file.write_text(json.dumps(tree))
    with pytest.raises(SpecError, match=message):
        study.import_measurements(file)
    assert study.store.finalists(study.name) == before


def test_a_file_that_is_no_document_is_refused(study: autocompress.Study, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.json: no such file; `autocompress measure"):
        study.import_measurements(tmp_path / "none.json")
    for text, message in (("{", "no JSON document"), ("[1]", "schema None, allowed")):
        (tmp_path / "some.json").write_text(text)
        with pytest.raises(SpecError, match=message):
            study.import_measurements(tmp_path / "some.json")


def test_nothing_is_imported_while_the_study_runs(
    study: autocompress.Study, document: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "found.json").write_text(json.dumps(document))
    with study.store.lease(study.name), pytest.raises(StudyLockedError):
        study.import_measurements(tmp_path / "found.json")


@pytest.mark.long
def test_on_the_command_line_it_is_three_commands(untouched: autocompress.Study, project: Path, tmp_path: Path) -> None:
    done = command(project, "bundle", "mine", "--out", str(tmp_path / "out"))
    assert (done.returncode, done.stdout.strip()) == (0, str(tmp_path / "out")), done.stderr
    done = command(tmp_path, "measure", "out", "--json", "--rounds", "5")
    assert done.returncode == 0, done.stderr
    (tmp_path / "found.json").write_text(done.stdout)
    done = command(project, "import-measurements", "mine", str(tmp_path / "found.json"))
    assert done.returncode == 0, done.stderr
    assert f"mine: latency of {1 + len(verified(untouched))} models, measured on" in done.stdout
    assert "the study's device is 'Testbox 9000'" in done.stdout
    assert "ms -> " in done.stdout


def test_a_study_keeps_the_energy_model_its_finalists_were_judged_by(study: autocompress.Study) -> None:
    assert EnergyModel(**study.row.facts[ENERGY_FACT]) == other_machine().energy
