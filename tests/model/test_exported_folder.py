"""Exported folders in real places: read from raw texts, copied about, changed by their users, opened by others."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import autocompress
from autocompress import config
from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.cli import main
from autocompress.core.lowering import FormChoice, Lowering
from autocompress.core.opsets import ExportSpec
from autocompress.core.outcome import Measurement
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Phase
from autocompress.core.refusals import WHOLE
from autocompress.deploy.answers import Answer
from autocompress.deploy.folder import read_check, read_manifest
from autocompress.deploy.forms import GraphMaker
from autocompress.errors import HostError, IntegrityError, NotFoundError, SpecError
from autocompress.exported.exporting import Exporting, Known, opset_note
from autocompress.exported.folder_check import verify_folder
from autocompress.exported.hub import metadata
from autocompress.exported.verification import judge_folder
from autocompress.importance import no_preference
from autocompress.operators import OPERATORS, apply
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.tasks import HARD_TEXTS
from autocompress.teacher.teacher import Teacher, prepare_teacher
from tests.given_study import WORDS, write_data, write_model, write_study
from tests.model.hub_server import running_hub
from tests.report import given

TEXTS = ["we saw the oven and some soup", "THE team", "", "goal " * 40]
ASKED = FormChoice("written", "as the study asks", {"written": 1.0, "traced": 1.25})
OTHER = {"type": "Replace", "pattern": {"String": "the"}, "content": "goal"}
"""A normalizer that makes another text of almost every one."""


@dataclass(frozen=True, slots=True)
class Exported:
    folder: Path
    teacher: Teacher
    exporting: Exporting


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The uncompressed model of a small project."""
    return made_in(tmp_path_factory.mktemp("export"))


def made_in(place: Path, **changes: Any) -> Exported:
    """The uncompressed model of a small project, with these changes to its study, exported as a finalist is; under an
    umask that hides nothing."""
    write_data(place / "texts.csv", rows=120)
    write_model(place / "model", head=True)
    spec = config.load_study(write_study(place, teacher={"accept_poor": True}, **changes), operators=OPERATORS)
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda progress: None)
    exporting = Exporting(spec, teacher, config.load_device("xeon-2core"))
    policy, shape = CompressionPolicy(()), teacher.anatomy.shape()
    exporting.begin(place / "begun", policy, shape, teacher.anatomy, ASKED, GraphMaker("written"))
    found = [Measurement("latency_ms", 1.0, "ms", "measured"), Measurement("quality", 0.5, "accuracy", "measured")]
    weights = teacher.anatomy.model.state_dict()
    with umask(0o022):
        known = Known(tuple(found), tuple(found), "measured here")
        exporting.finish(place / "picked", place / "begun", policy, shape, weights, known, ASKED)
    return Exported(place / "picked", teacher, exporting)


@pytest.fixture
def folder(made: Exported, tmp_path: Path) -> Path:
    """A copy to be spoiled."""
    return Path(shutil.copytree(made.folder, tmp_path / "picked"))


ROOT = Path(__file__).parents[2]
MODULES = {"huggingface-hub": "huggingface_hub", "pillow": "PIL", "pyyaml": "yaml", "scikit-learn": "sklearn"}
"""Of packages that are imported by another name."""

LIGHT = """
import contextlib, io, json, sys
sys.modules.update(dict.fromkeys(sys.argv[1].split(",")))  # as if they were not installed
import autocompress
from autocompress.cli.entry import main

found = {}
for line in sys.argv[3:]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(line.split())
    found[line] = [code, out.getvalue() + err.getvalue()]
found["verified"] = autocompress.verify_folder(sys.argv[2], rounds=2, seconds=0.1).lines
found["load"] = [answer.label for answer in autocompress.load(sys.argv[2])(["we saw the oven", "THE team"])]
with autocompress.open_study("quickstart") as study:
    found["python"] = [len(study.to_pandas()), study.best.digest, study.pick().digest]
print(json.dumps(found))
"""


