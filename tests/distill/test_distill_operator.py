from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.config import check_file, load_space
from autocompress.core.outcome import Evaluated, Failed
from autocompress.core.policy import BASELINE, CompressionPolicy, Setting, Step
from autocompress.core.ports import SettingRule
from autocompress.core.space import Knob, Real, SearchSpace, StepSpace
from autocompress.core.training_spec import DistillationSpec, FinalistSpec, TrainingSpec, TransferSpec, TuningSpec
from autocompress.distill import CHECKPOINT, kept_weights
from autocompress.finalists.recovery import Recovery, Rehearsal, RehearsalEvaluator
from autocompress.importance import no_preference
from autocompress.operators import OPERATORS, effective
from autocompress.operators.distill import Distill, distilled, overridden
from autocompress.tasks import TextClassification
from autocompress.testing import draw, operator_contract
from tests.conftest import build_model

KNOBS: dict[str, Any] = {
    "temperature": {"low": 1.0, "high": 8.0, "log": True},
    "hard_weight": {"low": 0.0, "high": 0.5},
    "learning_rate": {"choices": [0.0001, 0.0002]},
    "epochs": {"low": 2, "high": 6, "step": 2},
    "attention": {"choices": [0, 0.5, 1.0]},
    "attention_form": {"choices": ["mse-scores", "mse-probabilities", "kl"]},
    "relations": {"low": 0.0, "high": 2.0},
    "hidden": {"low": 0, "high": 2},
    "embeddings": {"choices": [0.0, 1.0]},
    "layer_map": {"choices": ["kept", "uniform", "last", "learned"]},
    "adaptive": {"choices": [True, False]},
}
REMOVE, INT8 = Step("remove_layer", "layers.1"), Step("quantize", "layers.0", {"bits": 8})


def distill(**settings: Setting) -> Step:
    return Step("distill", "*", settings)


def space_file(folder: Path, **step: Any) -> Path:
    path = folder / "space.yaml"
    steps = [{"operator": "distill", "target": "*", **step}]
    path.write_text(yaml.safe_dump({"name": "taught", "version": 1, "steps": steps}), encoding="utf-8")
    return path


def problem_of(folder: Path, **step: Any) -> str:
    [problem] = check_file(space_file(folder, **step), operators=OPERATORS)
    return problem.partition("steps[0].")[2]


def test_it_passes_the_contract_of_operators(anatomy: Anatomy) -> None:
    steps = [distill(temperature=3.0), distill(hidden=1.0, layer_map="learned", adaptive=True)]
    operator_contract(Distill(), steps, anatomy, no_preference(anatomy.shape()))


def test_every_setting_of_the_spec_is_a_setting_of_the_step() -> None:
    known = {*DistillationSpec.__dataclass_fields__, "learning_rate", "epochs"} - {"__pydantic_config__"}
    assert set(Distill.rules) == known


def test_a_space_of_distillation_alone_is_in_order_and_asks_each_knob_once(tmp_path: Path, bert: Anatomy) -> None:
    path = space_file(tmp_path, knobs=KNOBS)
    assert check_file(path, operators=OPERATORS) == []
    bound = load_space(path, operators=OPERATORS).bind(bert.shape().names(), lambda *_: None)
    assert set(bound.knobs()) == {f"distill/{name}" for name in KNOBS}
    generator = random.Random(0)
    for _ in range(20):
        policy = bound.policy(lambda _, knob: draw(knob, generator))
        [step] = policy.steps
        assert step.target == "*"
        distilled(policy, FinalistSpec())  # every point is a sound spec


@pytest.mark.parametrize("per", ["target", "step"])
def test_the_model_as_a_whole_is_one_part(per: Any, bert: Anatomy) -> None:
    knobs: dict[str, Knob] = {"temperature": Real(1.0, 2.0)}
    space = SearchSpace("s", 1, (StepSpace("distill", "*", knobs, per=per, optional=True),))
    bound = space.bind(bert.shape().names(), lambda *_: None)
    assert list(bound.knobs()) == ["distill/apply", "distill/temperature"]
    assert bound.policy(lambda name, _: name.endswith("apply") or 1.5).steps == (distill(temperature=1.5),)
    assert bound.policy(lambda *_: False).is_baseline


@pytest.mark.parametrize(
    ("step", "problem"),
    [
        ({"target": "layers.*"}, "target: 'distill' cannot work on 'layers.*'; "),
        ({"knobs": {"temperature": {"low": 0.0, "high": 2.0}}}, "knobs.temperature.low: 0.0 is less than 0.1"),
        ({"knobs": {"hard_weight": {"low": 0.0, "high": 1.5}}}, "knobs.hard_weight.high: 1.5 is more than 1"),
        ({"knobs": {"epochs": {"low": 1.0, "high": 4.0}}}, "knobs.epochs: must be whole numbers; write"),
        ({"knobs": {"hidden": {"choices": [-1, 1]}}}, "knobs.hidden.choices[0]: -1 is less than 0"),
        ({"knobs": {"layer_map": {"low": 1, "high": 2}}}, "knobs.layer_map: must be one of kept, uniform, last, lear"),
        ({"settings": {"temperature": "hot"}}, "settings.temperature: 'hot' is not a number"),
        ({"settings": {"temperature": True}}, "settings.temperature: True is not a number"),
        ({"settings": {"adaptive": 1}}, "settings.adaptive: 1 is not offered (allowed: False, True)"),
        ({"settings": {"atention": 1.0}}, "settings.atention: 'distill' has no setting 'atention'; did you mean"),
    ],
)
def test_a_mistake_in_a_distillation_step_is_told_in_plain_words(
    tmp_path: Path, step: dict[str, Any], problem: str
) -> None:
    assert problem_of(tmp_path, **step).startswith(problem)


