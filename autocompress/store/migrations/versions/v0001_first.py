"""The first schema. There is no way back from a revision: every upgrade of a file makes a backup copy first."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    for create in (_studies, _candidates, _facts, _leases, _artifacts, _finalists, _front, _measurements, _proposals):
        create()


def _studies() -> None:
    op.create_table(
        "studies",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=128), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("objectives", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("given", sa.JSON(), nullable=False),
        sa.Column("resolved", sa.JSON(), nullable=False),
        sa.Column("fingerprint", sa.JSON(), nullable=False),
        sa.CheckConstraint(
            "state IN ('created', 'searching', 'verifying', 'interrupted', 'failed', 'complete')",
            name=op.f("ck_studies_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_studies")),
        sa.UniqueConstraint("name", name=op.f("uq_studies_name")),
    )


def _candidates() -> None:
    op.create_table(
        "candidates",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("rung", sa.Integer()),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("broken_constraint", sa.Text()),
        sa.Column("stage", sa.String(length=16)),
        sa.Column("error", sa.Text()),
        sa.Column("message", sa.Text()),
        sa.Column("traceback", sa.Text()),
        sa.Column("policy", sa.JSON(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True)),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "(state = 'failed') = (stage IS NOT NULL) AND (stage IS NULL) = (error IS NULL) "
            "AND (stage IS NULL) = (message IS NULL) AND (stage IS NULL) = (traceback IS NULL)",
            name=op.f("ck_candidates_failed"),
        ),
        sa.CheckConstraint(
            "(state = 'infeasible') = (broken_constraint IS NOT NULL)", name=op.f("ck_candidates_infeasible")
        ),
        sa.CheckConstraint(
            "(state IN ('pending', 'running')) = (finished_at IS NULL)", name=op.f("ck_candidates_finished")
        ),
        sa.CheckConstraint(
            "stage IN ('build', 'score', 'train', 'export', 'verify', 'worker')", name=op.f("ck_candidates_stage")
        ),
        sa.CheckConstraint(
            "state <> 'running' OR (attempt >= 1 AND started_at IS NOT NULL)", name=op.f("ck_candidates_running")
        ),
        sa.CheckConstraint(
            "state IN ('pending', 'running', 'evaluated', 'infeasible', 'failed')", name=op.f("ck_candidates_state")
        ),
        sa.CheckConstraint("(finished_at IS NULL) = (rung IS NULL)", name=op.f("ck_candidates_rung")),
        sa.CheckConstraint("number >= 0 AND attempt >= 0 AND seconds >= 0", name=op.f("ck_candidates_counted")),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_candidates_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_candidates")),
        sa.UniqueConstraint("study_id", "digest", name=op.f("uq_candidates_study_id_digest")),
        sa.UniqueConstraint("study_id", "number", name=op.f("uq_candidates_study_id_number")),
    )
    op.create_index(op.f("ix_candidates_study_id_state"), "candidates", ["study_id", "state"], unique=False)


def _facts() -> None:
    op.create_table(
        "facts",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_facts_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "key", name=op.f("pk_facts")),
    )


def _leases() -> None:
    op.create_table(
        "leases",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("writes", sa.BigInteger(), nullable=False),
        sa.Column("owner", sa.String(length=32)),
        sa.Column("host", sa.String(length=255)),
        sa.Column("pid", sa.Integer()),
        sa.Column("kernel", sa.String(length=128)),
        sa.Column("started", sa.BigInteger()),
        sa.Column("expires", sa.Double()),
        sa.Column("expires_at", sa.DateTime(timezone=True)),
        sa.Column("acquired_at", sa.DateTime(timezone=True)),
        sa.Column("written_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "(owner IS NULL) = (pid IS NULL) AND (owner IS NULL) = (host IS NULL) "
            "AND (owner IS NULL) = (expires IS NULL)",
            name=op.f("ck_leases_holder"),
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_leases_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", name=op.f("pk_leases")),
    )


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("path", sa.String(length=512), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("length(sha256) = 64 AND bytes >= 0", name=op.f("ck_artifacts_content")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_artifacts_candidate_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("candidate_id", "path", name=op.f("pk_artifacts")),
    )


def _finalists() -> None:
    op.create_table(
        "finalists",
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("provenance", sa.JSON(), nullable=False),
        sa.Column("nominated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("concluded_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint("(state = 'nominated') = (concluded_at IS NULL)", name=op.f("ck_finalists_concluded")),
        sa.CheckConstraint("state IN ('nominated', 'verified', 'rejected')", name=op.f("ck_finalists_state")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_finalists_candidate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_finalists_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("candidate_id", name=op.f("pk_finalists")),
        sa.UniqueConstraint("study_id", "position", name=op.f("uq_finalists_study_id_position")),
    )


def _front() -> None:
    op.create_table(
        "front",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("rung", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_front_candidate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_front_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "rung", "candidate_id", name=op.f("pk_front")),
    )
    op.create_index(op.f("ix_front_candidate_id"), "front", ["candidate_id"], unique=False)


def _measurements() -> None:
    op.create_table(
        "measurements",
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("rung", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("metric", sa.String(length=64), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.String(length=32), nullable=False),
        sa.Column("source", sa.String(length=16), nullable=False),
        sa.Column("low", sa.Double()),
        sa.Column("high", sa.Double()),
        sa.Column("samples", sa.JSON(), nullable=False),
        sa.Column("device", sa.String(length=64)),
        sa.CheckConstraint(
            "source IN ('measured', 'predicted', 'modelled', 'counted')", name=op.f("ck_measurements_source")
        ),
        sa.CheckConstraint("(low IS NULL) = (high IS NULL)", name=op.f("ck_measurements_interval")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_measurements_candidate_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("candidate_id", "rung", "metric", name=op.f("pk_measurements")),
    )


def _proposals() -> None:
    op.create_table(
        "proposals",
        sa.Column("study_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("candidate_id", sa.Integer(), nullable=False),
        sa.Column("parameters", sa.JSON(), nullable=False),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("number >= 0", name=op.f("ck_proposals_counted")),
        sa.ForeignKeyConstraint(
            ["candidate_id"], ["candidates.id"], name=op.f("fk_proposals_candidate_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["study_id"], ["studies.id"], name=op.f("fk_proposals_study_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("study_id", "number", name=op.f("pk_proposals")),
    )
    op.create_index(op.f("ix_proposals_candidate_id"), "proposals", ["candidate_id"], unique=False)
