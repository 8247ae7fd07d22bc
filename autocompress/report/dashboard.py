"""A study in optuna-dashboard: a copy in memory, shown to this machine alone.

Optuna knows one kind of trial, so there are two studies: candidates, with the point of the space that was proposed and
what the search knew of them, and finalists, with what was measured of their files. The copy is of one moment, and
whatever is done to it in the browser changes nothing of ours.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from autocompress.core.metrics import Direction
from autocompress.core.outcome import Evaluated, Failed, Infeasible, Outcome, values
from autocompress.core.policy import Setting
from autocompress.core.stored_parts import parts_from_json
from autocompress.errors import HostError
from autocompress.report.notebook import first_points
from autocompress.report.policies import explain_policy
from autocompress.store import Store

optuna.logging.set_verbosity(optuna.logging.WARNING)

LOOPBACK: Final = "127.0.0.1"
FINALISTS: Final = "finalists"

Parameters = Mapping[str, Setting]
Wsgi = Callable[..., Iterable[bytes]]


def in_optuna(store: Store, name: str) -> InMemoryStorage:
    """Copies a study as it stands: `NAME` with its candidates, and `NAME: finalists` where there are any.

    Raises NotFoundError where there is no such study.
    """
    row, storage = store.study(name), InMemoryStorage()
    shape = parts_from_json(row.facts.get("shape"))
    outcomes = {record.candidate.digest: record for record in store.records(name)}
    points = first_points(store, name)
    distributions = _distributions(points.values())

    def about(digest: str) -> dict[str, Any]:
        return {"candidate": digest, "model": explain_policy(outcomes[digest].candidate.policy, shape).summary}

    candidates = _study(storage, name, row.objectives)
    for record in outcomes.values():
        told = about(record.candidate.digest) | _known(record.outcome)
        point = points.get(record.candidate.digest, {})
        candidates.add_trial(_trial(row.objectives, record.outcome, point, distributions, told))
    finalists = [one for one in store.finalists(name) if one.measurements]
    if finalists:
        verified = _study(storage, f"{name}: {FINALISTS}", row.objectives)
        for one in finalists:
            told = about(one.candidate.digest) | values(one.measurements) | {"state": one.state}
            point = points.get(one.candidate.digest, {})
            verified.add_trial(_trial(row.objectives, Evaluated(one.measurements), point, distributions, told))
    return storage


def _study(storage: InMemoryStorage, name: str, objectives: Mapping[str, Direction]) -> optuna.Study:
    study = optuna.create_study(storage=storage, study_name=name, directions=list(objectives.values()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)  # it has been there for years
        study.set_metric_names(list(objectives))
    return study


def _trial(
    objectives: Mapping[str, Direction],
    outcome: Outcome | None,
    point: Parameters,
    distributions: Mapping[str, BaseDistribution],
    told: Mapping[str, Any],
) -> FrozenTrial:
    """Complete where every objective is known; what broke a bound or failed is a failed trial, that says why."""
    known = values(outcome.measurements) if isinstance(outcome, Evaluated) else {}
    complete = bool(objectives) and all(metric in known for metric in objectives)
    state = TrialState.COMPLETE if complete else TrialState.FAIL if outcome else TrialState.WAITING
    return optuna.create_trial(
        state=state,
        values=[known[metric] for metric in objectives] if complete else None,
        params=dict(point),
        distributions={name: distributions[name] for name in point},
        user_attrs=dict(told),
    )


def _known(outcome: Outcome | None) -> dict[str, Any]:
    if isinstance(outcome, Failed):
        return {"failed": f"{outcome.stage}: {outcome.error}: {outcome.message}"}
    if isinstance(outcome, Infeasible):
        return {"infeasible": outcome.constraint, **values(outcome.measurements)}
    return {} if outcome is None else values(outcome.measurements)


def _distributions(points: Iterable[Parameters]) -> dict[str, BaseDistribution]:
    """As wide as what was proposed: numbers between their ends, words and switches one of those seen."""
    seen: dict[str, list[Setting]] = {}
    for point in points:
        for name, value in point.items():
            seen.setdefault(name, []).append(value)
    return {name: _distribution(found) for name, found in seen.items()}


def _distribution(found: Sequence[Setting]) -> BaseDistribution:
    numbers = [value for value in found if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) < len(found):
        return CategoricalDistribution(tuple(dict.fromkeys(found)))
    low, high = min(numbers), max(numbers)
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high)
    return FloatDistribution(low, high if high > low else math.nextafter(low, math.inf))


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing: each page asks many times a minute."""


def application(storage: InMemoryStorage) -> Wsgi:
    """Raises HostError where optuna-dashboard is not installed."""
    try:
        import optuna_dashboard
    except ModuleNotFoundError as error:
        raise HostError(
            "a dashboard needs optuna-dashboard, which is not installed; install it with "
            "`pip install 'autocompress[dashboard]'`"
        ) from error
    app: Wsgi = optuna_dashboard.wsgi(storage)
    return app


@contextmanager
def listening(app: Wsgi, port: int) -> Iterator[WSGIServer]:
    """A server on this machine's own address, which others do not reach; port 0: any that is free. Raises HostError
    where the port is taken."""
    try:
        server = make_server(LOOPBACK, port, app, handler_class=_Quiet)
    except OSError as error:
        raise HostError(f"port {port} of this machine: {error.strerror}; give another one with --port") from error
    with server:
        yield server