def test_recovery_stands_between_width_and_precision(tmp_path: Path) -> None:
    path = space_file(tmp_path)
    tree = yaml.safe_load(path.read_text())
    tree["steps"].insert(0, {"operator": "quantize", "target": "layers.*", "settings": {"bits": 8}})
    path.write_text(yaml.safe_dump(tree))
    [problem] = check_file(path, operators=OPERATORS)
    assert "'distill' (recovery) stands after 'quantize' (precision); move it up" in problem


def test_a_rule_for_real_numbers_takes_numbers() -> None:
    rule = SettingRule(low=0.5, high=2.0, real=True)
    assert [rule.problem(value) for value in (0.5, 1, 2.0)] == [None] * 3
    assert rule.problem(float("nan")) == "nan is not a number"
    assert rule.problem(2.5) == "2.5 is more than 2"
    assert SettingRule(low=1).problem(2.0) == "2.0 is not a whole number"


def test_it_counts_only_where_there_is_something_to_recover_from(bert: Anatomy) -> None:
    shape = bert.shape()

    def kept(*steps: Step) -> tuple[Step, ...]:
        policy, after = effective(CompressionPolicy(steps), shape)
        assert effective(policy, shape) == (policy, after)
        return policy.steps

    assert kept(REMOVE, distill(hidden=1.0)) == (REMOVE, distill(hidden=1.0))
    assert kept(distill(hidden=1.0), INT8) == (distill(hidden=1.0), INT8)
    assert kept(REMOVE, distill()) == (REMOVE,), "a step that says nothing changes nothing"
    assert effective(CompressionPolicy((distill(),)), shape) == (BASELINE, shape)


def test_a_policy_overrides_what_it_names_and_nothing_else() -> None:
    study = FinalistSpec(3, training=TrainingSpec(epochs=7), distillation=DistillationSpec(4.0, 0.2, relations=1.0))
    assert distilled(CompressionPolicy((REMOVE, INT8)), study) == study
    policy = CompressionPolicy((REMOVE, distill(hidden=0.5, epochs=2), distill(hidden=1.0, learning_rate=1e-3), INT8))
    expected = replace(
        study,
        training=TrainingSpec(epochs=2, learning_rate=1e-3),
        distillation=DistillationSpec(4.0, 0.2, relations=1.0, hidden=1.0),
    )
    assert distilled(policy, study) == expected


def test_a_finalist_is_trained_as_its_policy_says(small_task: TextClassification, tmp_path: Path) -> None:
    model = build_model("bert")
    setup = Setup.of(model, no_preference(Anatomy(model, FAMILIES).shape()), small_task, precision="fp32")
    training = TrainingSpec(epochs=3, batch_size=32, precision="fp32")
    recovery = Recovery(setup, Lessons.of(setup, TransferSpec(), seed=0), FinalistSpec(1, training=training), 0)
    plain, deep = (CompressionPolicy((REMOVE, *more)) for more in ((), (distill(hidden=1.0, epochs=2),)))
    assert len(recovery(plain, folder=tmp_path / "plain").scores) == 3
    assert len(recovery(deep, folder=tmp_path / "deep").scores) == 2
    weights, _ = kept_weights(tmp_path / "deep" / CHECKPOINT)
    assert not [name for name in weights if "projection" in name], "what was trained along is no part of the student"


def test_a_rehearsal_whose_loss_is_no_number_fails_with_its_cause_and_the_next_is_judged(
    small_task: TextClassification,
) -> None:
    model = build_model("bert")
    setup = Setup.of(model, no_preference(Anatomy(model, FAMILIES).shape()), small_task, precision="fp32")
    training = TrainingSpec(epochs=1, batch_size=8, learning_rate=1e30, warmup=0.0, precision="fp32")
    recovery = Recovery(setup, Lessons.of(setup, TransferSpec(), seed=0), FinalistSpec(1, training=training), 0)
    evaluate = RehearsalEvaluator(Rehearsal(recovery, 4))
    failed = evaluate(CompressionPolicy((REMOVE,)))
    assert isinstance(failed, Failed)
    assert (failed.stage, failed.error) == ("build", "CandidateError")
    assert "the training loss became nan; lower `learning_rate`" in failed.message
    assert isinstance(evaluate(CompressionPolicy((REMOVE, distill(learning_rate=1e-4)))), Evaluated)


def test_tries_draw_what_has_a_range_and_the_others_stay_what_they_are() -> None:
    plain = TuningSpec(tries=4)
    wide = replace(plain, relations=(0.5, 2.0), hidden=(0.0, 1.0), epochs=(2, 5))
    study = FinalistSpec(3, training=TrainingSpec(epochs=7), distillation=DistillationSpec(4.0, 0.2, attention=1.0))
    assert [set(settings) for settings in plain.draws(0)] == [{"learning_rate", "temperature", "hard_weight"}] * 3
    assert wide.draws(0) == wide.draws(0) != wide.draws(1)
    tries = [overridden(study, settings) for settings in wide.draws(0)]
    assert len({one.distillation.relations for one in tries}) == 3
    for one in tries:
        assert 0.5 <= one.distillation.relations <= 2.0
        assert 0.0 <= one.distillation.hidden <= 1.0
        assert one.training.epochs in range(2, 6)
        assert one.distillation.attention == 1.0
    for changes, message in (
        ({"epochs": (0, 2)}, "`1 <= low <= high` must hold for `epochs`"),
        ({"hidden": (2.0, 1.0)}, "`0 <= low <= high` must hold for `hidden`"),
    ):
        with pytest.raises(ValueError, match=message):
            TuningSpec(**changes)  # type: ignore[arg-type]
