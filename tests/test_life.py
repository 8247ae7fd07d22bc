"""How a study's run begins and ends, where nothing has to be trained to see it."""

from __future__ import annotations

from pathlib import Path

from autocompress.store import Store
from autocompress.study.life import never_begun
from autocompress.testing import OBJECTIVES


def test_a_study_that_was_stopped_as_soon_as_it_was_made_waits_to_be_resumed(tmp_path: Path) -> None:
    with Store.open(str(tmp_path / "studies.db")) as store:
        never_begun(store, "mine")
        assert store.studies() == [], "stopped before it was made: nothing to say"
        store.create_study("mine", given={}, resolved={}, fingerprint={}, objectives=OBJECTIVES)
        never_begun(store, "mine")
        assert store.study("mine").state == "interrupted"
        with store.lease("mine") as lease:
            store.set_state(lease, "failed")
        never_begun(store, "mine")
        assert store.study("mine").state == "failed", "whatever has begun says itself how it ends"
