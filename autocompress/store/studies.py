"""Studies: what was asked for, what state they are in, how far they are."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from autocompress.core.metrics import Direction
from autocompress.core.spec import check_study_name
from autocompress.errors import NotFoundError, SpecError, did_you_mean
from autocompress.store.outcomes import storable
from autocompress.store.rows import Counts, StudyRow, StudyState, StudySummary
from autocompress.store.schema import candidates, facts, finalists, leases, proposals, studies

IDENTITY_FACT: Final = "identity"
"""Drawn when a study is made: two of one name, one after the other or in two databases, are told apart by it."""

PROFILE_FACT: Final = "profile"
"""The device profile that a study's costs were predicted with, whole."""

_APART: Final = frozenset({IDENTITY_FACT, PROFILE_FACT})
"""Facts that are read by themselves: few ask for them, and a profile is long."""


def create(
    connection: Connection,
    name: str,
    *,
    given: Mapping[str, Any],
    resolved: Mapping[str, Any],
    fingerprint: Mapping[str, Any],
    objectives: Mapping[str, Direction],
    known: Mapping[str, Any] | None = None,
) -> None:
    """A new study with its lease row, and with facts that are `known` of it. Raises SpecError when the name is taken or
    is none."""
    try:
        check_study_name(name)
    except ValueError as error:
        raise SpecError(str(error)) from error
    try:
        study_id = connection.execute(
            insert(studies)
            .values(
                name=name,
                state="created",
                objectives=dict(objectives),
                created_at=datetime.now(UTC),
                given=dict(given),
                resolved=dict(resolved),
                fingerprint=dict(fingerprint),
            )
            .returning(studies.c.id)
        ).scalar_one()
    except IntegrityError as error:
        raise SpecError(
            f"a study named {name!r} exists already; continue it with `autocompress resume {name}`, or give the new "
            "one another name"
        ) from error
    connection.execute(insert(leases).values(study_id=study_id, generation=0, writes=0))
    for key, value in {**(known or {}), IDENTITY_FACT: uuid.uuid4().hex}.items():
        set_fact(connection, study_id, key, value)


def find(connection: Connection, name: str) -> int:
    """The study's id. Raises NotFoundError, naming the nearest study there is."""
    study_id = connection.execute(select(studies.c.id).where(studies.c.name == storable(name))).scalar_one_or_none()
    if study_id is None:
        names = connection.execute(select(studies.c.name)).scalars().all()
        raise NotFoundError(f"there is no study {name[:200]!r}; {did_you_mean(name[:200], names)}")
    return int(study_id)


def read(connection: Connection, study_id: int) -> StudyRow:
    row = connection.execute(
        select(studies, leases.c.written_at)
        .join(leases, leases.c.study_id == studies.c.id)
        .where(studies.c.id == study_id)
    ).one()
    known = connection.execute(select(facts.c.key, facts.c.value).where(facts.c.study_id == study_id))
    _check_mappings(row)
    return StudyRow(
        name=row.name,
        state=row.state,
        given=row.given,
        resolved=row.resolved,
        fingerprint=row.fingerprint,
        objectives=row.objectives,
        facts={row.key: row.value for row in known if row.key not in _APART},
        created=row.created_at,
        updated=row.written_at or row.created_at,
    )


def fact(connection: Connection, study_id: int, key: str) -> Any:
    """One fact, also of those that are read by themselves; None where it is not known."""
    return connection.execute(
        select(facts.c.value).where(facts.c.study_id == study_id, facts.c.key == key)
    ).scalar_one_or_none()


def folder_name(connection: Connection, study_id: int) -> str:
    """Of the study's files: its name, and its identity where it has one. Studies of before have none."""
    name = connection.execute(select(studies.c.name).where(studies.c.id == study_id)).scalar_one()
    identity = fact(connection, study_id, IDENTITY_FACT)
    return str(name) if identity is None else f"{name}-{str(identity)[:8]}"


def _check_mappings(row: Any) -> None:
    """Raises ValueError for a study whose parts are not what every reader takes them for."""
    for part in ("given", "resolved", "fingerprint", "objectives"):
        if not isinstance(getattr(row, part), Mapping):
            raise ValueError(f"study {row.name!r}: {part} is no mapping")
    bounds = row.resolved.get("constraints") or {}
    if not isinstance(bounds, Mapping) or not all(isinstance(bound, Mapping) for bound in bounds.values()):
        raise ValueError(f"study {row.name!r}: resolved.constraints is no mapping of bounds")


def summaries(connection: Connection) -> dict[int, StudySummary]:
    """Every study by its id, the oldest first."""
    counted = counts(connection)
    rows = connection.execute(
        select(studies.c.id, studies.c.name, studies.c.state, studies.c.created_at, leases.c.written_at)
        .join(leases, leases.c.study_id == studies.c.id)
        .order_by(studies.c.id)
    )
    return {
        row.id: StudySummary(
            name=row.name,
            state=row.state,
            counts=counted.get(row.id, Counts()),
            created=row.created_at,
            last_activity=row.written_at or row.created_at,
        )
        for row in rows
    }


def counts(connection: Connection, study_id: int | None = None) -> dict[int, Counts]:
    """Study id -> counts, for one study or for all. Counted by the database, on its indexes."""
    found: dict[int, dict[str, int]] = {}
    for study, state, many in connection.execute(
        _of(study_id, candidates.c.study_id, candidates.c.state, func.count())
        .group_by(candidates.c.study_id, candidates.c.state)
    ):  # fmt: skip
        found.setdefault(study, {})[state] = many
    for tally in found.values():
        tally["candidates"] = sum(tally.values())
    for study, many, first in connection.execute(
        _of(study_id, proposals.c.study_id, func.count(), func.count(proposals.c.candidate_id.distinct()))
        .group_by(proposals.c.study_id)
    ):  # fmt: skip
        found[study].update(proposals=many, repeated=many - first)
    for study, state, many in connection.execute(
        _of(study_id, finalists.c.study_id, finalists.c.state, func.count())
        .where(finalists.c.position > 0, finalists.c.state != "nominated")
        .group_by(finalists.c.study_id, finalists.c.state)
    ):  # fmt: skip
        found[study][state] = many
    return {study: Counts(**tally) for study, tally in found.items()}


def set_state(connection: Connection, study_id: int, state: StudyState) -> None:
    connection.execute(update(studies).where(studies.c.id == study_id).values(state=state))


def set_resolved(connection: Connection, study_id: int, resolved: Mapping[str, Any]) -> None:
    connection.execute(update(studies).where(studies.c.id == study_id).values(resolved=dict(resolved)))


def set_fact(connection: Connection, study_id: int, key: str, value: Any) -> None:
    mine = (facts.c.study_id == study_id, facts.c.key == key)
    if not connection.execute(update(facts).where(*mine).values(value=value)).rowcount:
        connection.execute(insert(facts).values(study_id=study_id, key=key, value=value))


def remove(connection: Connection, study_id: int) -> None:
    """Everything the database knows of a study. Its artifact files stay."""
    connection.execute(delete(studies).where(studies.c.id == study_id))


def _of(study_id: int | None, study: Any, *columns: Any) -> Any:
    query = select(study, *columns)
    return query if study_id is None else query.where(study == study_id)
