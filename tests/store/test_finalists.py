"""Finalists: nominated, concluded once, verified ones on the last front."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from autocompress.core.outcome import RUNG_FINALIST, RUNG_SLICED, Failed
from autocompress.errors import StoreError
from autocompress.store import Artifact, Lease, Store

from . import given

MODEL = b"a model"


def artifact(number: int) -> Artifact:
    return Artifact("onnx", f"trec/{number}/model.onnx", hashlib.sha256(MODEL).hexdigest(), len(MODEL))


def conclude(store: Store, lease: Lease, number: int, *, verified: bool, point: tuple[float, float]) -> None:
    file = store.artifacts / artifact(number).path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(MODEL)
    store.conclude(
        lease,
        number,
        verified=verified,
        reason="parity holds" if verified else "parity broken",
        measurements=given.measured(*point),
        artifacts=[artifact(number)],
        provenance={"epochs": 4},
    )


@pytest.fixture
def _here(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_ARTIFACTS", str(tmp_path_factory.mktemp("artifacts")))


pytestmark = pytest.mark.usefixtures("_here")


@pytest.fixture
def searched(store: Store, lease: Lease) -> Store:
    """The baseline and three candidates, of which 1 and 2 are on the front."""
    store.insert_baseline(lease)
    given.finish(store, lease, 0, given.evaluated(0.95, 9.0), attempt=store.restart(lease, 0))
    for heads, point in ((1, (0.9, 3.0)), (2, (0.8, 2.0)), (3, (0.7, 5.0))):
        given.finished(store, lease, heads, given.evaluated(*point))
    return store


def test_a_finalist_is_read_back_with_everything_known_of_it(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [2, 1])
    conclude(searched, lease, 2, verified=True, point=(0.88, 2.5))

    second, first = searched.finalists("trec")

    assert (second.candidate.number, second.position, second.state) == (2, 1, "verified")
    assert (second.reason, second.provenance) == ("parity holds", {"epochs": 4})
    assert (second.measurements, second.artifacts) == (given.measured(0.88, 2.5), (artifact(2),))
    assert (first.candidate.number, first.position, first.state, first.artifacts) == (1, 2, "nominated", ())
    assert searched.measurements("trec", rung=RUNG_FINALIST) == {2: given.measured(0.88, 2.5)}
    assert searched.check("trec") == []


def test_the_outcome_of_the_search_stays_what_it_was(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [1])
    conclude(searched, lease, 1, verified=False, point=(0.1, 99.0))
    assert searched.record("trec", 1).outcome == given.evaluated(0.9, 3.0)
    assert searched.front("trec", rung=RUNG_SLICED) == [0, 1, 2]


def test_only_verified_finalists_are_on_the_last_front(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [1, 2])
    conclude(searched, lease, 0, verified=False, point=(0.99, 1.0))
    conclude(searched, lease, 1, verified=True, point=(0.9, 3.0))
    conclude(searched, lease, 2, verified=True, point=(0.8, 4.0))
    assert searched.front("trec", rung=RUNG_FINALIST) == [1]
    counts = searched.counts("trec")
    assert (counts.verified, counts.rejected) == (2, 0)

    conclude(searched, lease, 1, verified=False, point=(0.9, 3.0))
    assert searched.front("trec", rung=RUNG_FINALIST) == [2]
    conclude(searched, lease, 0, verified=True, point=(0.99, 1.0))
    assert searched.front("trec", rung=RUNG_FINALIST) == [0]
    assert [one.position for one in searched.finalists("trec")] == [0, 1, 2]
    assert searched.check("trec") == []


def test_nominating_again_keeps_the_order(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [2])
    searched.nominate(lease, [1, 2, 3])
    assert [one.candidate.number for one in searched.finalists("trec")] == [2, 1, 3]


def test_only_evaluated_candidates_become_finalists(searched: Store, lease: Lease) -> None:
    number = given.finished(searched, lease, 9, Failed("build", "ValueError", "x")).number
    with pytest.raises(StoreError, match="is failed; only an evaluated"):
        searched.nominate(lease, [1, number])
    with pytest.raises(StoreError, match="candidate 1 is no finalist"):
        conclude(searched, lease, 1, verified=True, point=(0.9, 3.0))
    assert searched.finalists("trec") == []


def test_what_is_measured_again_replaces_what_was_known_and_moves_the_front(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [1, 2])
    for number, point in ((0, (0.99, 1.0)), (1, (0.9, 3.0)), (2, (0.8, 4.0))):
        conclude(searched, lease, number, verified=number > 0, point=point)
    assert searched.front("trec", rung=RUNG_FINALIST) == [1]
    baseline, first, second = searched.finalists("trec")

    again = [
        replace(baseline, measurements=given.measured(0.99, 2.0)),
        replace(first, measurements=given.measured(0.9, 9.0), provenance={"epochs": 4, "latency": "imported"}),
    ]
    for _ in range(2):
        searched.remeasure(lease, again)
        assert searched.finalists("trec") == [*again, second]
        assert searched.front("trec", rung=RUNG_FINALIST) == [1, 2]

    searched.remeasure(lease, [replace(first, state="rejected", reason="too slow")])
    assert searched.front("trec", rung=RUNG_FINALIST) == [2]
    assert searched.finalists("trec")[1].artifacts == (artifact(1),)
    assert searched.check("trec") == []


def test_measuring_again_is_stored_for_all_or_for_none(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [1, 2])
    conclude(searched, lease, 1, verified=True, point=(0.9, 3.0))
    before = searched.finalists("trec")
    with pytest.raises(StoreError, match="candidate 2 is nominated only; conclude it first"):
        searched.remeasure(lease, [replace(before[0], measurements=given.measured(0.9, 9.0)), before[1]])
    assert searched.finalists("trec") == before


def test_a_missing_or_changed_artifact_is_reported(searched: Store, lease: Lease) -> None:
    searched.nominate(lease, [1, 2])
    for number in (1, 2):
        conclude(searched, lease, number, verified=True, point=(0.9, 3.0))
    (searched.artifacts / artifact(1).path).unlink()
    (searched.artifacts / artifact(2).path).write_bytes(MODEL + b"!")
    missing, changed = searched.check("trec")
    assert "trec/1/model.onnx is missing" in missing
    assert "trec/2/model.onnx has 8 bytes, not 7" in changed


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\\b"])
def test_an_artifact_outside_the_folder_cannot_be_named(path: str) -> None:
    with pytest.raises(ValueError, match="inside the artifact folder"):
        Artifact("onnx", path, "0" * 64, 1)
