"""The main job on a user's own model and data: run, resume, read, pick, carry away, verify. Real throughout."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch

import autocompress
from autocompress import config
from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.assets import cache_folder
from autocompress.core.cores import usable_cores
from autocompress.core.cost import weight_bytes
from autocompress.core.outcome import RUNG_FINALIST, Evaluated, values
from autocompress.core.spec import Bound
from autocompress.core.stored_parts import parts_from_json
from autocompress.core.workload import Workload
from autocompress.deploy import measure
from autocompress.devices.profiles import device_profile, set_aside
from autocompress.errors import ExhaustedError, IntegrityError, Interrupted, NotFoundError, SpecError
from autocompress.exported.folder_check import verify_folder
from autocompress.importance import CRITERIA
from autocompress.operators import OPERATORS, elastic
from autocompress.report.json_forms import DOCUMENTS
from autocompress.report.notes import notes
from autocompress.report.prediction import PACE
from autocompress.report.ties import PAIRS_FACT
from autocompress.store import Finalist, Store
from autocompress.study.study import SilentObserver
from autocompress.tasks import TextClassification
from tests.commands import command
from tests.given_study import CUTS, WORDS, write_data, write_model, write_study, write_telling_model

pytestmark = pytest.mark.slow

OVERFLOWS = 1e30
"""A learning rate with which fp32 overflows in two steps; no study file may ask for it."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_data(folder / "texts.csv")
    write_model(folder / "model", head=False)
    return folder


@pytest.fixture(scope="module")
def storage(project: Path) -> str:
    return str(project / "autocompress.db")


@pytest.fixture(scope="module")
def study(project: Path, storage: str) -> Iterator[autocompress.Study]:
    """Run once, in this process; the tests below only read it."""
    with autocompress.run(write_study(project), storage=storage, workers=0) as done:
        yield done


def copied_database(project: Path, folder: Path) -> str:
    """Of the study above, without its files."""
    with (
        closing(sqlite3.connect(project / "autocompress.db")) as here,
        closing(sqlite3.connect(folder / "own.db")) as there,
    ):
        here.backup(there)
    return str(folder / "own.db")


def finalist(study: autocompress.Study, digest: str) -> Finalist:
    return next(one for one in study.store.finalists(study.name) if one.candidate.digest == digest)


def test_the_study_is_complete_and_sound(study: autocompress.Study) -> None:
    row, counts = study.row, study.store.counts(study.name)
    assert row.state == "complete"
    assert counts.evaluated == 14
    assert counts.verified + counts.rejected == 2
    assert study.store.check(study.name) == []
    assert study.records()[0].candidate.policy.is_baseline
    assert {"teacher", "elastic model", "search", "finalists", "verification"} <= set(row.facts["timings"])


def test_the_teacher_learned_the_task(study: autocompress.Study) -> None:
    quality = {m.metric: m for m in study.store.measurements(study.name, rung=RUNG_FINALIST)[0]}["quality"]
    assert quality.value > 0.9
    assert quality.unit == "accuracy"


@pytest.mark.expectation(25)
def test_what_is_offered_was_measured_on_the_exported_file(study: autocompress.Study) -> None:
    members = [member for member in study.pareto().to_json()["members"] if member["verified"]]
    assert members
    for member in members:
        metrics = member["metrics"]
        assert metrics["latency_ms"]["source"] == metrics["size_mb"]["source"] == "measured"
        assert metrics["latency_ms"]["n"] >= 15
        assert metrics["peak_memory_mib"]["source"] == ("measured" if sys.platform.startswith("linux") else "counted")
        assert metrics["peak_memory_mib"]["value"] > metrics["size_mb"]["value"] / 1.048576
        assert metrics["parity"]["value"] < 1e-4
        assert 0.2 < finalist(study, member["digest"]).provenance[PACE] < 5
        assert metrics["quality"]["interval"][0] <= metrics["quality"]["value"] <= metrics["quality"]["interval"][1]


def test_finalists_are_compared_with_each_other_text_by_text_and_round_by_round(study: autocompress.Study) -> None:
    a, b = (one for one in study.store.finalists(study.name) if one.candidate.number)
    pairs = study.row.facts[PAIRS_FACT]
    key = f"{min(a.candidate.number, b.candidate.number)}-{max(a.candidate.number, b.candidate.number)}"
    assert pairs.keys() == {"quality", "latency_ms"}
    first, second = (values(one.measurements) for one in sorted((a, b), key=lambda one: one.candidate.number))
    above, low, high = pairs["quality"][key]
    assert above == pytest.approx(first["quality"] - second["quality"])
    assert low <= above <= high
    longer, low, high = pairs["latency_ms"][key]
    assert low <= longer <= high
    assert longer == pytest.approx(first["latency_ms"] / second["latency_ms"] - 1, abs=0.3)


