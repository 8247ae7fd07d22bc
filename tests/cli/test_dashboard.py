"""A study in optuna-dashboard, asked over HTTP as a browser asks."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from autocompress.report import dashboard
from autocompress.store import Store

from .conftest import Run


@pytest.fixture
def asked(store: Store) -> Iterator[dict[str, Any]]:
    """What the dashboard says of every study, by name."""
    app = dashboard.application(dashboard.in_optuna(store, "quickstart"))
    with dashboard.listening(app, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:

            def get(path: str) -> Any:
                with urllib.request.urlopen(f"http://{dashboard.LOOPBACK}:{server.server_port}{path}") as answer:
                    return json.load(answer)

            listed = get("/api/studies")["study_summaries"]
            yield {one["study_name"]: get(f"/api/studies/{one['study_id']}") for one in listed}
        finally:
            server.shutdown()
            thread.join()


def test_it_shows_candidates_and_finalists_with_the_values_that_are_stored(asked: dict[str, Any], store: Store) -> None:
    assert set(asked) == {"quickstart", "quickstart: finalists"}
    finalists = {one.candidate.digest: one for one in store.finalists("quickstart")}
    shown = {
        next(each["value"] for each in trial["user_attrs"] if each["key"] == "candidate"): trial
        for trial in asked["quickstart: finalists"]["trials"]
    }
    assert set(shown) == set(finalists)
    objectives = list(store.study("quickstart").objectives)
    for digest, trial in shown.items():
        known = {one.metric: one.value for one in finalists[digest].measurements}
        assert trial["values"] == [known[metric] for metric in objectives]
    assert asked["quickstart"]["objective_names"] == objectives


def test_what_broke_a_bound_or_failed_is_there_and_says_why(asked: dict[str, Any], store: Store) -> None:
    trials = asked["quickstart"]["trials"]
    assert len(trials) == len(store.records("quickstart"))
    told = [{each["key"]: each["value"] for each in trial["user_attrs"]} for trial in trials]
    assert any("infeasible" in one for one in told)
    assert any("failed" in one for one in told)
    for one, trial in zip(told, trials, strict=True):
        assert trial["state"] == ("Fail" if "infeasible" in one or "failed" in one else "Complete")


def test_a_port_that_is_taken_is_an_error_that_names_the_option(store: Store, run: Run) -> None:
    with dashboard.listening(dashboard.application(dashboard.in_optuna(store, "quickstart")), 0) as server:
        ended = run("dashboard", "quickstart", "--port", str(server.server_port))
    assert ended.code == 4
    assert f"port {server.server_port} of this machine" in ended.err
    assert "--port" in ended.err


def test_a_study_that_is_not_there_is_named(store: Store, run: Run) -> None:
    ended = run("dashboard", "quickstrt", "--port", "0")
    assert ended.code == 3
    assert "quickstart" in ended.err
