"""Two finalists as one, beside single models: when they are offered, under which bounds, and why there are none."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from autocompress.certainty import Doubts, RowScores, to_bytes
from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.report import (
    PickBounds,
    as_html,
    as_picked,
    as_table,
    front_report,
    pick,
    pick_cascade,
    with_cascades,
)
from autocompress.store import ROW_SCORES, Artifact, Store

from . import given
from .test_expectation import keep

ROWS = 2000
LOST = {0: 0, 1: 2, 2: 6, 3: 30, 4: 80}
"""By number: of how many rows in each split the uncompressed model alone knows the answer."""
POINT = PickBounds(max_quality_drop=0.01)


def kept_of(number: int, *, sure: bool = False) -> bytes:
    """A model is unsure of what it gets wrong, and of as many rows again, but not where it is `sure` of all."""
    right = np.arange(ROWS) < 0.96 * ROWS
    right[: LOST[number]] = False
    rows = RowScores("quotient", np.column_stack([right, np.ones(ROWS)]).astype(np.float32))
    doubts = np.linspace(0.3, 0.0, ROWS, dtype=np.float32) * (not sure)
    return to_bytes({"validation": rows, "test": rows}, Doubts(1.3, {"validation": doubts, "test": doubts}))


def keep_doubts(store: Store, *, sure: bool = False) -> None:
    with store.lease("quickstart") as lease:
        again = []
        for one in store.finalists("quickstart"):
            if one.candidate.number not in LOST:
                continue
            content = kept_of(one.candidate.number, sure=sure)
            path = store.folder("quickstart") / "row-scores" / f"{one.candidate.digest}.npz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            file = Artifact(ROW_SCORES, path.relative_to(store.artifacts).as_posix(), digest, len(content))
            state = "rejected" if one.state == "nominated" else one.state
            again.append(dataclasses.replace(one, state=state, artifacts=(*one.artifacts, file)))
        store.remeasure(lease, again)


@pytest.fixture
def kept(store: Store) -> Store:
    keep_doubts(store)
    return store


def test_the_fastest_on_average_that_keeps_the_bound_is_taken(kept: Store) -> None:
    found = pick_cascade(kept, "quickstart", bounds=POINT)
    one, price = found.cascade, found.cascade.found.price
    assert one.small.number == 4
    assert price.mean_ms == pytest.approx(1.12 + one.found.share * one.large.metrics["latency_ms"].value)
    assert price.p99_ms == price.worst_ms == pytest.approx(1.12 + one.large.metrics["latency_ms"].value)
    assert one.expected.at_most <= 0.01
    assert one.relative.speedup == pytest.approx(14.06 / price.mean_ms)
    assert "accuracy drop (90 % sure) <= 0.01 among cascades of 4 verified finalists" in found.why
    assert f"{one.small.digest[:8]} answers, and hands on to {one.large.digest[:8]} what it is less than" in found.why
    assert "by 4,000 held-out rows." in found.why
    assert "`autocompress verify FOLDER --data FILE` tells" in found.why
    console = Console(file=io.StringIO(), width=120)
    console.print(as_picked(found))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    assert "latency at worst" in told
    assert json.loads(json.dumps(found.to_json()))["handed_on"]["rows"] == 4000


def test_a_single_pick_tells_of_a_faster_cascade_under_the_same_bound_and_how_it_is_taken(kept: Store) -> None:
    found = pick(kept, "quickstart", bounds=POINT, minimize="latency_ms")
    assert found.cascade is not None
    assert found.cascade.found.price.mean_ms < 0.9 * found.member.metrics["latency_ms"].value
    assert found.beside.startswith("As a cascade: ")
    assert "`autocompress pick quickstart --cascade --max-quality-drop 0.01 --out FOLDER`" in found.beside
    assert found.to_json()["cascade"]["digest"] == pick_cascade(kept, "quickstart", bounds=POINT).cascade.digest
    console = Console(file=io.StringIO(), width=120)
    console.print(as_picked(found))
    assert "As a cascade: " in console.file.getvalue()  # type: ignore[attr-defined]
    assert pick(kept, "quickstart", bounds=POINT).cascade is None
    assert pick(kept, "quickstart", minimize="latency_ms").to_json()["cascade"] is None


def test_where_no_single_model_keeps_a_bound_and_a_cascade_does_the_error_says_so(kept: Store) -> None:
    bounds = PickBounds(max_quality_drop=0.01, max_latency_ms=2.2)
    with pytest.raises(NotFoundError) as caught:
        pick(kept, "quickstart", bounds=bounds, minimize="latency_ms")
    assert "As a cascade" not in str(caught.value)  # at worst it takes as long as both models
    slow = PickBounds(max_quality_drop=0.01, max_latency_ms=10, max_energy_mj=60)
    with pytest.raises(NotFoundError, match="As a cascade: .* --max-quality-drop 0.01 .*--max-energy-mj 60"):
        pick(kept, "quickstart", bounds=slow, minimize="latency_ms")


def test_a_bound_on_latency_holds_for_every_single_answer(kept: Store) -> None:
    with pytest.raises(NotFoundError, match=r"latency \(at worst\) .* ms where <= 3 ms was asked"):
        pick_cascade(kept, "quickstart", bounds=PickBounds(max_quality_drop=0.02, max_latency_ms=3))
    within = pick_cascade(kept, "quickstart", bounds=PickBounds(max_quality_drop=0.02, max_latency_ms=3.5))
    assert within.cascade.found.price.worst_ms <= 3.5
    with pytest.raises(NotFoundError, match="none of .* cascades .* fits; the nearest is .* <= 0.0001 was asked"):
        pick_cascade(kept, "quickstart", bounds=PickBounds(max_quality_drop=0.0001))


def test_a_bound_of_the_study_holds_for_every_single_answer_too(empty: Store) -> None:
    given.study(empty, constraints={"latency_ms": {"max": 3.0}})
    with empty.lease("quickstart") as lease:
        given.search(empty, lease)
        given.finish(empty, lease)
    keep_doubts(empty)
    with pytest.raises(NotFoundError, match="no pair of finalists keeps the constraints of study 'quickstart' at wor"):
        pick_cascade(empty, "quickstart", bounds=POINT)


def test_without_a_bound_on_quality_nothing_is_chosen(kept: Store) -> None:
    with pytest.raises(SpecError, match="--cascade: the fastest one hands nothing on; say what it may lose, such as"):
        pick_cascade(kept, "quickstart", bounds=PickBounds(max_latency_ms=3))
    assert pick_cascade(kept, "quickstart", bounds=PickBounds(min_quality=0.95)).cascade.metrics["quality"].value > 0.95


def test_studies_of_before_doubts_were_kept_say_so_and_what_to_do(store: Store) -> None:
    with pytest.raises(NotFoundError, match=r"kept no doubts of single rows.*`autocompress run FILE --name NEW`"):
        pick_cascade(store, "quickstart", bounds=POINT)
    without = RowScores("quotient", np.ones((400, 2), dtype=np.float32))
    keep(store, "quickstart", {number: {"validation": without, "test": without} for number in LOST})
    with pytest.raises(NotFoundError, match="kept no doubts of single rows"):
        pick_cascade(store, "quickstart", bounds=POINT)
    assert pick(store, "quickstart", bounds=POINT, minimize="latency_ms").cascade is None


def test_where_the_small_models_are_never_unsure_there_is_none(store: Store) -> None:
    keep_doubts(store, sure=True)
    with pytest.raises(NotFoundError, match="no finalist of study 'quickstart' is unsure of a part of the texts"):
        pick_cascade(store, "quickstart", bounds=POINT)


@pytest.mark.parametrize(
    ("resolved", "said"),
    [
        ({"task": {"kind": "regression"}}, "cascades are made for text-classification so far, .* is one of regression"),
        ({"workload": {"batch": 8}}, "a cascade answers texts one by one, .* has batches of 8"),
    ],
)
def test_other_tasks_and_batches_are_refused_in_words(empty: Store, resolved: dict[str, object], said: str) -> None:
    known = {"name": "other", "description": "", "constraints": {}, **resolved}
    empty.create_study("other", given=known, resolved=known, fingerprint={}, objectives=given.OBJECTIVES)
    with empty.lease("other") as lease:
        given.search(empty, lease)
        given.finish(empty, lease)
    with pytest.raises(NotFoundError, match=said):
        pick_cascade(empty, "other", bounds=POINT)


def test_one_verified_finalist_is_too_few(kept: Store) -> None:
    with kept.lease("quickstart") as lease:
        for number in (2, 3, 4):
            kept.conclude(lease, number, verified=False, reason="", measurements=[], artifacts=[], provenance={})
    with pytest.raises(NotFoundError, match=r"needs two verified finalists, and study 'quickstart' has 1; train more"):
        pick_cascade(kept, "quickstart", bounds=POINT)


def test_doubts_that_changed_are_an_error(kept: Store) -> None:
    one = next(one for one in kept.finalists("quickstart") if one.candidate.number == 3)
    assert one.row_scores is not None
    path: Path = kept.artifacts / one.row_scores.path
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(IntegrityError, match="not what the study's database keeps"):
        pick_cascade(kept, "quickstart", bounds=POINT)


def test_the_front_tells_cascades_apart_from_single_models(kept: Store, tmp_path: Path) -> None:
    report = with_cascades(kept, front_report(kept, "quickstart"))
    assert 1 <= len(report.cascades) <= 6
    losses = [one.expected.at_most for one in report.cascades]
    assert losses == sorted(losses, reverse=True)
    speeds = [one.found.price.mean_ms for one in report.cascades]
    assert speeds == sorted(speeds)
    console = Console(file=io.StringIO(), width=120)
    console.print(as_table(report))
    told = console.file.getvalue()  # type: ignore[attr-defined]
    one = report.cascades[0]
    assert f"{one.small.digest[:8]} → {one.large.digest[:8]}" in told
    assert "Cascades: a small model answers" in told
    assert [tree["digest"] for tree in report.to_json()["cascades"]] == [each.digest for each in report.cascades]
    as_html(report, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count('<polygon class="cascade"') == 2 * len(report.cascades), "by latency and by size"
    assert f"<title>{one.summary}: " in page
    assert len(re.findall(r'<tr id="[^"]+" class="cascade">', page)) == len(report.cascades)


def test_a_front_without_cascades_shows_none(store: Store, tmp_path: Path) -> None:
    report = with_cascades(store, front_report(store, "quickstart"))
    assert report.cascades == ()
    as_html(report, tmp_path / "page.html")
    assert "<h2>Cascades</h2>" not in (tmp_path / "page.html").read_text()
