"""The study database: every proposal, candidate, measurement and front, in SQLite or PostgreSQL.

    with Store.open() as store, store.lease("my-study") as lease:
        proposed = store.propose(lease, proposal, policy)

Readers need no lease; whoever writes holds the study's lease, and only one process does at a time.
"""

from autocompress.store.lease import Lease
from autocompress.store.rows import (
    ROW_SCORES,
    Artifact,
    Counts,
    Finalist,
    FinalistState,
    Proposed,
    StudyRow,
    StudyState,
    StudySummary,
)
from autocompress.store.store import Store
from autocompress.store.studies import PROFILE_FACT
from autocompress.store.versions import upgrade

__all__ = [
    "PROFILE_FACT",
    "ROW_SCORES",
    "Artifact",
    "Counts",
    "Finalist",
    "FinalistState",
    "Lease",
    "Proposed",
    "Store",
    "StudyRow",
    "StudyState",
    "StudySummary",
    "upgrade",
]