def test_a_light_installation_reads_studies_verifies_and_answers_and_asks_for_the_rest_by_name(
    folder: Path, tmp_path: Path
) -> None:
    """Without torch, transformers, Ray and Optuna: with no more than docs/light.md says is needed."""
    (line,) = re.findall(r"^pip install (alembic .*)$", (ROOT / "docs" / "light.md").read_text("utf-8"), re.MULTILINE)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]
    packages = {re.split(r"[^\w-]", one)[0].lower().replace("_", "-") for one in declared}
    assert set(line.split()) <= packages
    absent = sorted(MODULES.get(one, one) for one in packages - set(line.split()))
    assert {"torch", "transformers", "ray", "optuna"} <= set(absent)
    given.write_finished(tmp_path / "autocompress.db")
    lines = [
        "studies",
        "trials quickstart --parquet trials.parquet",
        "report quickstart --html front.html --csv front.csv",
        "compare quickstart 1 2",
        f"check {ROOT / 'studies' / 'quickstart.yaml'}",
        "run quickstart",
        "explain quickstart",
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LIGHT, ",".join(absent), str(folder), *lines]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    for one in lines[:-2]:
        assert found[one][0] == 0, (one, found[one])
    told = "\n".join(found["verified"])
    assert re.search(r"outputs: largest difference \S+ \(\d+ texts put in\)", told)
    assert "torch is not installed here: the model's torch form is not compared" in told
    refused = f"running a study needs {', '.join(WHOLE)}, which this light installation has not; `pip install"
    assert refused in found["run quickstart"][1]
    assert "`pip install autocompress` brings all that is needed" in found["explain quickstart"][1]
    assert found["run quickstart"][0] == HostError.exit_code
    assert found["load"] == [answer.label for answer in autocompress.load(folder)(["we saw the oven", "THE team"])]
    assert found["python"][1] == found["python"][2]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def rewritten(folder: Path, name: str, change: Any) -> None:
    """Changes a JSON file of an export, and tells the manifest."""
    tree = json.loads((folder / name).read_text())
    change(tree)
    (folder / name).write_text(json.dumps(tree))
    told(folder, name)


def told(folder: Path, name: str) -> None:
    """Tells the manifest of a changed file."""
    about = json.loads((folder / "manifest.json").read_text())
    about["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(about))


def test_quality_is_that_of_texts_put_into_the_folder(made: Exported) -> None:
    judged = judge_folder(made.folder, made.teacher.task, made.teacher.anatomy.shape())
    known = {one.metric: one.value for one in judged.measurements}
    classifier = autocompress.load(made.folder)
    for metric, split in (("quality", "validation"), ("test_quality", "test")):
        examples = made.teacher.task.examples(split)
        right = [
            answer.label == made.teacher.task.labels[label]
            for answer, label in zip(classifier(examples.texts), examples.labels, strict=True)
        ]
        assert known[metric] == pytest.approx(np.mean(right))


def test_a_folder_that_reads_texts_otherwise_than_training_did_is_not_judged(made: Exported, folder: Path) -> None:
    rewritten(folder, "tokenizer.json", lambda tree: tree.update(normalizer=OTHER))
    with pytest.raises(SpecError, match=r"reads '.+' as \[2, .+\], training as \[2, "):
        judge_folder(folder, made.teacher.task, made.teacher.anatomy.shape())


def test_verify_puts_texts_in_and_notices_another_tokenizer(folder: Path) -> None:
    report = verify_folder(folder, rounds=5)
    assert report.ok, report.problems
    assert report.texts == 12
    assert report.remarks == ()
    assert "12 texts put in" in "\n".join(report.lines)
    rewritten(folder, "tokenizer.json", lambda tree: tree.update(normalizer=OTHER))
    report = verify_folder(folder, rounds=5)
    assert not report.ok
    assert "are read as other tokens than when it was exported" in report.problems[0]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("check.json", "no JSON"),
        ("check.json", '{"tokens": [[2, 3]], "labels": [0], "logits": [["much"]]}'),
        ("policy.json", '{"steps": 3}'),
        ("weights.safetensors", "no tensors"),
    ],
)
def test_files_that_fit_their_digests_and_are_no_export_are_damage(folder: Path, name: str, content: str) -> None:
    (folder / name).write_text(content)
    told(folder, name)
    with pytest.raises(IntegrityError, match="damaged|hold something else than an export does"):
        verify_folder(folder, rounds=5)