@pytest.mark.expectation(26)
def test_a_picked_model_answers_without_us(study: autocompress.Study, project: Path, tmp_path: Path) -> None:
    picked = study.pick(maximize="quality", out=tmp_path / "picked")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "picked" / "example.py"), "we saw the oven and some soup"],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    assert done.stdout.split()[0] in WORDS
    model = autocompress.load(tmp_path / "picked")
    answers = model(["we saw the oven and some soup", "the team and the goal"])
    assert answers[0].label == done.stdout.split()[0]
    assert sum(answers[1].shares.values()) == pytest.approx(1.0)
    assert model.policy.digest == picked.digest


def test_the_torch_form_computes_what_the_file_computes(study: autocompress.Study, tmp_path: Path) -> None:
    study.pick(knee=True, out=tmp_path / "picked")
    check = json.loads((tmp_path / "picked" / "check.json").read_text())
    model = autocompress.load_torch(tmp_path / "picked")
    for tokens, logits in list(zip(check["tokens"], check["logits"], strict=True))[:10]:
        ids = torch.tensor([tokens])
        with torch.inference_mode():
            found = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0].numpy()
        assert np.abs(found - np.array(logits)).max() < 0.05


@pytest.mark.expectation(25, 31)
def test_a_picked_folder_verifies_until_a_byte_is_flipped(
    study: autocompress.Study, project: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "picked"
    study.pick(knee=True, out=folder)
    report = autocompress.verify_folder(folder)
    assert report.ok
    assert report.agreement == 1.0
    assert report.parity < 0.05
    assert report.speedup == report.baseline_latency_ms / report.latency_ms
    assert command(project, "verify", str(folder)).returncode == 0
    content = bytearray((folder / "model.onnx").read_bytes())
    content[len(content) // 2] ^= 1
    (folder / "model.onnx").write_bytes(content)
    done = command(project, "verify", str(folder))
    assert done.returncode == IntegrityError.exit_code == 7
    assert "model.onnx: changed since it was exported" in done.stderr
    with pytest.raises(IntegrityError, match=r"model\.onnx: changed"):
        autocompress.load(folder)


def test_pick_on_the_command_line_prints_one_object(study: autocompress.Study, project: Path) -> None:
    done = command(project, "pick", "mine", "--max-quality-drop", "100%", "--minimize", "latency_ms", "--json")
    found = json.loads(done.stdout)
    assert {"digest", "policy", "verified", "metrics", "baseline", "relative", "why"} <= set(found)
    assert found["verified"] is True
    compared = found["relative"]
    assert {"speedup", "size_ratio"} <= set(compared)
    for drop in ("quality_drop", "test_quality_drop"):
        low, high = compared[f"{drop}_interval"]
        assert low <= compared[drop] <= high
    front = json.loads(command(project, "pareto", "mine", "--json").stdout)
    assert {"baseline", "members", "hypervolume", "counts"} <= set(front)


def test_picking_again_into_the_same_folder_is_no_mistake_and_into_another_is(
    study: autocompress.Study, tmp_path: Path
) -> None:
    folder, other = tmp_path / "picked", tmp_path / "other"
    study.pick(knee=True, out=folder)
    (folder / "notes.txt").write_text("mine")
    study.pick(knee=True, out=folder)
    assert (folder / "notes.txt").read_text() == "mine"
    other.mkdir()
    (other / "notes.txt").write_text("mine")
    with pytest.raises(SpecError, match="other"):
        study.pick(knee=True, out=other)
    assert [path.name for path in other.iterdir()] == ["notes.txt"]


def test_nothing_that_fits_is_an_error_that_names_the_nearest(study: autocompress.Study) -> None:
    with pytest.raises(NotFoundError, match="latency"):
        study.pick(max_latency_ms=1e-6)


def test_an_export_whose_stored_files_changed_is_refused(study: autocompress.Study, tmp_path: Path) -> None:
    digest = study.pick(knee=True).digest
    model = study.store.folder("mine") / digest / "model.onnx"
    before = model.read_bytes()
    try:
        model.write_bytes(before[:-1])
        with pytest.raises(IntegrityError, match="changed since it was exported"):
            study.export(digest, tmp_path / "out")
        assert not (tmp_path / "out").exists()
    finally:
        model.write_bytes(before)


def test_a_candidate_that_was_not_verified_is_not_exported(study: autocompress.Study, tmp_path: Path) -> None:
    finalists = {finalist.candidate.number for finalist in study.store.finalists("mine")}
    other = next(r for r in study.records() if r.candidate.number and r.candidate.number not in finalists)
    with pytest.raises(NotFoundError, match="was not verified; only verified finalists are exported"):
        study.export(other.candidate.digest, tmp_path / "out")


@pytest.mark.expectation(12)
def test_resuming_a_complete_study_does_nothing(study: autocompress.Study) -> None:
    before = len(study.records())
    study.resume(workers=0)
    assert len(study.records()) == before


@pytest.mark.expectation(31)
def test_a_candidate_of_the_search_is_judged_again_and_comes_out_as_it_is_stored(
    study: autocompress.Study, project: Path, tmp_path: Path
) -> None:
    records, facts = study.records(), study.row.facts
    found = study.reproduce(study.pick(maximize="quality").digest)
    assert (found.ok, found.remade) == (True, ())
    assert found.told == "Reproduced."
    assert {"quality", "latency_ms", "size_mb"} <= {one.metric for one in found.repeated if one.of == "searched"}
    assert {"quality", "test_quality", "size_mb"} <= {one.metric for one in found.repeated if one.of == "exported"}
    assert not [one for one in found.changed if not one.what.startswith("profile")], "the same machine and libraries"
    jsonschema.validate(found.to_json(), DOCUMENTS["reproduction"])
    assert (study.records(), study.row.facts) == (records, facts), "nothing is stored"

    copy = copied_database(project, tmp_path)
    with closing(sqlite3.connect(copy)) as there:
        there.execute("UPDATE measurements SET value = 0.01, low = 0.0, high = 0.02 WHERE metric = 'quality'")
        there.execute("UPDATE measurements SET value = value + 1 WHERE metric = 'parameters'")
        there.commit()
    done = command(project, "repro", "mine", "0", "--storage", copy)
    assert done.returncode == IntegrityError.exit_code == 7
    assert "Not reproduced: parameters and accuracy." in done.stdout
    assert "its exported file is no longer there, so only the search is reproduced" in " ".join(done.stdout.split())


@pytest.mark.expectation(13)
def test_a_taken_name_is_refused_and_a_changed_spec_shown(
    study: autocompress.Study, project: Path, storage: str
) -> None:
    with pytest.raises(SpecError, match="go on with `autocompress resume mine`"):
        autocompress.run(project / "mine.yaml", storage=storage, workers=0)
    other = project / "changed"
    other.mkdir(exist_ok=True)
    path = write_study(other, budget={"trials": 99}, model={"path": "../model"})
    with pytest.raises(SpecError, match=r"with `--fork mine` that one takes over(.|\n)*budget\.trials: 14 -> 99"):
        autocompress.run(path, storage=storage, workers=0)


def test_other_data_under_a_stored_study_is_refused(project: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    path = write_study(
        tmp_path,
        name="fragile",
        space={
            "name": "none",
            "version": 1,
            "steps": [{"operator": "quantize", "target": "layers.*", "knobs": {"bits": {"choices": [8]}}}],
        },
        constraints={"latency_ms": {"max": 1e-6}},
    )
    storage = str(tmp_path / "autocompress.db")
    with pytest.raises(SpecError, match=r"constraints\.latency_ms: <= 1e-06 cannot be met; this space reaches"):
        autocompress.run(path, storage=storage, workers=0)
    write_data(tmp_path / "texts.csv", rows=200)
    with pytest.raises(SpecError, match=r"begun with other inputs(.|\n)*data: "):
        autocompress.open_study("fragile", storage=storage).resume(workers=0)


def test_a_fine_tuned_checkpoint_is_taken_as_it_is(project: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    path = write_study(tmp_path, budget={"trials": 4}, finalists={"count": 1, "training": {"epochs": 1}})
    before = list(cache_folder().glob("teachers/*"))
    with autocompress.run(path, storage=str(tmp_path / "autocompress.db"), workers=0) as done:
        assert done.row.facts["task"]["labels"] == sorted(WORDS)
        assert list(cache_folder().glob("teachers/*")) == before, "nothing was trained"
        assert done.row.state == "complete"


def add_tokens(model: Path) -> None:
    """As somebody does who adds words to a tokenizer and forgets the model."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(model))
    tokenizer.add_tokens([str(number) for number in range(100)])
    tokenizer.save_pretrained(str(model))


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (lambda p: add_tokens(p / "model"), "the tokenizer writes token 129, but the model knows 30 only"),
        (lambda p: (p / "texts.csv").write_text("text,label\na,sports\nb,sports\n"), "at least two classes"),
        (lambda p: (p / "texts.csv").write_text("words,label\na,sports\nb,food\n"), "no text column 'text'"),
        (lambda p: (p / "texts.csv").write_text("text,label\na,sports\nb,cars\nc,food\n"), "no output for 'cars'"),
    ],
)
def test_bad_input_is_named_before_anything_is_run(break_it: Any, message: str, tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    path = write_study(tmp_path)
    break_it(tmp_path)
    done = command(tmp_path, "run", str(path), "--workers", "0")
    assert done.returncode in (SpecError.exit_code, NotFoundError.exit_code, IntegrityError.exit_code)
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_space_that_fits_no_part_of_the_model_is_refused(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    space = {
        "name": "deep",
        "version": 1,
        "steps": [{"operator": "prune_heads", "target": "layers.9.attention", "knobs": {"heads": {"choices": [1]}}}],
    }
    done = command(tmp_path, "run", str(write_study(tmp_path, space=space)), "--workers", "0")
    assert done.returncode == 2
    assert "fits no part of the model" in done.stderr


def test_a_study_may_search_nothing_but_how_to_distil(project: Path, tmp_path: Path) -> None:
    space = {
        "name": "lessons",
        "version": 1,
        "steps": [
            {"operator": "remove_layer", "target": "layers.1"},
            {
                "operator": "distill",
                "target": "*",
                "knobs": {
                    "temperature": {"low": 1.0, "high": 6.0},
                    "hidden": {"choices": [0.0, 1.0]},
                    "layer_map": {"choices": ["kept", "last"]},
                },
            },
        ],
    }
    budget = {"trials": 6, "recovery_steps": 2}
    asked = write_study(project, name="lessons", space=space, budget=budget, elastic={"steps": 0})
    with autocompress.run(asked, storage=str(tmp_path / "own.db"), workers=0) as done:
        assert done.row.state == "complete"
        judged = [record for record in done.records() if record.outcome is not None]
        assert len(judged) == 6
        assert all(isinstance(record.outcome, Evaluated) for record in judged)
        assert len({values(record.outcome.measurements)["quality"] for record in judged[1:]}) > 1, "they differ"
        (member, *_) = done.pareto().members
        assert [step.operator for step in member.policy.steps] == ["remove_layer", "distill"]


class Listener:
    """Keeps what a study says."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def stage(self, name: str, detail: str = "") -> None: ...

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: Any) -> None: ...

    def note(self, text: str) -> None:
        self.notes.append(text)


def distinct(ids: Any) -> set[int]:
    return set(ids.tolist())


def test_finalists_learn_from_unlabelled_texts_but_not_from_those_held_out(project: Path, tmp_path: Path) -> None:
    own = (project / "texts.csv").read_text().splitlines()[1:]
    generator = random.Random(1)
    words = [word for group in WORDS.values() for word in group]
    strange = [" ".join(generator.sample(words, 8)) for _ in range(30)]
    known = [line.rsplit(",", 1)[0] for line in own]
    more = project / "more.txt"
    more.write_text("\n".join([*strange, *known, "", *strange[:5], *(f"{text} indeed" for text in known)]))
    transfer = {"texts": {"source": {"path": "more.txt"}, "format": "lines"}}
    finalists = {"count": 1, "training": {"epochs": 1}, "transfer": transfer}
    asked = write_study(project, name="more", budget={"trials": 4}, elastic={"steps": 2}, finalists=finalists)
    database, listener = str(tmp_path / "own.db"), Listener()
    with autocompress.run(asked, storage=database, workers=0, observer=listener) as done:
        assert done.row.state == "complete"
        assert done.row.fingerprint["texts"] == hashlib.sha256(more.read_bytes()).hexdigest()
        (member,) = (f.candidate for f in done.store.finalists("more") if f.state == "verified" and f.candidate.number)
        card = (done.store.folder("more") / member.digest / "README.md").read_text()
        assert f"- unlabelled texts: {more}" in card
        assert "- form of the graph, as measured there: fp32 " in card
        task = TextClassification.load(done.spec.task, {"all": project / "texts.csv"}, project / "model")
        read = TextClassification.unlabelled(done.spec.task, more.read_text().splitlines(), project / "model")
    held_out = [distinct(ids) for split in ("validation", "test") for ids in task.examples(split).tokens]
    labelled = {tuple(ids) for ids in task.examples("train").tokens}
    kept = {
        tuple(ids)
        for ids in read.tokens
        if all(len(distinct(ids) & other) < 0.8 * len(distinct(ids) | other) for other in held_out)
    } - labelled
    assert 30 <= len(kept) < len(strange) + len(known), "some are new, and some too near to what is held out"
    assert "unlabelled texts: 510" in listener.notes
    assert f"lessons: 192 labelled texts, and {len(kept)} that the teacher labels" in listener.notes


def test_other_unlabelled_texts_under_a_stored_study_are_refused(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    transfer = {"texts": {"source": {"path": "more.csv"}, "format": "csv"}}
    asked = write_study(tmp_path, name="more", finalists={"transfer": transfer})
    storage = str(tmp_path / "own.db")
    with pytest.raises(NotFoundError, match=r"more\.csv: no such file"):
        autocompress.run(asked, storage=storage, workers=0)
    (tmp_path / "more.csv").write_text("txt\nwe saw more\n")
    with pytest.raises(SpecError, match=r"more\.csv: no text column 'text'; did you mean 'txt'"):
        autocompress.run(asked, storage=storage, workers=0)
    (tmp_path / "more.csv").write_text("text\nwe saw more\n")
    with pytest.raises(SpecError, match=r"begun with other inputs(.|\n)*texts: "):
        autocompress.open_study("more", storage=storage).resume(workers=0)


class StopsAt(SilentObserver):
    """Keeps what a study says, and stops it once at a note."""

    def __init__(self, words: str) -> None:
        self._words, self.notes = words, list[str]()

    def note(self, text: str) -> None:
        self.notes.append(text)
        if self._words and self._words in text:
            self._words = ""
            raise KeyboardInterrupt


@pytest.mark.expectation(13)
def test_a_study_goes_on_without_what_cannot_be_trained_and_says_why(
    study: autocompress.Study, project: Path, tmp_path: Path
) -> None:
    """Neither its elastic model nor any finalist: both diverge, as in two steps of this rate fp32 overflows. It is
    begun from the study above, which has another space, and interrupted before it takes anything over."""
    asked = write_study(
        project,
        name="diverging",
        space=CUTS,
        budget={"trials": 6},
        elastic={"steps": 6, "batch_size": 16},
        finalists={"count": 1, "training": {"epochs": 1, "batch_size": 16, "warmup": 0.0}},
    )
    spec = config.load_study(asked, operators=OPERATORS)
    spec = replace(
        spec,
        elastic=replace(spec.elastic, learning_rate=OVERFLOWS),
        finalists=replace(spec.finalists, training=replace(spec.finalists.training, learning_rate=OVERFLOWS)),
    )
    storage, observer = copied_database(project, tmp_path), StopsAt("slices of the teacher")
    with pytest.raises(Interrupted):
        autocompress.run(spec, storage=storage, workers=0, observer=observer, fork=study.name)
    assert "elastic model's loss became nan; lower `elastic.learning_rate`; the study goes on" in observer.notes[-1]
    with autocompress.open_study("diverging", storage=storage) as own:
        why = own.row.facts["no_elastic_model"]
        own.resume(workers=0, observer=observer)
        assert own.row.state == "complete"
        assert own.row.facts["no_elastic_model"] == why
        judged = [record.outcome for record in own.records() if record.outcome is not None]
        assert len([outcome for outcome in judged if isinstance(outcome, Evaluated)]) == 6
        (rejected,) = (one for one in own.store.finalists("diverging") if one.candidate.number)
        assert rejected.state == "rejected"
        assert "training failed: the training loss became nan; lower `learning_rate`" in rejected.reason
        assert [line for line in notes(own.pareto()) if line.startswith("There is no elastic model (the elastic mod")]
        fork, (baseline, *_) = own.row.facts["fork"], own.records()
        assert baseline.provenance["forked"] == {"from": "mine", "as": 0}, "it is that of the same teacher"
        assert len([note for note in observer.notes if note.startswith("from study 'mine': ")]) == 1
        asked = [one.parameters for one, _ in own.store.proposals("diverging") if "adopted" not in one.attributes]
        assert fork["taken"] + len(asked) == len(own.store.proposals("diverging"))
        assert all(given == point for given, point in zip(asked, fork["first"], strict=False))
        assert own.store.check("diverging") == []


def test_a_teacher_that_cannot_be_trained_is_named(project: Path, tmp_path: Path) -> None:
    asked = write_study(project, name="untaught", teacher={"epochs": 1, "batch_size": 16})
    spec = config.load_study(asked, operators=OPERATORS)
    spec = replace(spec, teacher=replace(spec.teacher, learning_rate=OVERFLOWS))
    with pytest.raises(SpecError, match="teacher: the training loss became nan; lower `learning_rate`"):
        autocompress.run(spec, storage=str(tmp_path / "own.db"), workers=0)


def test_a_search_without_time_for_a_candidate_asks_for_more(project: Path, tmp_path: Path) -> None:
    asked = write_study(project, name="hasty", budget={"trials": 9, "search_minutes": 1.0e-6}, elastic={"steps": 0})
    with pytest.raises(
        ExhaustedError, match=r"judged anything but the uncompressed model; .* `budget\.search_minutes`"
    ):
        autocompress.run(asked, storage=str(tmp_path / "own.db"), workers=0)


def test_settings_that_only_training_tells_apart_need_training(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    step = {"operator": "distill", "target": "*", "knobs": {"temperature": {"low": 1.0, "high": 6.0}}}
    done = command(
        tmp_path, "check", str(write_study(tmp_path, space={"name": "lessons", "version": 1, "steps": [step]}))
    )
    assert done.returncode == 2
    assert "budget.recovery_steps: the space 'lessons' searches settings of 'distill'" in done.stdout
    assert "set `recovery_steps`, for example to 60" in done.stdout


@pytest.mark.expectation(12)
@pytest.mark.ray
def test_killed_with_real_ray_workers_and_resumed_it_ends_complete(project: Path, tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    finalists = {"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}}
    write_study(tmp_path, elastic={"steps": 8, "batch_size": 16, "learning_rate": 1.0e-3}, finalists=finalists)
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    running = subprocess.Popen(
        [sys.executable, "-m", "autocompress.cli", "run", "mine.yaml", "--workers", "2"],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    database, deadline = str(tmp_path / "autocompress.db"), time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.2)
        try:
            with autocompress.open_study("mine", storage=database) as seen:
                if seen.store.counts("mine").evaluated >= 3:
                    break
        except NotFoundError:
            continue
    assert running.poll() is None, "it ended before it could be killed"
    running.send_signal(signal.SIGKILL)
    running.wait()
    resume = [sys.executable, "-m", "autocompress.cli", "resume", "mine", "--workers", "1"]
    done = subprocess.run(resume, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with autocompress.open_study("mine", storage=database) as study:
        counts = study.store.counts("mine")
        assert (counts.evaluated, counts.running, counts.pending) == (14, 0, 0)
        assert counts.verified >= 1
        assert study.store.check("mine") == []
    files = [one for one in (tmp_path / "autocompress-artifacts").rglob("*") if one.is_file()]
    assert files
    pickled = [one for one in files if one.suffix == ".pkl" or one.read_bytes()[:1] == b"\x80"]
    assert pickled == [], "what Ray Tune writes of its own lies in a folder that is gone"


class Impatient(SilentObserver):
    """Stops the study at the note of further finalists."""

    def note(self, text: str) -> None:
        if "more are trained" in text:
            raise KeyboardInterrupt


@pytest.mark.long
def test_where_the_search_ranked_badly_more_finalists_are_trained_after_an_interruption_too(tmp_path: Path) -> None:
    """Everybody answers everything, before training and after it: there is no order to be trusted."""
    write_data(tmp_path / "texts.csv")
    write_telling_model(tmp_path / "model")
    asked = write_study(
        tmp_path,
        name="ranked",
        space={**CUTS, "steps": [{**CUTS["steps"][0], "target": "layers.0"}, *CUTS["steps"][1:]]},
        objectives={"quality": "maximize", "size_mb": "minimize", "macs": "minimize"},
        elastic={"steps": 0},
        finalists={
            "count": 4,
            "more": 2,
            "trusted": 1.0,
            "training": {"epochs": 1, "batch_size": 16, "learning_rate": 1.0e-6},
        },
    )
    storage = str(tmp_path / "own.db")
    with pytest.raises(Interrupted):
        autocompress.run(asked, storage=storage, workers=0, observer=Impatient())
    with autocompress.open_study("ranked", storage=storage) as study:
        assert study.row.state == "interrupted"
        decided = study.row.facts["trust"]
        first = [finalist.candidate.number for finalist in study.store.finalists("ranked")]
        assert (decided["n"], len(first), len(decided["promoted"])) == (4, 4, 2)
        assert (decided["gain"], decided["tau"]) == (0.0, None)
        study.resume(workers=0, observer=Impatient())
        assert study.row.state == "complete"
        assert study.row.facts["trust"] == decided, "it is asked once"
        finalists = study.store.finalists("ranked")
        assert [finalist.candidate.number for finalist in finalists] == [0, *first, *decided["promoted"]]
        assert all(finalist.state != "nominated" for finalist in finalists)
        report = study.pareto()
        assert report.to_json()["promotion"] == decided
        assert [line for line in notes(report) if "ranked the first 4 finalists badly" in line]
        assert study.store.check("ranked") == []


def test_the_importance_it_used_is_stored_with_the_study(study: autocompress.Study) -> None:
    stored = study.row.facts["importance"]
    assert {"fisher", "magnitude"} <= set(stored["heads"])
    assert [len(row) for row in stored["heads"]["fisher"]] == [4, 4]
    assert [len(stored["layers"][name]) for name in ("fisher", "taylor")] == [2, 2]


@pytest.mark.expectation(23)
def test_a_study_explains_what_matters_and_what_a_member_kept(study: autocompress.Study, tmp_path: Path) -> None:
    found = study.explain(out=tmp_path)
    assert found.member == study.pick().digest
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attention.png", "importance.png", "parts.png"]
    tree = found.to_json()
    model = autocompress.load_torch(study.store.folder(study.name) / found.member)
    shape = Anatomy(model, FAMILIES).shape()
    kept = {part.layer: part.mixing.heads for part in shape.blocks() if part.mixing}
    assert {int(layer): len(heads) for layer, heads in tree["importance"]["kept_heads"].items()} == kept
    assert [row["layer"] for row in tree["attention"]["layers"]] == list(kept)
    assert set(tree["importance"]["heads"]) == set(CRITERIA), "also those that the search did without"
    assert tree["importance"]["used"] == ["fisher", "magnitude"]
    parts = {row["part"]: row for row in tree["parts"]["parts"]}
    blocks = [f"layer {layer} {block}" for layer in kept for block in ("attention", "feed-forward")]
    assert list(parts) == ["embeddings", *blocks, "classifier", "normalisation", "runtime"]
    assert all(parts[block]["measured_ms"] > 0 and parts[block]["times_the_ceiling"] > 0 for block in blocks)
    measured = {one.metric: one.value for one in finalist(study, found.member).measurements}
    assert tree["parts"]["whole"]["macs"] == measured["macs"]
    assert tree["parts"]["workload"] == {"batch": 1, "length": 16, "threads": 1}
    whole = parts_from_json(study.row.facts["shape"])
    assert whole is not None
    taken = sum(step["taken"]["bytes"] for step in tree["steps"]["steps"])
    graph = 1e6 * measured["size_mb"] - weight_bytes(whole) - taken
    assert 0 < graph < 30_000 < -taken, "the exported file holds what steps have left, and its graph"


@pytest.mark.long
def test_explain_on_the_command_line_takes_a_member_and_a_sentence(study: autocompress.Study, project: Path) -> None:
    digest = study.pick().digest
    text = "we saw the oven and some soup"
    done = command(project, "explain", "mine", digest[:8], "--text", text, "--out", "why")
    assert done.returncode == 0, done.stderr
    assert f"mine  {digest[:8]}: " in done.stdout
    assert f"“{text}”" in done.stdout
    assert "wrote why/importance.png\nwrote why/attention.png\nwrote why/parts.png" in done.stderr
    assert "× the machine's ceiling for its work" in done.stdout
    done = command(project, "explain", "mine", "--text", " ".join([text] * 9), "--json")
    tree = json.loads(done.stdout)
    assert len(tree["attention"]["tokens"]) == 16, "what the model reads of a text"
    assert tree["attention"]["tokens"][-1] == "[SEP]"
    assert "the text is cut at 16 of its 65 tokens, as maps are read by eye" in tree["notes"]
    assert tree["parts"]["whole"]["times_the_ceiling"] > 0
    assert not (project / "mine-explained").exists()


def test_a_study_of_another_device_is_explained_without_the_time_of_parts(
    study: autocompress.Study, tmp_path: Path
) -> None:
    device = study.row.facts["device"]
    there = {**device, "name": "board", "fingerprint": {**device["fingerprint"], "cpu": "Cortex-A72"}}
    try:
        with study.store.lease(study.name) as lease:
            study.store.set_fact(lease, "device", there)
        found = study.explain(out=tmp_path)
    finally:
        with study.store.lease(study.name) as lease:
            study.store.set_fact(lease, "device", device)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["attention.png", "importance.png"]
    assert "parts" not in found.to_json()
    (note,) = (note for note in found.notes if "'board' is not this machine" in note)
    assert "can be measured on the device alone" in note


def test_only_verified_members_are_explained(study: autocompress.Study) -> None:
    finalists = {finalist.candidate.number for finalist in study.store.finalists("mine")}
    other = next(r for r in study.records() if r.candidate.number and r.candidate.number not in finalists)
    with pytest.raises(NotFoundError, match="is not trained and verified; an explanation compares a verified finalist"):
        study.explain(other.candidate.digest)
    with pytest.raises(NotFoundError, match="is the uncompressed model"):
        study.explain(0)
    with pytest.raises(SpecError, match="--text: '  ' holds no word"):
        study.explain(text="  ")


@pytest.mark.long
def test_a_teacher_that_is_gone_is_trained_again_only_when_asked(
    study: autocompress.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = study.explain().to_json()
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))
    with pytest.raises(NotFoundError, match="is not in the cache.*autocompress explain mine --train-teacher"):
        study.explain()
    after = study.explain(train_teacher=True).to_json()
    assert after["importance"]["kept_heads"] == before["importance"]["kept_heads"]
    cut = next(one for one in study.records() if elastic(one.candidate.policy.steps))
    found = study.reproduce(cut.candidate.number)
    assert (found.ok, found.remade) == (True, ("elastic model",)), "the teacher was trained just before"


def test_a_study_without_a_member_is_explained_by_its_teacher_alone(study: autocompress.Study, tmp_path: Path) -> None:
    row = study.row
    with Store.open(str(tmp_path / "new.db")) as store:
        store.create_study(
            "mine", given=row.given, resolved=row.resolved, fingerprint=row.fingerprint, objectives=row.objectives
        )
        found = autocompress.Study(store, "mine").explain(out=tmp_path / "why")
    assert [path.name for path in (tmp_path / "why").iterdir()] == ["importance.png"]
    assert found.to_json()["importance"]["kept_heads"] is None
    assert "has no verified finalist yet" in found.notes[0]
    assert "autocompress resume mine" in found.notes[0]


ELSEWHERE = """
name: tiny-board
version: 1
source: datasheet
description: a board that is not here
fingerprint: {}
runtime: {name: onnxruntime, version: any}
measured_on: '2026-01-01'
cost: {gmacs_fp32: 2.0, gbytes_per_second: 4.0, spread: 0.5, threads: 4, ms_per_layer: 0.2, ms_base: 0.1}
energy: {idle_watts: 2.0, active_watts: 6.0, cores: 4, pj_per_mac_fp32: 4.6, pj_per_mac_int8: 0.3, pj_per_byte: 160.0,
  source: a test, spread: 0.5}
"""


@pytest.mark.expectation(31)
def test_a_study_is_retargeted_without_a_new_evaluation(study: autocompress.Study, tmp_path: Path) -> None:
    board = tmp_path / "tiny-board.yaml"
    board.write_text(ELSEWHERE)
    there = study.retarget(str(board))
    assert there.name == f"{study.name}-tiny-board"
    points = {digest: one.parameters for one, digest in study.store.proposals(study.name)}
    moved_points = {digest: one.parameters for one, digest in there.store.proposals(there.name) if one.parameters}
    assert moved_points.items() <= points.items(), "so that its search can go on from them"
    assert len(moved_points) >= len(there.records()) - 1, "all but the uncompressed model"
    here = {r.candidate.digest: values(r.outcome.measurements) for r in study.records() if fits(r)}
    moved = {r.candidate.digest: r.outcome.measurements for r in there.records() if fits(r)}
    assert moved.keys() == here.keys()
    for digest, found in moved.items():
        assert values(found)["quality"] == here[digest]["quality"]
        assert values(found)["latency_ms"] != here[digest]["latency_ms"]
        sources = {one.metric: one.source for one in found}
        assert (sources["latency_ms"], sources["energy_mj"]) == ("predicted", "modelled")
    assert there.row.facts["retargeted"]["new_evaluations"] == 0
    assert there.spec.workload.threads == 4
    assert there.store.check(there.name) == []
    with pytest.raises(SpecError, match="exists already"):
        study.retarget(str(board))
    there.store.delete_study(there.name)


@pytest.mark.long
def test_a_profile_that_was_wrong_is_measured_anew_when_it_is_asked_for(
    study: autocompress.Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shape, all_tests = parts_from_json(study.row.facts["shape"]), cache_folder() / "profiles"
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path))  # a busy machine sets that of all tests aside by itself
    folder = cache_folder() / "profiles"
    if all_tests.is_dir():
        shutil.copytree(all_tests, folder, ignore=shutil.ignore_patterns("*.wrong"))
    assert shape is not None
    device_profile(study.spec, shape, progress=lambda _, __: None)
    before = set(folder.glob("*.yaml"))
    assert set_aside(study.spec, shape)
    assert not set_aside(study.spec, shape), "it is gone"
    (wrong,) = before - set(folder.glob("*.yaml"))
    anew = study.retarget("host", name="anew")
    assert anew.spec.device == "host"
    assert anew.row.facts["device"]["here"]
    assert wrong.exists(), "measured anew"
    assert wrong.with_suffix(".wrong").exists(), "kept for whoever wants to know"
    assert not set_aside(replace(study.spec, device="board"), shape), "another device's is not ours to take away"


@pytest.mark.long
def test_a_study_of_throughput_serves_batches_of_real_lengths(project: Path, tmp_path: Path) -> None:
    """Searched by a prediction, measured in batches as long as the texts are, and so wherever the model goes."""
    objectives = {"quality": "maximize", "throughput": "maximize"}
    path = write_study(
        project,
        name="bulk",
        workload={"batch": 4, "length": 16, "threads": "all", "lengths": "real"},
        objectives=objectives,
        budget={"trials": 6},
        finalists={"count": 1, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    )
    with autocompress.run(path, storage=str(tmp_path / "a.db"), workers=0) as study:
        load = Workload.of(study.row.facts["workload"])
        assert (load.batch, load.threads, load.lengths, len(load.tokens)) == (4, usable_cores(), "real", 8)
        assert max(load.tokens) <= 16
        tree = study.pareto().to_json()
        for found in (tree["baseline"], *(member for member in tree["members"] if member["verified"])):
            known = found["metrics"]
            assert known["throughput"]["source"] == known["latency_ms"]["source"] == "measured"
            assert known["throughput"]["value"] == pytest.approx(4e3 / known["latency_ms"]["value"])
        picked = study.pick(maximize="throughput", min_throughput=1, out=tmp_path / "picked")
        assert "It has the highest throughput" in picked.why
        assert "batch 4, real lengths" in (tmp_path / "picked" / "README.md").read_text()
        assert verify_folder(tmp_path / "picked", rounds=5).ok
        answers = autocompress.load(tmp_path / "picked")(["we saw the oven", "the team and the goal and then", "hotel"])
        assert len(answers) == 3
        document = measure.measure(study.bundle(tmp_path / "bundle"), rounds=5)
        assert document["workload"] == load.to_json()
        (tmp_path / "there.json").write_text(json.dumps(document))
        assert len(study.import_measurements(tmp_path / "there.json").changes) == 2
        board = tmp_path / "tiny-board.yaml"
        board.write_text(ELSEWHERE)
        there = study.retarget(str(board))
        assert replace(load, threads=4) == there.spec.workload
        priced = there.records()[1].outcome
        assert isinstance(priced, Evaluated)
        assert {one.source for one in priced.measurements if one.metric == "throughput"} == {"predicted"}


def test_texts_longer_than_a_model_has_positions_for_are_refused(project: Path, tmp_path: Path) -> None:
    path = write_study(
        project,
        name="long",
        task={"max_length": 64, "data": {"source": {"path": "texts.csv"}, "format": "csv"}},
        workload={"length": 64},
    )
    with pytest.raises(SpecError, match=r"task.max_length: must be <= 32, the positions that .*model has, got 64"):
        autocompress.run(path, storage=str(tmp_path / "a.db"), workers=0)


def test_a_retargeted_study_keeps_to_its_own_bounds(study: autocompress.Study, tmp_path: Path) -> None:
    board = tmp_path / "tiny-board.yaml"
    board.write_text(ELSEWHERE)
    cheapest = min(values(r.outcome.measurements)["size_mb"] for r in study.records() if fits(r))
    with pytest.raises(SpecError, match="no candidate of .* fits size_mb"):
        study.retarget(str(board), constraints={"size_mb": Bound(max=cheapest / 2)})
    with pytest.raises(NotFoundError, match="tiny-bord"):
        study.retarget("tiny-bord")


def fits(record: Any) -> bool:
    return isinstance(record.outcome, Evaluated)
