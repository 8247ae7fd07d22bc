"""Files of exported models that a database knows by their content, whatever the study."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection, select

from autocompress.store.outcomes import storable
from autocompress.store.rows import ROW_SCORES, KnownFile
from autocompress.store.schema import artifacts, candidates, studies


def known(connection: Connection, digests: Collection[str]) -> list[KnownFile]:
    """Every stored file that has one of these SHA-256."""
    rows = connection.execute(
        select(studies.c.name, candidates.c.digest, artifacts.c.path, artifacts.c.sha256)
        .join(candidates, candidates.c.id == artifacts.c.candidate_id)
        .join(studies, studies.c.id == candidates.c.study_id)
        .where(artifacts.c.sha256.in_(sorted(digests)))
        .order_by(studies.c.name, artifacts.c.path)
    )
    return [KnownFile(row.name, row.digest, row.path, row.sha256) for row in rows]


def has_exported(connection: Connection, name: str, digest: str) -> bool:
    """Whether a study of that name keeps files of that candidate."""
    found = (
        select(artifacts.c.path)
        .join(candidates, candidates.c.id == artifacts.c.candidate_id)
        .join(studies, studies.c.id == candidates.c.study_id)
        .where(
            studies.c.name == storable(name), candidates.c.digest == storable(digest), artifacts.c.kind != ROW_SCORES
        )
    )
    return connection.execute(found.limit(1)).one_or_none() is not None