def test_a_library_that_cannot_be_loaded_is_no_fault_of_the_folder(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for a user who may not read all of Python: torch makes a RuntimeError of it."""
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))  # without the export that others left there
    monkeypatch.setitem(sys.modules, "torch._functorch._aot_autograd.graph_compile", None)  # imported at each export
    with pytest.raises(HostError, match=r"a library cannot be loaded: .*graph_compile.*install .* again"):
        verify_folder(folder, rounds=5)


def test_what_hard_texts_were_read_as_travels_with_the_folder(made: Exported) -> None:
    _, readings = read_check(made.folder)
    assert list(readings) == list(dict.fromkeys(HARD_TEXTS))
    assert readings[""] == [2, 3]
    assert len(readings[HARD_TEXTS[-1]]) == made.exporting.spec.task.max_length


def test_a_folder_of_before_holds_no_texts_and_is_verified_all_the_same(folder: Path) -> None:
    def older(tree: dict[str, Any]) -> None:
        del tree["texts"], tree["readings"]

    rewritten(folder, "check.json", older)
    report = verify_folder(folder, rounds=5)
    assert report.ok, report.problems
    assert report.texts == 0
    assert "token ids put in" in "\n".join(report.lines)


def test_one_text_has_one_answer_and_none_has_none(made: Exported) -> None:
    classifier = autocompress.load(made.folder)
    one, many = classifier(TEXTS[0]), classifier(TEXTS)
    assert isinstance(one, Answer)
    assert one == many[0]
    assert one.label in WORDS
    assert len(many) == len(TEXTS)
    assert classifier([]) == []
    assert classifier.logits([]).shape == (0, 3)
    assert classifier.logits(TEXTS[0]).shape == (1, 3)
    assert classifier(iter(TEXTS)) == many
    nothing: Any = [TEXTS[0], float("nan")]
    with pytest.raises(SpecError, match="text 1: must be a str, got float 'nan'"):
        classifier(nothing)


@pytest.mark.expectation(26)
def test_the_example_the_loader_and_plain_onnx_runtime_answer_alike(made: Exported) -> None:
    import onnxruntime
    from tokenizers import Tokenizer

    plain = onnxruntime.InferenceSession(made.folder / "model.onnx")
    reader, answers = Tokenizer.from_file(str(made.folder / "tokenizer.json")), autocompress.load(made.folder)(TEXTS)
    example = [sys.executable, str(made.folder / "example.py"), *TEXTS]
    said = subprocess.run(example, capture_output=True, text=True, check=True, cwd="/").stdout.splitlines()
    for text, answer, line in zip(TEXTS, answers, said, strict=True):
        ids = np.array([reader.encode(text).ids])
        (logits,) = plain.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})
        assert list(answer.shares)[int(logits[0].argmax())] == answer.label
        assert line.split()[:2] == [answer.label, f"{answer.shares[answer.label]:.3f}"]


def test_what_users_add_to_a_folder_is_their_own(folder: Path) -> None:
    (folder / ".gitattributes").write_text("*.onnx filter=lfs\n")
    (folder / ".DS_Store").write_bytes(b"\0")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    card = folder / "README.md"
    card.write_text("---\nlicense: mit\n---\n" + card.read_text())
    assert autocompress.load(folder)("the goal").label in WORDS
    assert autocompress.load_torch(folder) is not None
    report = verify_folder(folder, rounds=5)
    assert report.ok
    assert report.remarks == (
        "added since, and of no account: .DS_Store, .git/HEAD, .gitattributes",
        "README.md was changed since; nothing is read from it",
    )


def test_the_torch_form_may_be_left_behind(folder: Path) -> None:
    (folder / "weights.safetensors").unlink()
    assert autocompress.load(folder)("the goal").label in WORDS
    with pytest.raises(NotFoundError, match=r"weights\.safetensors missing, removed or left behind; export the model"):
        autocompress.load_torch(folder)
    (folder / "config.json").unlink()
    (folder / "check.json").unlink()
    (folder / "example.py").unlink()
    report = verify_folder(folder, rounds=5)
    assert report.ok
    assert report.parity is report.speedup is report.agreement is None
    said = "\n".join(report.lines)
    assert "weights.safetensors was removed since: the torch form cannot be loaded" in said
    assert "check.json was removed since: no answer could be compared" in said
    assert json.dumps(report.to_json())


@pytest.mark.parametrize("name", ["model.onnx", "tokenizer.json", "policy.json"])
def test_what_answers_is_checked(name: str, folder: Path) -> None:
    with (folder / name).open("ab") as file:
        file.write(b" ")
    with pytest.raises(IntegrityError, match=rf"{name}: changed since it was exported"):
        autocompress.load(folder)
    (folder / name).unlink()
    with pytest.raises(NotFoundError, match=f"{name} missing, removed or left behind; export the model again"):
        autocompress.load(folder)


def test_an_export_that_never_had_a_tokenizer_says_so(folder: Path) -> None:
    about = json.loads((folder / "manifest.json").read_text())
    del about["files"]["tokenizer.json"]
    (folder / "manifest.json").write_text(json.dumps(about))
    (folder / "tokenizer.json").unlink()
    with pytest.raises(NotFoundError, match=r"tokenizer\.json missing, .+; the export never had tokenizer\.json"):
        autocompress.load(folder)


def test_a_manifest_names_no_files_outside_of_its_folder(folder: Path) -> None:
    about = json.loads((folder / "manifest.json").read_text())
    about["files"]["../secret"] = "0" * 64
    (folder / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(IntegrityError, match=r"names files outside of the folder: \['\.\./secret'\]"):
        verify_folder(str(folder))


def test_every_file_is_readable_alike(made: Exported) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.folder.iterdir()}
    assert set(modes.values()) == {0o644}, modes
    assert stat.S_IMODE(made.folder.stat().st_mode) == 0o755


def test_a_folder_of_links_is_loaded(made: Exported, tmp_path: Path) -> None:
    """As the cache of a hub is made."""
    (tmp_path / "snapshot").mkdir()
    for path in made.folder.iterdir():
        (tmp_path / "snapshot" / path.name).symlink_to(path)
    assert autocompress.load(tmp_path / "snapshot")("the goal").label in WORDS


def test_a_folder_answers_without_a_home(made: Exported) -> None:
    code = f"import autocompress; print(autocompress.load({str(made.folder)!r})('the goal').label)"
    bare = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=bare, check=True, cwd="/")
    assert done.stdout.strip() in WORDS


def test_transformers_reads_texts_alike_from_the_folder(made: Exported) -> None:
    from transformers import AutoTokenizer

    reader = AutoTokenizer.from_pretrained(str(made.folder))
    found = reader([*TEXTS, *HARD_TEXTS], truncation=True, max_length=16)["input_ids"]
    classifier = autocompress.load(made.folder)
    assert [ids.tolist() for ids in classifier.tokens([*TEXTS, *HARD_TEXTS])] == found


def test_an_example_without_its_libraries_says_in_one_line_what_to_install(made: Exported) -> None:
    blocked = (
        f"import runpy, sys; sys.modules['tokenizers'] = None; runpy.run_path({str(made.folder / 'example.py')!r})"
    )
    done = subprocess.run([sys.executable, "-c", blocked], capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert "tokenizers" in line
    assert line.endswith("pip install 'onnxruntime>=1.17' tokenizers numpy")


def test_a_folder_says_which_runtime_it_needs(made: Exported, folder: Path) -> None:
    about = json.loads((folder / "manifest.json").read_text())
    assert about["runtime"]["requires"] == "onnxruntime>=1.17"
    assert "pip install 'onnxruntime>=1.17' tokenizers numpy" in (folder / "README.md").read_text()
    about["runtime"]["requires"] = "onnxruntime>=99.1"
    (folder / "manifest.json").write_text(json.dumps(about))
    with pytest.raises(HostError, match=r"model\.onnx: needs onnxruntime>=99\.1, here is .+; pip install --upgrade"):
        autocompress.load(folder)
    example = (folder / "example.py").read_text().replace("onnxruntime>=1.17", "onnxruntime>=99.1")
    (folder / "example.py").write_text(example)
    done = subprocess.run([sys.executable, str(folder / "example.py")], capture_output=True, text=True)
    assert "is too old for model.onnx: pip install --upgrade 'onnxruntime>=99.1'" in done.stderr


def test_a_study_may_ask_for_an_older_opset(made: Exported, tmp_path: Path) -> None:
    import onnx

    older = replace(made.exporting, spec=replace(made.exporting.spec, export=ExportSpec(opset=17)))
    model = Anatomy(made.teacher.anatomy.model, FAMILIES)
    maker = GraphMaker("written", opset=17)
    older.begin(tmp_path / "begun", CompressionPolicy(()), model.shape(), model, ASKED, maker)
    assert onnx.load(tmp_path / "begun" / "model.onnx").opset_import[0].version == 17
    about = json.loads((tmp_path / "begun" / "manifest.json").read_text())
    assert about["runtime"]["requires"] == "onnxruntime>=1.12"
    known = autocompress.load(made.folder).logits(TEXTS)
    assert np.abs(autocompress.load(tmp_path / "begun").logits(TEXTS) - known).max() < 1e-4


def test_a_profile_that_chooses_a_newer_form_says_so(made: Exported) -> None:
    spec, shape = made.exporting.spec, made.teacher.anatomy.shape()
    profile, head_size = made.exporting.profile, shape.head_size
    assert opset_note(spec, profile, shape) == ""
    table = replace(
        profile.tables[0],
        hidden=shape.width,
        head_size=head_size,
        workload=spec.workload,
        lowering=Lowering(fp32=("attention_node",)),
    )
    newer = replace(profile, tables=(table,))
    said = opset_note(spec, newer, shape)
    assert "files are written in ONNX opset 23, which ONNX Runtime reads from 1.23 on" in said
    older = replace(spec, export=ExportSpec(opset=20))
    assert "which ONNX opset 20 does not have: predicted latencies" in opset_note(older, newer, shape)
    assert Exporting(older, made.teacher, newer).lowering(shape) == Lowering()


def test_batches_of_texts_are_judged_as_they_are_served(made: Exported, tmp_path: Path) -> None:
    """Padded texts of several lengths in one batch have the answers of each alone; the file is fp32."""
    other = replace(
        made.exporting, spec=replace(made.exporting.spec, workload=replace(made.exporting.spec.workload, batch=4))
    )
    model = Anatomy(made.teacher.anatomy.model, FAMILIES)
    other.begin(tmp_path / "begun", CompressionPolicy(()), model.shape(), model, ASKED, GraphMaker("written"))
    together, alone = autocompress.load(tmp_path / "begun"), autocompress.load(made.folder)
    assert np.abs(together.logits(TEXTS) - alone.logits(TEXTS)).max() < 1e-4
    assert [answer.label for answer in together(TEXTS)] == [answer.label for answer in alone(TEXTS)]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Step("low_rank", "layers.*", {"rank": 0.3}), "rank "),
        (Step("prune_weights", "layers.*", {"pattern": "2:4"}), "50 % zeros (2:4)"),
        (Step("keep_tokens", "layers.0.attention", {"share": 50}), "50 % of tokens kept behind layers.0"),
    ],
    ids=["two factors", "zeros", "kept tokens"],
)
def test_two_factors_or_zeros_or_kept_tokens_and_a_narrower_stream_are_in_the_file_and_in_the_torch_form(
    made: Exported, tmp_path: Path, step: Step, told: str
) -> None:
    steps = [step, Step("quantize", "layers.*", {"bits": 8})]
    layers = [layer.index for layer in made.teacher.anatomy.layers]
    in_layers = [
        replace(step, target=step.target.replace("*", f"{layer}"))
        for step in steps
        for layer in (layers if "*" in step.target else layers[:1])
    ]
    policy = CompressionPolicy((Step("prune_hidden", "*", {"hidden_size": 16}), *in_layers))
    student, importance = made.teacher.anatomy.copy(), no_preference(made.teacher.anatomy.shape())
    apply(policy, student, importance, before=Phase.PRECISION)
    weights = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
    apply(policy, student, importance, since=Phase.PRECISION)
    maker, shape = GraphMaker("written"), student.shape()
    made.exporting.begin(tmp_path / "begun", policy, shape, student, ASKED, maker)
    found = [Measurement("latency_ms", 1.0, "ms", "measured"), Measurement("quality", 0.5, "accuracy", "measured")]
    known = Known(tuple(found), tuple(found), "measured here")
    made.exporting.finish(tmp_path / "picked", tmp_path / "begun", policy, shape, weights, known, ASKED)
    model, torch_form = autocompress.load(tmp_path / "picked"), autocompress.load_torch(tmp_path / "picked")
    assert told in (tmp_path / "picked" / "README.md").read_text()
    for text in TEXTS[:2]:
        ids = torch.from_numpy(model.tokens([text])[0])[None]
        with torch.inference_mode():
            assert np.abs(torch_form(input_ids=ids).logits.numpy() - model.logits(text)).max() < 1e-4
    if step.operator == "keep_tokens":  # which no config can say, and no trace
        report = verify_folder(tmp_path / "picked", rounds=2, seconds=0.1)
        assert report.ok, report.problems
        assert "12 texts put in" in "\n".join(report.lines)


def test_a_pushed_folder_is_on_the_hub_without_rows_of_ones_data(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from huggingface_hub import ModelCard, constants

    with running_hub() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setenv("HF_TOKEN", "hf_reads")
        with pytest.raises(HostError, match=r"me/small: the hub refuses it .*hf auth login"):
            autocompress.push_to_hub(folder, "me/small")
        monkeypatch.setenv("HF_TOKEN", "hf_writes")
        listed = {one.name for one in folder.iterdir()}
        (folder / "notes.txt").write_text("mine")
        with (folder / "README.md").open("a") as card:
            card.write("\nMy licence.\n")
        assert autocompress.push_to_hub(folder, "me/small") == f"{hub.address}/me/small"
        assert hub.files["me/small"]["README.md"].endswith(b"My licence.\n")
        assert set(hub.files["me/small"]) == listed - {"check.json"}
        assert hub.files["me/small"]["model.onnx"] == (folder / "model.onnx").read_bytes()
        assert main(["push", str(folder), "me/open", "--public", "--texts"]) == 0
        assert capsys.readouterr().out.split() == [f"{hub.address}/me/open"]
        assert set(hub.files["me/open"]) == listed
        assert hub.private == {"me/small": True, "me/open": False}
        with pytest.raises(SpecError, match=r"'a/b/c': .*expected owner/name"):
            autocompress.push_to_hub(folder, "a/b/c")
        (folder / "model.onnx").write_bytes(b"")
        with pytest.raises(IntegrityError, match=r"model\.onnx"):
            autocompress.push_to_hub(folder, "me/small")
    told = ModelCard(hub.files["me/small"]["README.md"].decode()).data
    assert (told.pipeline_tag, told.license, told.base_model) == ("text-classification", None, None)
    assert {one.dataset_split for one in told.eval_results} >= {"validation"}


def test_a_card_tells_the_hub_what_was_measured_and_names_repositories_alone(folder: Path) -> None:
    from huggingface_hub import ModelCard

    manifest = read_manifest(folder)
    known = {"value": 0.9, "unit": "accuracy", "source": "measured", "interval": [0.85, 0.95]}
    commit = "0" * 40
    named = {"license": "other", "license_name": "ours"}
    about = {**manifest.provenance, "model": f"me/large@{commit}", "data": "/home/me/rows.csv", "licence": named}
    told = ModelCard(metadata(replace(manifest, metrics={"test_quality": known}, provenance=about), plain=True)).data
    assert (told.base_model, told.library_name, told.datasets) == ("me/large", "transformers", None)
    assert (told.license, told.license_name) == ("other", "ours")
    (result,) = told.eval_results
    assert (result.dataset_name, result.dataset_split, result.metric_value) == ("rows.csv", "test", 0.9)
    assert result.metric_name == "accuracy (95 % interval 0.85 to 0.95)"
