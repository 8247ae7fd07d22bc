"""The tables. A change here needs a revision in `migrations/versions/`; a test compares the two."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

from autocompress.core.outcome import Source, Stage
from autocompress.store.rows import FinalistState, StudyState

VERSION_TABLE = "autocompress_version"

# Named constraints: SQLite can only alter a table by copying it, and Alembic can only drop what has a name.
metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


class Utc(TypeDecorator[datetime]):
    """A moment in UTC. SQLite keeps no time zone, so it is put back on the way out."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        moment: datetime = value
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _one_of(column: str, literal: Any, name: str) -> CheckConstraint:
    names = ", ".join(f"'{value}'" for value in get_args(literal))
    return CheckConstraint(f"{column} IN ({names})", name=name)


def _study(*, primary_key: bool = False) -> Column[int]:
    study = ForeignKey("studies.id", ondelete="CASCADE")
    return Column("study_id", Integer, study, primary_key=primary_key, nullable=False)


def _candidate(*, primary_key: bool = False) -> Column[int]:
    candidate = ForeignKey("candidates.id", ondelete="CASCADE")
    return Column("candidate_id", Integer, candidate, primary_key=primary_key, nullable=False)


# `objectives` stands before the long documents: every finish reads it, and SQLite reads a row up to the last column
# it was asked for.
studies = Table(
    "studies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(128), nullable=False, unique=True),
    Column("state", String(16), nullable=False),
    Column("objectives", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("given", JSON, nullable=False),
    Column("resolved", JSON, nullable=False),
    Column("fingerprint", JSON, nullable=False),
    _one_of("state", StudyState, "state"),
)

facts = Table(
    "facts",
    metadata,
    _study(primary_key=True),
    Column("key", String(128), primary_key=True),
    Column("value", JSON, nullable=False),
)

# One row per study, made with the study and kept: `generation` must never go back. `writes` counts the holder's
# transactions, which tells a commit that landed from one that was lost with the connection.
leases = Table(
    "leases",
    metadata,
    _study(primary_key=True),
    Column("generation", Integer, nullable=False),
    Column("writes", BigInteger, nullable=False),
    Column("owner", String(32)),
    Column("host", String(255)),
    Column("pid", Integer),
    Column("kernel", String(128)),
    Column("started", BigInteger),
    Column("expires", Double),
    Column("expires_at", Utc),
    Column("acquired_at", Utc),
    Column("written_at", Utc),
    CheckConstraint(
        "(owner IS NULL) = (pid IS NULL) AND (owner IS NULL) = (host IS NULL) AND (owner IS NULL) = (expires IS NULL)",
        name="holder",
    ),
)

candidates = Table(
    "candidates",
    metadata,
    Column("id", Integer, primary_key=True),
    _study(),
    Column("number", Integer, nullable=False),
    Column("digest", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("rung", Integer),
    Column("seconds", Double, nullable=False),
    Column("broken_constraint", Text),
    Column("stage", String(16)),
    Column("error", Text),
    Column("message", Text),
    Column("traceback", Text),
    Column("policy", JSON, nullable=False),
    Column("provenance", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("started_at", Utc),
    Column("finished_at", Utc),
    UniqueConstraint("study_id", "number"),
    UniqueConstraint("study_id", "digest"),
    Index(None, "study_id", "state"),
    CheckConstraint("state IN ('pending', 'running', 'evaluated', 'infeasible', 'failed')", name="state"),
    CheckConstraint("number >= 0 AND attempt >= 0 AND seconds >= 0", name="counted"),
    CheckConstraint("state <> 'running' OR (attempt >= 1 AND started_at IS NOT NULL)", name="running"),
    CheckConstraint("(state IN ('pending', 'running')) = (finished_at IS NULL)", name="finished"),
    CheckConstraint("(finished_at IS NULL) = (rung IS NULL)", name="rung"),
    CheckConstraint("(state = 'infeasible') = (broken_constraint IS NOT NULL)", name="infeasible"),
    CheckConstraint(
        "(state = 'failed') = (stage IS NOT NULL) AND (stage IS NULL) = (error IS NULL) "
        "AND (stage IS NULL) = (message IS NULL) AND (stage IS NULL) = (traceback IS NULL)",
        name="failed",
    ),
    _one_of("stage", Stage, "stage"),
)

proposals = Table(
    "proposals",
    metadata,
    _study(primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    _candidate(),
    Column("parameters", JSON, nullable=False),
    Column("attributes", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index(None, "candidate_id"),  # without it, deleting a candidate scans the whole log
    CheckConstraint("number >= 0", name="counted"),
)

measurements = Table(
    "measurements",
    metadata,
    _candidate(primary_key=True),
    Column("rung", Integer, primary_key=True, autoincrement=False),
    Column("metric", String(64), primary_key=True),
    Column("position", Integer, nullable=False),
    Column("value", Double, nullable=False),
    Column("unit", String(32), nullable=False),
    Column("source", String(16), nullable=False),
    Column("low", Double),
    Column("high", Double),
    Column("samples", JSON, nullable=False),
    Column("device", String(64)),
    _one_of("source", Source, "source"),
    CheckConstraint("(low IS NULL) = (high IS NULL)", name="interval"),
)

finalists = Table(
    "finalists",
    metadata,
    _candidate(primary_key=True),
    _study(),
    Column("position", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("provenance", JSON, nullable=False),
    Column("nominated_at", Utc, nullable=False),
    Column("concluded_at", Utc),
    UniqueConstraint("study_id", "position"),
    _one_of("state", FinalistState, "state"),
    CheckConstraint("(state = 'nominated') = (concluded_at IS NULL)", name="concluded"),
)

artifacts = Table(
    "artifacts",
    metadata,
    _candidate(primary_key=True),
    Column("path", String(512), primary_key=True),
    Column("kind", String(32), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    CheckConstraint("length(sha256) = 64 AND bytes >= 0", name="content"),
)

# Derived from the rows above and kept in step with them in the same transaction; `rebuild_front` derives it anew.
front = Table(
    "front",
    metadata,
    _study(primary_key=True),
    Column("rung", Integer, primary_key=True, autoincrement=False),
    _candidate(primary_key=True),
    Index(None, "candidate_id"),
)
