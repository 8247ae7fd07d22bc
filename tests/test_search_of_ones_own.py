"""A search over an evaluation of the user's own, of a network that is no transformer, with an operator of his."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import autocompress
from autocompress.candidates.own import measured
from autocompress.core.outcome import Evaluated, Failed, Infeasible, values
from autocompress.errors import CandidateError, ExhaustedError, Interrupted, NotFoundError, SpecError
from autocompress.explain.steps import explain_steps
from autocompress.explain.steps.finding import NO_PARTS
from autocompress.report import as_csv, as_html, as_markdown
from tests import given_search
from tests.commands import command as run
from tests.given_search import CALLED, OBJECTIVES, SPACE, Narrow, judged, network
from tests.test_documents import blocks

ROOT = Path(__file__).parents[1]


def search(storage: Path, evaluate: Any = judged, **changes: Any) -> autocompress.Study:
    asked: dict[str, Any] = {
        "model": network,
        "operators": [Narrow],
        "objectives": OBJECTIVES,
        "name": CALLED,
        "trials": 20,
        "workers": 0,
    }
    return autocompress.optimize(SPACE, evaluate, storage=str(storage), **asked | changes)


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Iterator[autocompress.Study]:
    with search(tmp_path_factory.mktemp("own") / "own.db", constraints={"weights": {"max": 200}}) as found:
        yield found


def found_in(study: autocompress.Study) -> list[tuple[str, Any]]:
    return [
        (record.candidate.digest, values(record.outcome.measurements) if isinstance(record.outcome, Evaluated) else "")
        for record in study.records()
    ]


def commanded(*arguments: str, storage: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "autocompress.cli", *arguments, "--storage", str(storage)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=_environment())


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}


@pytest.mark.long
@pytest.mark.ray
def test_killed_with_a_real_ray_and_resumed_by_the_command_line_it_has_the_candidates_of_an_unbroken_one(
    tmp_path: Path,
) -> None:
    storage = tmp_path / "killed.db"
    code = f"from tests.given_search import begin; begin({str(storage)!r})"
    running = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=_environment())
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        time.sleep(0.1)
        try:
            with autocompress.open_study(CALLED, storage=str(storage)) as seen:
                if seen.store.counts(CALLED).evaluated >= 6:
                    break
        except NotFoundError:
            continue
    assert running.poll() is None, "it ended before it could be killed"
    running.send_signal(signal.SIGKILL)
    running.wait()
    done = commanded("resume", CALLED, "--workers", "1", storage=storage)
    assert done.returncode == 0, done.stderr
    with (
        autocompress.open_study(CALLED, storage=str(storage)) as study,
        search(tmp_path / "unbroken.db") as unbroken,
    ):
        assert len(study.records()) == 20
        assert found_in(study) == found_in(unbroken)
        assert [one.digest for one in study.pareto().verified] == [one.digest for one in unbroken.pareto().verified]
        assert study.store.check(CALLED) == []


@pytest.mark.expectation(11)
def test_a_first_ctrl_c_lets_a_candidate_end_a_second_leaves_at_once_and_nothing_is_lost(
    study: autocompress.Study, tmp_path: Path
) -> None:
    passed: list[str] = []

    def struck(policy: Any, model: Any) -> dict[str, Any]:
        passed.append("judged")
        if len(passed) == 6:
            for often in ("once", "twice"):
                signal.raise_signal(signal.SIGINT)
                passed.append(often)
        return judged(policy, model)

    storage, bounds = tmp_path / "struck.db", {"weights": {"max": 200}}
    with pytest.raises(Interrupted, match=r"stopped; go on with `autocompress resume toy`") as ended:
        search(storage, struck, constraints=bounds)
    assert ended.value.exit_code == 130
    assert passed == [*["judged"] * 6, "once"], "the second one came out of the evaluation"
    with autocompress.open_study(CALLED, storage=str(storage)) as left:
        assert left.row.state == "interrupted"
        kept = left.store.counts(CALLED)
        assert kept.evaluated + kept.infeasible == 5
        assert kept.failed == 0
    with autocompress.resume(CALLED, storage=str(storage), workers=0, evaluate=judged) as resumed:
        assert resumed.row.state == "complete"
        assert found_in(resumed) == found_in(study)
        assert resumed.store.check(CALLED) == []


def test_its_front_is_shown_as_any_study_s(study: autocompress.Study, tmp_path: Path) -> None:
    front = study.pareto()
    best = study.best
    assert best is not None
    assert all(one.metrics["weights"].value <= 200 for one in front.members)
    assert any(isinstance(record.outcome, Infeasible) for record in study.records())
    assert f"narrow hidden.0 (width {best.policy.steps[0].settings['width']})" in best.summary
    assert as_markdown(front).splitlines()[2].startswith("| candidate | loss | weights | steps | policy |")
    assert ",loss,loss_low," in as_csv(front)
    as_html(front, tmp_path / "front.html")
    page = (tmp_path / "front.html").read_text()
    assert ">loss<" in page
    assert "<svg" in page
    assert re.search(r'class="key baseline">baseline, uncompressed<', page), "it was evaluated as all others were"
    assert "before training" not in page
    assert {"loss", "at.narrow/hidden.1/width"} <= set(study.to_pandas().columns)
    assert (front.to_json()["members"][0]["state"], front.to_json()["members"][0]["verified"]) == ("measured", False)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (["pareto", CALLED], "loss"),
        (["trials", CALLED], "weights"),
        (["show", CALLED, "1"], "as your evaluation told"),
        (["studies"], "complete"),
        (["resume", CALLED], "is complete"),
    ],
)
def test_commands_show_it(command: list[str], told: str, study: autocompress.Study, tmp_path: Path) -> None:
    done = run(tmp_path, *command, "--storage", study.store.url)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout + done.stderr


@pytest.mark.expectation(23)
def test_of_its_steps_is_told_what_judged_candidates_tell_and_no_more(
    study: autocompress.Study, tmp_path: Path
) -> None:
    """The weights of this network are 9 a unit of each layer, whatever else is done to it."""
    records = [
        one for one in study.records() if isinstance(one.outcome, Evaluated) and not one.candidate.policy.is_baseline
    ]
    widths: dict[str, list[float]] = {"hidden.0": [], "hidden.1": []}
    for record in records:
        for taken in record.candidate.policy.steps:
            widths[taken.target].append(float(taken.settings["width"]))
    seen = 0
    for record in records:
        found = explain_steps(study.store, CALLED, record.candidate.number)
        assert found.notes == (NO_PARTS,)
        for step in found.steps:
            (loss, weights), width = step.judged, float(step.settings["width"])
            assert (step.taken, step.last, loss.metric, weights.metric) == (None, None, "loss", "weights")
            if weights.how == "pairs" and weights.beside == "other settings":
                others = [float(one.instead.removeprefix("width ")) for one in weights.neighbours]
                apart = [9 * (width - other) for other in others]
                assert [one.difference for one in weights.neighbours] == pytest.approx(apart)
            if weights.how == "main effect" and weights.beside == "the mean":
                mean = sum(widths[step.target]) / len(widths[step.target])
                assert weights.value == pytest.approx(9 * (width - mean))
                seen += 1
    assert seen
    done = run(tmp_path, "show", CALLED, str(records[0].candidate.number), "--storage", study.store.url)
    assert "the parts of this model are not known" in " ".join(done.stdout.split())


@pytest.mark.parametrize("command", [["pick", CALLED], ["explain", CALLED], ["retarget", CALLED, "--device", "host"]])
def test_commands_for_models_of_ours_refuse_it_in_words(
    command: list[str], study: autocompress.Study, tmp_path: Path
) -> None:
    done = run(tmp_path, *command, "--storage", study.store.url)
    assert done.returncode == 2
    assert "is a search over an evaluation of your own" in done.stderr


def test_a_candidate_that_fails_is_told_with_its_reason_and_the_search_goes_on(tmp_path: Path) -> None:
    def poor(policy: Any, model: Any) -> dict[str, float]:
        if policy.steps and policy.steps[0].settings["width"] > 12:
            raise RuntimeError("too wide for me")
        return judged(policy, model)

    with search(tmp_path / "own.db", poor) as found:
        failed = [one.outcome for one in found.records() if isinstance(one.outcome, Failed)]
        assert failed
        assert {(one.error, one.message) for one in failed} == {("RuntimeError", "too wide for me")}
        assert found.row.state == "complete"
    with pytest.raises(SpecError, match=r"was given its evaluate from Python.*resume\('toy', evaluate=\.\.\.\)"):
        autocompress.resume(CALLED, storage=str(tmp_path / "own.db"), trials=22, workers=0)
    with autocompress.resume(CALLED, storage=str(tmp_path / "own.db"), trials=22, workers=0, evaluate=poor) as longer:
        assert len(longer.records()) == 22


def test_an_evaluation_that_never_answers_right_ends_the_search_with_what_was_wrong(tmp_path: Path) -> None:
    with pytest.raises(ExhaustedError, match="evaluate: must tell weights, which the search asks for; it told loss"):
        search(tmp_path / "own.db", lambda policy, model: {"loss": 1.0})


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (0.5, r"must return a mapping of metrics to numbers, as \{'loss': 0.5\}, got float"),
        ({}, "must tell loss, which the search asks for; it told nothing"),
        ({"loss": float("nan")}, "'loss' must be a finite number, got nan"),
        ({"loss": "low"}, "'loss' must be a finite number, got low"),
        ({"loss": 1, "note": [1, 2]}, "'note' must be a finite number"),
    ],
)
def test_what_an_evaluation_tells_is_checked(told: Any, message: str) -> None:
    with pytest.raises(CandidateError, match=message):
        measured(told, ["loss"])


def step(**changes: Any) -> dict[str, Any]:
    return {"steps": [SPACE["steps"][0] | changes]}


@pytest.mark.parametrize(
    ("space", "changes", "message"),
    [
        (step(operator="narow"), {}, "no operator is called 'narow'; did you mean 'narrow'"),
        (step(target="hiden.*"), {}, r"'hiden\.\*' fits no part of the model"),
        (step(knobs={"width": {"low": 2, "high": 32}}), {}, "32 is more than 16"),
        (step(knobs={"depth": {"choices": [1]}}), {}, "'narrow' has no setting 'depth'"),
        (SPACE, {"objectives": {}}, "objectives: must name at least one metric"),
        (SPACE, {"objectives": {"loss": "least"}}, "objectives"),
        (SPACE, {"objectives": {"latency_ms": "maximize"}}, "`minimize` must hold|must be minimize"),
        (SPACE, {"model": 3}, "model: must be a torch.nn.Module, or a function without arguments that makes one"),
        (SPACE, {"operators": [dict]}, "operators: dict lacks name, rules, apply"),
        (SPACE, {"model": None}, "operators: work on a model; give `model=`"),
        (SPACE, {"evaluate": 3}, "evaluate: must be a function"),
        (SPACE, {"trials": 0}, "trials"),
        (SPACE, {"sampler": "best"}, "sampler"),
        (SPACE, {"name": "../up"}, "a study name holds"),
    ],
)
def test_what_cannot_be_searched_is_refused_before_anything_is_judged(
    space: Any, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"evaluate": judged, "model": network, "operators": [Narrow], "objectives": OBJECTIVES}
    with pytest.raises((SpecError, NotFoundError), match=message):
        autocompress.optimize(space, **asked | changes, storage=str(tmp_path / "own.db"), workers=0)
    assert not (tmp_path / "own.db").exists()


def test_without_a_model_steps_mean_what_the_evaluation_makes_of_them(tmp_path: Path) -> None:
    space = {"steps": [{"operator": "set", "target": "*", "knobs": {"rate": {"low": 0.1, "high": 1.0}}}]}
    rate: Callable[[Any], float] = lambda policy: float(policy.steps[0].settings["rate"]) if policy.steps else 2.0  # noqa: E731
    with autocompress.optimize(
        space,
        lambda policy: {"cost": rate(policy)},
        objectives={"cost": "minimize"},
        trials=5,
        storage=str(tmp_path / "own.db"),
        workers=0,
    ) as found:
        assert len(found.pareto().members) == 1
        assert found.pareto().members[0].summary.startswith("set (rate 0.")


def test_a_module_in_memory_is_given_again(tmp_path: Path) -> None:
    with search(tmp_path / "own.db", model=network(), trials=3) as found:
        assert found.row.resolved["model"] == "given"
        assert found.row.resolved["operators"] == {"narrow": f"{given_search.__name__}:Narrow"}
    with pytest.raises(SpecError, match="was given its model from Python"):
        autocompress.resume(CALLED, storage=str(tmp_path / "own.db"), trials=4, workers=0)


def test_the_search_that_the_documents_show_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (shown,) = [one for one in blocks(ROOT / "docs" / "python.md", "python") if "ModuleOperator" in one]
    exec(shown.replace("workers=2", "workers=0"), {"__name__": "__main__"})
    with autocompress.open_study("narrowed") as found:
        assert found.row.state == "complete"
        assert all(one.metrics["weights"].value <= 3000 for one in found.pareto().members)
