from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocompress.config import (
    changes_since,
    check_file,
    diff_specs,
    in_todays_words,
    json_schema,
    load_space,
    load_study,
    locate,
    named,
    spec_to_json,
    study_from_json,
)
from autocompress.core.cores import usable_cores
from autocompress.core.ports import Operator
from autocompress.core.space import Choice, Integer, Real, Share
from autocompress.core.spec import Bound
from autocompress.errors import NotFoundError, SpecError

FORMATS = "arrow, conll, csv, json, jsonl, lines, parquet, tsv"
Operators = Mapping[str, Operator]

SPACE = """\
name: s
version: 1
steps:
  - operator: prune_heads
    target: layers.*.attention
    knobs:
      heads: {choices: [25%, 50%, 12]}
  - operator: quantize
    target: embeddings
    settings: {bits: 8}
"""

STUDY = """\
name: mine
version: 1
model: {path: model}
task:
  data:
    source: {path: ../data.csv}
    format: csv
space: space.yaml
device: host
objectives: {quality: maximize, latency_ms: minimize}
budget:
  trials: 10
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current directory that holds a study and its space."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "studies"
    folder.mkdir()
    (folder / "mine.yaml").write_text(STUDY)
    (folder / "space.yaml").write_text(SPACE)
    return folder


def problems_of(folder: Path, operators: Operators, **changes: Any) -> list[str]:
    """What is wrong with the study after some of its top-level values changed; None removes one."""
    tree = {key: value for key, value in (yaml.safe_load(STUDY) | changes).items() if value is not None}
    (folder / "changed.yaml").write_text(yaml.safe_dump(tree))
    found = check_file(folder / "changed.yaml", operators=operators)
    return [problem.split(": ", 1)[1] for problem in found]


def space_problems(folder: Path, operators: Operators, *steps: dict[str, Any]) -> list[str]:
    found = problems_of(folder, operators, space={"name": "s", "version": 1, "steps": list(steps)})
    return [problem.removeprefix("space.") for problem in found]


@pytest.mark.parametrize("name", sorted(named("space")))
def test_every_shipped_space_is_in_order(name: str, operators: Operators) -> None:
    assert load_space(name, operators=operators).name == name


@pytest.mark.parametrize("name", ["quickstart", "movie-reviews", "sms-spam", "throughput"])
def test_every_shipped_study_is_in_order_and_survives_being_stored(name: str, operators: Operators) -> None:
    spec = load_study(name, operators=operators)
    assert spec.name == name
    assert study_from_json(json.loads(json.dumps(spec_to_json(spec))), operators=operators) == spec


def test_paths_in_a_study_are_relative_to_the_study(folder: Path, operators: Operators) -> None:
    spec = load_study("mine", operators=operators)
    assert spec.model.path == str(folder / "model")
    assert spec.task.data.source.path == str(folder.parent / "data.csv")
    assert spec.space.name == "s"
    assert load_study(Path("studies/mine.yaml"), operators=operators) == spec


def test_texts_may_have_a_file_for_each_split_however_it_is_written(folder: Path, operators: Operators) -> None:
    def parts(data: str) -> dict[str, tuple[str | None, str | None]]:
        study = STUDY.replace("    source: {path: ../data.csv}\n    format: csv\n", data)
        (folder / "parts.yaml").write_text(study)
        spec = load_study("parts", operators=operators)
        assert study_from_json(json.loads(json.dumps(spec_to_json(spec))), operators=operators) == spec
        return {name: (part.source.path, part.text) for name, part in spec.task.data.parts.items()}

    here = str(folder.parent)
    assert parts("    train: ../a.csv\n    test: {source: ../b.tsv, text: body}\n") == {
        "train": (f"{here}/a.csv", None),
        "test": (f"{here}/b.tsv", "body"),
    }
    assert parts("    source: ../a\n    validation: {path: ../b.parquet}\n") == {
        "train": (f"{here}/a", None),
        "validation": (f"{here}/b.parquet", None),
    }
    assert parts("    source: ../a\n") == {"all": (f"{here}/a", None)}


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        ({}, "task.data: names no texts: give `source`"),
        ({"test": "b.csv"}, "task.data: `train` is missing: there are texts to judge by and none to learn from"),
        ({"source": "a.csv", "train": "b.csv"}, "task.data.train: and `source` are the same beside"),
        ({"train": {"source": "a.csv", "txt": "b"}}, "task.data.train.txt: unknown key; did you mean 'text'?"),
        ({"source": "a.csv", "delimiter": ", "}, "task.data.delimiter: must be one character"),
        ({"source": {"kept": "x"}}, "task.data.source.kept: is written by autocompress alone"),
    ],
)
def test_texts_that_are_given_badly_are_told(
    folder: Path, operators: Operators, data: dict[str, Any], problem: str
) -> None:
    [found] = problems_of(folder, operators, task={"data": data})
    assert found.startswith(problem)


def test_a_study_whose_texts_come_from_python_names_none(folder: Path, operators: Operators) -> None:
    (folder / "none.yaml").write_text(
        STUDY.replace("    source: {path: ../data.csv}\n    format: csv\n", "    text: t\n")
    )
    assert load_study("none", operators=operators, data_given=True).task.data.sources == {}
    assert load_study("mine", operators=operators, data_given=True).task.data.sources == {}
    with pytest.raises(SpecError, match=r"none.yaml:5: task.data: names no texts"):
        load_study("none", operators=operators)


CORES = usable_cores()


def test_all_threads_are_those_of_the_device(folder: Path, operators: Operators) -> None:
    def threads(device: str) -> int:
        (folder / "many.yaml").write_text(
            STUDY.replace("device: host", f"device: {device}") + "workload: {batch: 8, threads: all, lengths: real}\n"
        )
        return load_study("many", operators=operators).workload.threads

    assert threads("host") == CORES
    assert threads("raspberry-pi-4") == 4, "the number that it is described for"
    assert threads("xeon-2core") == 2, "the cores that it was measured with"
    far = (Path(locate("device", "xeon-2core")).read_text()).replace("  cores: '2'\n", "")
    (folder / "far.yaml").write_text(far)
    with pytest.raises(SpecError, match="workload.threads: device 'xeon-2core' does not say how many cores it has"):
        threads("far.yaml")


def test_unlabelled_texts_are_found_and_kept_like_the_data(folder: Path, operators: Operators) -> None:
    (folder / "with-texts.yaml").write_text(
        STUDY + "finalists: {transfer: {recombined: 2, texts: {source: {path: ../more.txt}, format: lines}}}\n"
    )
    spec = load_study("with-texts", operators=operators)
    assert {name: source.path for name, source in spec.sources.items()} == {
        "model": str(folder / "model"),
        "data": str(folder.parent / "data.csv"),
        "texts": str(folder.parent / "more.txt"),
    }
    assert study_from_json(json.loads(json.dumps(spec_to_json(spec))), operators=operators) == spec
    assert set(load_study("mine", operators=operators).sources) == {"model", "data"}


def test_every_mistake_in_what_finalists_learn_from_is_told_with_its_line(folder: Path, operators: Operators) -> None:
    (folder / "mine.yaml").write_text(
        STUDY + "finalists:\n"
        "  transfer:\n"
        "    copies: -1\n"
        "    recombined: 101\n"
        "    texts:\n"
        "      source: {pth: more.txt}\n"
        "      format: txt\n"
        "      label: kind\n"
        "      most: 0\n"
    )
    assert check_file(folder / "mine.yaml", operators=operators) == [
        f"{folder}/mine.yaml:15: finalists.transfer.copies: `0 <= copies <= 100` must hold, got -1",
        f"{folder}/mine.yaml:16: finalists.transfer.recombined: `0 <= recombined <= 100` must hold, got 101",
        f"{folder}/mine.yaml:18: finalists.transfer.texts.source.pth: unknown key; "
        "did you mean 'path'? (allowed: hub, member, path, revision, sha256, wheel)",
        f"{folder}/mine.yaml:19: finalists.transfer.texts.format: got 'txt'; allowed: {FORMATS}",
        f"{folder}/mine.yaml:20: finalists.transfer.texts.label: unknown key; "
        "allowed: columns, delimiter, encoding, format, most, pattern, quoted, source, text",
        f"{folder}/mine.yaml:21: finalists.transfer.texts.most: must be >= 1, got 0",
    ]


LINES = {"source": {"path": "more.txt"}, "format": "lines"}


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (5, "finalists.transfer.texts: must be a mapping (lines of `key: value`), got 5"),
        ({"format": "lines"}, "finalists.transfer.texts.source: is missing"),
        ({**LINES, "source": {}}, "finalists.transfer.texts.source: give exactly one of path, hub, wheel; got none"),
        ({**LINES, "format": "csv", "pattern": "(?P<text>.*)"}, "finalists.transfer.texts.pattern: "),
        ({**LINES, "pattern": "("}, "finalists.transfer.texts.pattern: is no regular expression: "),
        ({**LINES, "pattern": "(.*)"}, "finalists.transfer.texts.pattern: must name the group (?P<text>...)"),
        ({**LINES, "most": "many"}, "finalists.transfer.texts.most: must be a whole number, got 'many'"),
    ],
)
def test_a_mistake_in_unlabelled_texts_is_told_in_plain_words(
    folder: Path, operators: Operators, texts: Any, problem: str
) -> None:
    (found,) = problems_of(folder, operators, finalists={"transfer": {"texts": texts}})
    assert found.startswith(problem)


def test_a_device_profile_by_path_becomes_absolute(folder: Path, operators: Operators) -> None:
    (folder / "box.yaml").write_text(Path(locate("device", "raspberry-pi-4")).read_text())
    (folder / "with-device.yaml").write_text(STUDY.replace("device: host", "device: box.yaml"))
    assert load_study("with-device", operators=operators).device == str(folder / "box.yaml")


def test_a_file_of_ones_own_wins_over_a_shipped_name(folder: Path) -> None:
    own = folder.parent / "search_spaces" / "bert-small.yaml"
    own.parent.mkdir()
    own.write_text(SPACE)
    assert named("space")["bert-small"] == own
    assert load_space("bert-small").name == "s"
    assert "prune-only" in named("space")


def test_files_in_deeper_folders_are_named_with_them(folder: Path) -> None:
    (folder / "benchmarks").mkdir()
    (folder / "benchmarks" / "pareto.yaml").write_text(STUDY)
    assert locate("study", "benchmarks/pareto") == Path("studies/benchmarks/pareto.yaml")


@pytest.mark.expectation(4)
def test_what_cannot_be_found_gets_the_nearest_name(folder: Path, operators: Operators) -> None:
    with pytest.raises(NotFoundError, match="no study is called 'quickstrat'; did you mean 'quickstart'"):
        load_study("quickstrat", operators=operators)
    with pytest.raises(NotFoundError, match=r"absent\.yaml: no such file"):
        load_space("absent.yaml")
    with pytest.raises(NotFoundError, match=r"absent\.yaml: no such file"):
        check_file(folder / "absent.yaml", operators=operators)


def test_knobs_are_read_by_their_keys(folder: Path) -> None:
    (folder / "knobs.yaml").write_text(
        "name: s\nversion: 1\nsteps:\n"
        "  - operator: o\n    target: '*'\n    knobs:\n"
        "      a: {choices: [50%, 12.5 %, 3, true, fisher, 0.5]}\n"
        "      b: {low: 64, high: 1536, step: 64}\n"
        "      c: {low: 1e-3, high: 1, log: true}\n"
        "      d: {low: 1, high: 2.5}\n"
    )
    assert load_space(folder / "knobs.yaml").steps[0].knobs == {
        "a": Choice((Share(0.5), Share(0.125), 3, True, "fisher", 0.5)),
        "b": Integer(64, 1536, 64),
        "c": Real(1e-3, 1.0, log=True),
        "d": Real(1.0, 2.5),
    }


@pytest.mark.expectation(4)
def test_all_mistakes_are_told_at_once_with_line_and_path(folder: Path, operators: Operators) -> None:
    (folder / "mine.yaml").write_text(
        "name: mine\nversion: '1'\nmodel: {path: m, pth: m}\n"
        "task: {data: {source: {path: d}, format: cvs}}\n"
        "space: space.yaml\ndevice: host\nobjectives: {lateny_ms: minimize}\n"
        "budget:\n  trials: 0\n  minutes: .inf\n"
        "teacher: {epochs: 0, learning_rate: -1}\nsampler: nsga\nseed: 1.5\n"
    )
    (folder / "space.yaml").write_text(SPACE.replace("bits: 8", "bits: 5"))
    with pytest.raises(SpecError) as caught:
        load_study("mine", operators=operators)
    mine = "studies/mine.yaml"
    assert list(caught.value.problems) == [
        f"{mine}:2: version: must be a whole number, got '1'; remove the quotes",
        f"{mine}:3: model.pth: unknown key; did you mean 'path'? "
        "(allowed: convert, hub, member, path, positions, revision, sha256, wheel)",
        f"{mine}:4: task.data.format: got 'cvs'; did you mean 'csv'? (allowed: {FORMATS})",
        (
            f"{mine}:7: objectives.lateny_ms: unknown metric 'lateny_ms'; "
            "did you mean 'latency_ms'? (allowed: energy_mj, latency_ms, macs, parameters, "
            "peak_memory_mib, quality, size_mb, throughput)"
        ),
        f"{mine}:9: budget.trials: must be >= 1, got 0",
        f"{mine}:10: budget.minutes: must be a finite number of usual size, got .inf",
        f"{mine}:11: teacher.epochs: must be >= 1, got 0",
        f"{mine}:11: teacher.learning_rate: must be > 0, got -1.0",
        f"{mine}:12: sampler: got 'nsga'; did you mean 'nsga3'? (allowed: gp, nsga2, nsga3, qmc, random, tpe)",
        f"{mine}:13: seed: must be a whole number, got 1.5",
        "studies/space.yaml:10: steps[1].settings.bits: 5 is not offered (allowed: 1, ternary, 2, 4, 8, 32)",
    ]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"name": "../../x"}, "name: a study name holds 1 to 128 letters"),
        ({"name": "'; DROP TABLE trials;--"}, "name: a study name holds 1 to 128 letters"),
        ({"name": 3}, "name: must be text, got 3; put it in quotes"),
        ({"budget": None}, "budget: is missing"),
        ({"space": None}, "space: is missing"),
        ({"budget": 5}, "budget: must be a mapping (lines of `key: value`), got 5"),
        ({"budget": {"trials": "4"}}, "budget.trials: must be a whole number, got '4'; remove the quotes"),
        ({"budget": {"trials": True}}, "budget.trials: must be a whole number, got true"),
        ({"finalists": {"count": 0}}, "finalists.count: must be >= 1, got 0"),
        (
            {"elastic": {"sampling": "sandwich"}},
            "elastic.sampling: `subnetworks >= 3` must hold with `sampling: sandwich`",
        ),
        ({"elastic": {"sampling": "all"}}, "elastic.sampling: got 'all'; allowed: random, sandwich"),
        ({"finalists": {"tuning": {"epochs": [3, 1]}}}, "finalists.tuning.epochs: `1 <= low <= high` must hold"),
        ({"finalists": {"more": -1}}, "finalists.more: must be >= 0, got -1"),
        ({"finalists": {"more": 1.5}}, "finalists.more: must be a whole number, got 1.5"),
        ({"finalists": {"trusted": 1.5}}, "finalists.trusted: `-1 <= trusted <= 1` must hold, got 1.5"),
        ({"finalists": {"trusted": -2}}, "finalists.trusted: `-1 <= trusted <= 1` must hold, got -2"),
        ({"finalists": {"trusted": "much"}}, "finalists.trusted: must be a number, got 'much'"),
        ({"budget": {"trials": 3, "minutes": "many"}}, "budget.minutes: must be a number, got 'many'"),
        ({"objectives": ["quality"]}, "objectives: must be a mapping (lines of `key: value`), got a list"),
        ({"objectives": {}}, "objectives: must name at least one metric"),
        ({"objectives": {"quality": "max"}}, "objectives.quality: got 'max'; allowed: maximize, minimize"),
        ({"workload": {"length": 512}}, "workload.length: `workload.length <= task.max_length` must hold, got 512"),
        ({"workload": {"batch": 0}}, "workload.batch: must be >= 1, got batch=0"),
        ({"workload": {"threads": 0}}, "workload.threads: must be >= 1, got threads=0"),
        ({"workload": {"threads": "many"}}, "workload.threads: must be a whole number, or `all` cores of the device"),
        ({"workload": {"threads": CORES + 1}}, f"workload.threads: must be <= {CORES}, the cores of this machine"),
        ({"workload": {"threads": "all"}, "device": "phone"}, "device: no device profile is called 'phone'"),
        ({"workload": {"lengths": "random"}}, "workload.lengths: got 'random'; allowed: padded, real, sorted"),
        ({"workload": {"tokens": [8]}}, "workload.tokens: belong to `lengths: real`"),
        ({"constraints": {"size_mb": {"min": 3, "max": 1}}}, "constraints.size_mb.min: `min <= max` must hold"),
        ({"constraints": {"size_mb": {}}}, "constraints.size_mb: a constraint needs `min`, `max` or both"),
        (
            {"constraints": {"quality": {"min": 95}}},
            "constraints.quality.min: is 95 a share or hundredths? write `95%` (or 0.95) for 95 of 100",
        ),
        ({"constraints": {"quality": {"min": 1}}}, "constraints.quality.min: is 1 a share or hundredths? write `1%`"),
        ({"constraints": {"quality": {"min": "much"}}}, "constraints.quality.min: must be a share such as 0.01, or"),
        ({"budget": {"trials": 3, "failure_share": 50}}, "budget.failure_share: is 50 a share or hundredths?"),
        ({"model": {"hub": "a/b"}}, "model: a hub asset needs a pinned `revision`"),
        ({"device": "phone"}, "device: no device profile is called 'phone'"),
        ({"device": 3}, "device: must be text, got 3; put it in quotes"),
        ({"space": "bert-smal"}, "space: no search space is called 'bert-smal'; did you mean 'bert-small'?"),
        ({"space": 3}, "space: must be a name, a path or a mapping, got 3"),
        ({"space": {}}, "space.name: is missing"),
    ],
)
def test_a_mistake_in_a_study_is_told_in_plain_words(
    folder: Path, operators: Operators, changes: dict[str, Any], problem: str
) -> None:
    assert problems_of(folder, operators, **changes)[0].startswith(problem)


def test_a_percentage_is_the_share_that_it_names(folder: Path, operators: Operators) -> None:
    changes: dict[str, Any] = {
        "constraints": {"quality": {"min": "94%", "max": 0.99}},
        "budget": {"trials": 3, "failure_share": 1},
        "finalists": {"quantization_loss": "1pt"},
    }
    assert not problems_of(folder, operators, **changes)
    found = load_study(folder / "changed.yaml", operators=operators)
    assert found.constraints["quality"] == Bound(min=0.94, max=0.99)
    assert (found.budget.failure_share, found.finalists.quantization_loss) == (1.0, 0.01)


def test_a_broken_rule_between_values_is_told_once(folder: Path, operators: Operators) -> None:
    assert len(problems_of(folder, operators, workload={"length": 512})) == 1
    assert len(problems_of(folder, operators, constraints={"size_mb": {"min": 3, "max": 1}})) == 1


def test_a_list_of_fixed_length_must_have_it(folder: Path, operators: Operators) -> None:
    data = {"source": {"path": "d"}, "format": "csv"}
    assert problems_of(folder, operators, task={"data": {**data, "split": [0.5, 0.5]}}) == [
        "task.data.split[2]: is missing"
    ]
    too_many = problems_of(folder, operators, task={"data": {**data, "split": [0.4, 0.2, 0.2, 0.2]}})
    assert too_many == ["task.data.split: must hold 3 values, got 4"]
    assert problems_of(folder, operators, task={"data": {**data, "split": 1}}) == [
        "task.data.split: must be a list, got 1"
    ]


HEADS = {"operator": "prune_heads", "target": "layers.*.attention"}
HIDDEN = {"operator": "prune_hidden", "target": "*"}
ZEROS = {"operator": "prune_weights", "target": "layers.*"}
FORMS = {"operator": "replace_attention", "target": "layers.*.attention"}
BITS = {"operator": "quantize", "target": "embeddings"}


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"operator": "prune_head", "target": "*"}, "operator: no operator is called 'prune_head'; did you mean"),
        ({**BITS, "target": "embedings", "settings": {"bits": 8}}, "target: 'quantize' cannot work on 'embedings'"),
        ({**BITS, "target": "layers.1.attention.x", "settings": {"bits": 8}}, "target: 'quantize' cannot work"),
        (BITS, "knobs.bits: is missing: 'quantize' needs it, under `knobs` or fixed under `settings`"),
        ({**BITS, "settings": {"bits": 8, "bit": 8}}, "settings.bit: 'quantize' has no setting 'bit'; did you mean"),
        ({**BITS, "settings": {"bits": "8"}}, "settings.bits: '8' is not offered (allowed: 1, ternary, 2, 4, 8, 32)"),
        ({**BITS, "settings": {"bits": [8]}}, "settings.bits: must be true or false, a number or text, got a list"),
        ({**BITS, "knobs": {"bits": 8}}, "knobs.bits: must be {choices: [...]}, {low, high, step} for whole"),
        ({**BITS, "knobs": {"bits": {}}}, "knobs.bits.choices: is missing"),
        ({**BITS, "knobs": {"bits": {"choices": []}}}, "knobs.bits.choices: must hold at least one value"),
        (
            {**BITS, "knobs": {"bits": {"choices": [8, 5]}}},
            "knobs.bits.choices[1]: 5 is not offered (allowed: 1, ternary, 2, 4, 8, 32)",
        ),
        ({**BITS, "knobs": {"bits": {"choices": ["50%"]}}}, "knobs.bits.choices[0]: 0.5 of what? A share is for"),
        ({**BITS, "knobs": {"bits": {"choices": [None]}}}, "knobs.bits.choices[0]: must be true or false, a number"),
        (
            {**BITS, "knobs": {"bits": {"low": 8, "high": 32}}},
            "knobs.bits: must be one of 1, ternary, 2, 4, 8, 32, not a range",
        ),
        ({**BITS, "knobs": {"bits": {"low": 9, "high": 8}}}, "knobs.bits.low: `low <= high` must hold, got low=9"),
        (
            {**BITS, "knobs": {"bits": {"choices": [2, "ternary"]}}, "settings": {"activations": "static"}},
            "settings.activations: has no place beside `bits` of 2, ternary; leave it out, or offer `bits` of 4, 8, 32",
        ),
        (
            {**BITS, "settings": {"bits": 1}, "knobs": {"smoothing": {"low": 0.0, "high": 0.5}}},
            "knobs.smoothing: has no place beside `bits` of 1; leave it out, or offer `bits` of 4, 8, 32",
        ),
        ({**BITS, "settings": {"bits": 8}, "targets": ["a"]}, "targets: is found out when a model is known"),
        ({**HEADS, "knobs": {"heads": {"low": 0, "high": 4}}}, "knobs.heads.low: 0 is less than 1"),
        ({**HEADS, "knobs": {"heads": {"low": 1, "high": 4, "step": 0}}}, "knobs.heads.step: must be >= 1"),
        ({**HEADS, "knobs": {"heads": {"low": 1.0, "high": 4.0}}}, "knobs.heads: must be whole numbers; write"),
        ({**HEADS, "knobs": {"heads": {"choices": ["150%"]}}}, "knobs.heads.choices[0]: a share must lie above 0%"),
        ({**HEADS, "settings": {"heads": "50%"}}, "settings.heads: '50%' is not a whole number; a share is written"),
        ({**HEADS, "knobs": {"heads": {"low": 0.0, "high": 1, "log": True}}}, "knobs.heads.low: a logarithmic range"),
        ({**HEADS, "settings": {"heads": 4}, "when": {"x.y": [1]}}, "when.x.y: 'x.y' is no knob asked once"),
        (
            {**HIDDEN, "knobs": {"hidden_size": {"choices": ["50%", 100]}}},
            "knobs.hidden_size.choices[1]: 100 is no multiple of 16",
        ),
        (
            {**HIDDEN, "knobs": {"hidden_size": {"low": 96, "high": 384, "step": 24}}},
            "knobs.hidden_size.step: 24 is no multiple of 16",
        ),
        ({**HIDDEN, "target": "layers.*", "settings": {"hidden_size": 192}}, "target: 'prune_hidden' cannot work on"),
        (ZEROS, "knobs.sparsity: is missing: 'prune_weights' needs it, under `knobs` or fixed under `settings`, as "),
        ({**ZEROS, "settings": {"sparsity": 1}}, "settings.sparsity: 1 is more than 0.99"),
        ({**ZEROS, "knobs": {"sparsity": {"choices": [0, 0.5]}}}, "knobs.sparsity.choices[0]: 0 is less than 0.01"),
        (
            {**ZEROS, "settings": {"pattern": "3:4"}},
            "settings.pattern: '3:4' is not offered (allowed: unstructured, 1:4",
        ),
        (
            {**ZEROS, "settings": {"pattern": "2:4", "sparsity": 0.75}},
            "settings.sparsity: `pattern: 2:4` is a `sparsity` of 0.5, which is not offered; offer it too, or leave it",
        ),
        (
            {**ZEROS, "knobs": {"pattern": {"choices": ["1x4", "1:4"]}, "sparsity": {"low": 0.5, "high": 0.9}}},
            "knobs.sparsity: `pattern: 1:4` is a `sparsity` of 0.75, which is not offered",
        ),
        (
            {**ZEROS, "knobs": {"pattern": {"choices": ["2:4", "16x16"]}}},
            "knobs.sparsity: is missing: 'prune_weights' needs it, under `knobs` or fixed under `settings`, as `pat",
        ),
        (FORMS, "knobs.form: is missing: 'replace_attention' needs it"),
        (
            {**FORMS, "settings": {"form": "banded"}},
            "settings.form: 'banded' is not offered (allowed: full, local",
        ),
        (
            {**FORMS, "settings": {"form": "local"}, "knobs": {"window": {"low": 16, "high": 64}}},
            "knobs.window: must be one of 16, 32, 64, 128, 256, not a range",
        ),
        (
            {**FORMS, "settings": {"form": "local", "window": 48}},
            "settings.window: 48 is not offered (allowed: 16, 32, 64, 128, 256)",
        ),
        ({**FORMS, "target": "layers.*", "settings": {"form": "local"}}, "target: 'replace_attention' cannot work on"),
    ],
)
def test_a_mistake_in_a_step_is_told_in_plain_words(
    folder: Path, operators: Operators, step: dict[str, Any], problem: str
) -> None:
    [found] = space_problems(folder, operators, step)
    assert found.startswith(f"steps[0].{problem}")


def test_one_layer_may_be_targeted_by_its_number(folder: Path, operators: Operators) -> None:
    assert space_problems(folder, operators, {**HEADS, "target": "layers.3.attention", "settings": {"heads": 4}}) == []


def test_a_setting_that_another_one_tells_need_not_be_given(folder: Path, operators: Operators) -> None:
    told = {**ZEROS, "knobs": {"pattern": {"choices": ["1:4", "2:4"]}}}
    some = {**ZEROS, "knobs": {"pattern": {"choices": ["2:4", "1x4"]}, "sparsity": {"choices": [0.5, 0.75]}}}
    for step in (told, some):
        assert space_problems(folder, operators, step) == []


def test_steps_must_follow_the_order_of_their_phases(folder: Path, operators: Operators) -> None:
    quantize = {**BITS, "settings": {"bits": 8}}
    assert space_problems(folder, operators, quantize, {"operator": "remove_layer", "target": "layers.*"}) == [
        (
            "steps[1].operator: 'remove_layer' (depth) stands after 'quantize' (precision); move it up, the order is "
            "depth < width < rank < sparsity < attention pattern < recovery < precision < deployment"
        )
    ]


def test_two_steps_of_one_name_are_told_apart_by_position(folder: Path, operators: Operators) -> None:
    quantize = {**BITS, "settings": {"bits": 8}}
    assert space_problems(folder, operators, quantize, quantize) == [
        "steps[1].name: 'quantize' is the name of steps[0] already; set a `name` of its own"
    ]


def test_a_file_that_is_none_of_ours_is_told_what_ours_are(tmp_path: Path, operators: Operators) -> None:
    (tmp_path / "x.yaml").write_text("services: {}\n")
    problems = check_file(tmp_path / "x.yaml", operators=operators)
    assert problems[0].startswith(f"{tmp_path}/x.yaml: cannot tell what this file is: known are a study by")
    (tmp_path / "x.yaml").write_text("- a\n")
    assert "got a list" in check_file(tmp_path / "x.yaml", operators=operators)[0]


def test_a_stored_study_that_cannot_be_run_any_more_says_why(operators: Operators) -> None:
    stored = spec_to_json(load_study("quickstart", operators=operators))
    with pytest.raises(
        SpecError, match=r"stored study: space\.steps\[0\]\.operator: no operator is called 'remove_layer'"
    ):
        study_from_json(stored, operators={})
    with pytest.raises(SpecError, match="stored study: space: must be a mapping"):
        study_from_json({**stored, "space": "bert-small"}, operators=operators)
    with pytest.raises(SpecError, match="stored study: holds what JSON cannot"):
        study_from_json({**stored, "seed": float("nan")}, operators=operators)


def test_minutes_of_a_study_stored_before_bounded_its_search_alone(operators: Operators) -> None:
    now = spec_to_json(load_study("quickstart", operators=operators))
    assert (now["budget"]["minutes"], now["budget"].pop("search_minutes")) == (None, 4.0)
    assert now["budget"].pop("search_rows") == 2000
    then = {**now, "budget": {**now["budget"], "minutes": 4.0}}
    spec = study_from_json(then, operators=operators)
    assert (spec.budget.minutes, spec.budget.search_minutes) == (None, 4.0)
    assert spec.budget.search_rows is None, "candidates of then were judged on all rows"
    assert diff_specs(in_todays_words(then), spec_to_json(spec)) == []
    today = {**now, "budget": {**now["budget"], "search_minutes": 4.0, "search_rows": 2000}}
    assert changes_since(then, today) == [], "the same file as then"
    assert changes_since(today, {**today, "budget": {**today["budget"], "search_rows": 50}}) == [
        "budget.search_rows: 2000 -> 50"
    ]
    bounded = replace(spec, budget=replace(spec.budget, minutes=30.0, search_minutes=None))
    assert study_from_json(spec_to_json(bounded), operators=operators) == bounded


def test_differences_of_two_studies_are_named_by_path(operators: Operators) -> None:
    old = spec_to_json(load_study("quickstart", operators=operators))
    old["budget"]["trials"] = 120
    old["constraints"] = {}
    new = json.loads(json.dumps(old))
    assert diff_specs(old, new) == []
    new["finalists"]["training"].pop("precision")
    new["budget"] |= {"trials": 96, "search_minutes": None}
    new["constraints"]["size_mb"] = {"min": None, "max": 60.0}
    new["space"]["steps"][1]["knobs"]["heads"]["choices"].pop()
    del new["space"]["steps"][2]
    assert diff_specs(old, new) == [
        (
            "space.steps: remove_layer, prune_heads, prune_channels, quantize-layers, quantize-embeddings "
            "-> remove_layer, prune_heads, quantize-layers, quantize-embeddings"
        ),
        "space.steps.prune_heads.knobs.heads.choices: [25%, 50%, 75%, 100%] -> [25%, 50%, 75%]",
        "budget.trials: 120 -> 96",
        "budget.search_minutes: 4.0 -> nothing",
        "constraints.size_mb: {min: nothing, max: 60.0} added",
        "finalists.training.precision: auto removed",
    ]


def test_a_schema_describes_what_a_user_may_write() -> None:
    study = json_schema("study")
    assert {"type": "string"}.items() <= study["properties"]["space"]["anyOf"][0].items()
    assert "latency_ms" in study["properties"]["objectives"]["propertyNames"]["enum"]
    assert "targets" not in json_schema("space")["$defs"]["StepSpace"]["properties"]
    assert json_schema("space")["$defs"]["Share"]["type"] == "string"
    assert "source" in study["$defs"]["TextSpec"]["required"]
    assert {"recombined", "texts"} <= set(study["$defs"]["TransferSpec"]["properties"])
    more = study["$defs"]["FinalistSpec"]["properties"]["more"]["description"]
    assert "How many further candidates are trained where search scores rank the first finalists badly" in more
    assert set(json_schema("device")["required"]) >= {"name", "version", "fingerprint", "runtime"}
