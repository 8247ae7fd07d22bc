"""The study database as the rest of the program sees it: one method, one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar, final

from sqlalchemy import Connection

from autocompress.core.metrics import Direction
from autocompress.core.outcome import RUNG_SLICED, Candidate, Infeasible, Measurements, Outcome, Proposal, Record
from autocompress.core.policy import CompressionPolicy, Setting
from autocompress.errors import StoreError
from autocompress.store import candidates, exports, finalists, front, integrity, lease, studies, versions
from autocompress.store.address import artifact_folder, database_file, is_sqlite, parse_address, shown
from autocompress.store.database import Database, create_file
from autocompress.store.lease import Lease
from autocompress.store.rows import Artifact, Counts, Finalist, KnownFile, Proposed, StudyRow, StudyState, StudySummary

T = TypeVar("T")
_Told = TypeVar("_Told", StudyRow, StudySummary)


@final
class Store:
    """Every study of one database. Made by `Store.open`.

    Methods that change a study take its lease and raise StudyLockedError, having stored nothing, once the lease is no
    longer the valid one. Any method raises NotFoundError for an unknown study, and StoreError when the database is
    locked, full, damaged, read-only or out of reach.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    @staticmethod
    def open(url: str | None = None, *, create: bool = True) -> Store:
        """Open the database at a file path, a `sqlite:///` or a `postgresql://` URL; by default at
        $AUTOCOMPRESS_STORAGE, else at ./autocompress.db.

        Raises NotFoundError when it is not there and `create` is off, HostError when it needs what is not installed,
        SchemaError when it belongs to another version.
        """
        address = parse_address(url)
        if is_sqlite(address):
            file = database_file(address)
            if file.is_dir():
                raise StoreError(f"{file}: a folder, not a study database; name a file in it")
            if not file.exists():
                if not create:
                    raise versions.not_found(str(file))
                create_file(address)
        database = Database(address)
        try:
            versions.prepare(database, create=create)
        except BaseException:
            database.close()
            raise
        return Store(database)

    @property
    def url(self) -> str:
        """The database's URL with the password masked."""
        return shown(self._database.url)

    @property
    def artifacts(self) -> Path:
        """The folder that artifact paths are relative to; it need not exist yet."""
        return artifact_folder(self._database.url)

    @property
    def places(self) -> tuple[Path, ...]:
        """Where everything is kept: nothing is exported over it, around it or into it."""
        url = self._database.url
        return (*((database_file(url).absolute(),) if is_sqlite(url) else ()), self.artifacts)

    def folder(self, name: str) -> Path:
        """Where the files of a study lie, if it made any. Another study of the same name never finds them: not after
        this one was removed, nor from another database beside this one."""
        return self.artifacts / self._read(name, studies.folder_name)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    # Studies

    def create_study(
        self,
        name: str,
        *,
        given: Mapping[str, Any],
        resolved: Mapping[str, Any],
        fingerprint: Mapping[str, Any],
        objectives: Mapping[str, Direction],
    ) -> None:
        """Raises SpecError when the name is taken, naming `autocompress resume`."""
        with self._database.transaction() as connection:
            studies.create(
                connection, name, given=given, resolved=resolved, fingerprint=fingerprint, objectives=objectives
            )

    def new_study(
        self,
        name: str,
        *,
        given: Mapping[str, Any],
        resolved: Mapping[str, Any],
        fingerprint: Mapping[str, Any],
        objectives: Mapping[str, Direction],
        facts: Mapping[str, Any] | None = None,
        seconds: float = 60.0,
    ) -> AbstractContextManager[Lease]:
        """A study that is held from its first moment: nobody else can take it for one that never began. It begins with
        these `facts`. Raises SpecError as `create_study` does."""

        def made(connection: Connection) -> int:
            studies.create(
                connection,
                name,
                given=given,
                resolved=resolved,
                fingerprint=fingerprint,
                objectives=objectives,
                known=facts,
            )
            return studies.find(connection, name)

        return lease.hold(self._database, name, made, seconds=seconds)

    def study(self, name: str) -> StudyRow:
        """`searching` and `verifying` is what somebody does: where nobody does any more, as after a kill or on a disk
        that was too full for a last word, a study is interrupted."""

        def work(connection: Connection, study_id: int) -> StudyRow:
            return self._as_it_is(connection, {study_id: studies.read(connection, study_id)})[0]

        return self._read(name, work)

    def studies(self) -> list[StudySummary]:
        """Every study, the oldest first; its state as `study` tells it."""
        return self._database.read(lambda connection: self._as_it_is(connection, studies.summaries(connection)))

    def _as_it_is(self, connection: Connection, found: Mapping[int, _Told]) -> list[_Told]:
        under_way = [study_id for study_id, one in found.items() if one.state in ("searching", "verifying")]
        alive = lease.held(self._database, connection, under_way) if under_way else set()
        left = {one for one in under_way if one not in alive}
        return [replace(one, state="interrupted") if study_id in left else one for study_id, one in found.items()]

    def counts(self, name: str) -> Counts:
        return self._read(name, lambda connection, study: studies.counts(connection, study).get(study, Counts()))

    def set_state(self, lease: Lease, state: StudyState) -> None:
        self._write(lease, lambda connection: studies.set_state(connection, lease.study_id, state))

    def set_fact(self, lease: Lease, key: str, value: Any) -> None:
        """Remember a JSON value under a key of the study; the last one counts."""
        self._write(lease, lambda connection: studies.set_fact(connection, lease.study_id, key, value))

    def fact(self, name: str, key: str) -> Any:
        """One fact of a study, also of those that `study` leaves out as they are long; None where it is not known."""
        return self._read(name, lambda connection, study: studies.fact(connection, study, key))

    def respecify(self, lease: Lease, resolved: Mapping[str, Any], *, facts: Mapping[str, Any]) -> None:
        """Put another resolved spec in the place of a study's, with facts that go with it; it waits to be resumed."""

        def work(connection: Connection) -> None:
            studies.set_resolved(connection, lease.study_id, resolved)
            studies.set_state(connection, lease.study_id, "interrupted")
            for key, value in facts.items():
                studies.set_fact(connection, lease.study_id, key, value)

        self._write(lease, work)

    def delete_study(self, name: str, *, takeover: bool = False) -> None:
        """Forget a study; its artifact files stay. Raises StudyLockedError while it is being run, unless it is to be
        taken over from whoever runs it, whose writes are refused from then on."""
        with self._database.transaction() as connection:
            study_id = studies.find(connection, name)
            if not takeover:
                lease.refuse_if_held(self._database, connection, name, study_id)
            studies.remove(connection, study_id)

    def lease(self, name: str, *, seconds: float = 60.0, takeover: bool = False) -> AbstractContextManager[Lease]:
        """The right to write to a study, renewed by a thread while the context is open.

        A holder that has died on this machine is replaced at once, any other when its lease has run out, and with
        `takeover` even a live one, whose writes are refused from then on. What the former holder left running becomes
        pending. Raises StudyLockedError, naming the holder, otherwise.
        """
        return lease.hold(
            self._database, name, lambda connection: studies.find(connection, name), seconds=seconds, takeover=takeover
        )

    # Candidates

    def propose(
        self,
        lease: Lease,
        proposal: Proposal,
        policy: CompressionPolicy,
        *,
        rejected: Infeasible | None = None,
        rung: int = RUNG_SLICED,
        provenance: Mapping[str, Any] | None = None,
    ) -> Proposed:
        """Log a proposal. A policy not seen before becomes a running candidate, attempt 1, or ends here as `rejected`,
        in one transaction; a known one brings its candidate and outcome."""
        return self._write(
            lease,
            lambda connection: candidates.propose(
                connection,
                lease.study_id,
                lease.generation,
                proposal=proposal,
                policy=policy,
                rejected=rejected,
                rung=rung,
                provenance=provenance or {},
            ),
        )

    def adopt(
        self,
        lease: Lease,
        found: Iterable[Record],
        *,
        points: Mapping[str, Mapping[str, Setting]] | None = None,
        rung: int = RUNG_SLICED,
    ) -> None:
        """Take over candidates that another study judged, all of them or, when that fails, none; with the points of the
        space at which they lie, by digest, as far as these are known."""
        self._write(
            lease,
            lambda connection: candidates.adopt(
                connection, lease.study_id, lease.generation, found, points=points or {}, rung=rung
            ),
        )

    def inherit(
        self,
        lease: Lease,
        baseline: Record | None,
        found: Iterable[tuple[Proposal, Record]],
        *,
        facts: Mapping[str, Any],
        rung: int = RUNG_SLICED,
    ) -> None:
        """Begin with candidates that another study judged, each as it is proposed here, with the baseline if there is
        one, and with facts that go with them: all of it or, when that fails, nothing."""

        def work(connection: Connection) -> None:
            candidates.inherit(connection, lease.study_id, lease.generation, baseline, found, rung=rung)
            for key, value in facts.items():
                studies.set_fact(connection, lease.study_id, key, value)

        self._write(lease, work)

    def insert_baseline(self, lease: Lease) -> Candidate:
        """Candidate 0, pending until `restart` runs it. Nothing happens when it is there."""
        return self._write(
            lease, lambda connection: candidates.insert_baseline(connection, lease.study_id, lease.generation)
        )

    def restart(self, lease: Lease, number: int) -> int:
        """Run a pending or running candidate (again). Returns the attempt, from 1."""
        return self._write(
            lease,
            lambda connection: candidates.restart(connection, lease.study_id, lease.generation, number=number),
        )

    def finish(
        self,
        lease: Lease,
        number: int,
        *,
        attempt: int,
        outcome: Outcome,
        rung: int,
        seconds: float,
        provenance: Mapping[str, Any],
    ) -> bool:
        """Store an outcome, its measurements and the front of its rung. False, and nothing stored, when the candidate
        is not running this attempt: a late result."""
        return self._write(
            lease,
            lambda connection: candidates.finish(
                connection,
                lease.study_id,
                number=number,
                attempt=attempt,
                outcome=outcome,
                rung=rung,
                seconds=seconds,
                provenance=provenance,
            ),
        )

    def records(self, name: str) -> list[Record]:
        """Every candidate with its outcome, by number."""
        return self._read(name, candidates.records)

    def record(self, name: str, ref: int | str) -> Record:
        """One candidate by number, or by the beginning of its digest. Raises SpecError when several begin so."""
        return self._read(name, lambda connection, study: candidates.record(connection, study, ref))

    def measurements(self, name: str, *, rung: int) -> dict[int, Measurements]:
        """Number -> what was measured at a rung, raw samples included."""
        return self._read(name, lambda connection, study: candidates.measured(connection, study, rung=rung))

    def proposals(self, name: str) -> list[tuple[Proposal, str]]:
        """Every proposal with the digest of its candidate, in the order asked."""
        return self._read(name, candidates.log_of_proposals)

    # Finalists and fronts

    def nominate(self, lease: Lease, numbers: Sequence[int]) -> None:
        """Add evaluated candidates to the finalists, in this order; who is one already keeps its place."""
        self._write(lease, lambda connection: finalists.nominate(connection, lease.study_id, numbers=numbers))

    def finalists(self, name: str) -> list[Finalist]:
        """By position; the baseline first, once it was concluded."""
        return self._read(name, finalists.listed)

    def conclude(
        self,
        lease: Lease,
        number: int,
        *,
        verified: bool,
        reason: str,
        measurements: Measurements,
        artifacts: Sequence[Artifact],
        provenance: Mapping[str, Any],
    ) -> None:
        """Store how a finalist, or the baseline, did at the last rung, and the front of those verified."""
        self._write(
            lease,
            lambda connection: finalists.conclude(
                connection,
                lease.study_id,
                number=number,
                verified=verified,
                reason=reason,
                found=measurements,
                files=artifacts,
                provenance=provenance,
            ),
        )

    def remeasure(self, lease: Lease, concluded: Sequence[Finalist]) -> None:
        """Store finalists, and the baseline, as they are after they were measured again: state, reason, measurements
        and provenance; and the front of those verified. All of them or none. Raises StoreError for a candidate that is
        no finalist or was not concluded."""
        self._write(lease, lambda connection: finalists.remeasure(connection, lease.study_id, concluded=concluded))

    def known_files(self, digests: Collection[str]) -> list[KnownFile]:
        """The files of exported models, of any study, that have one of these SHA-256."""
        return self._database.read(lambda connection: exports.known(connection, digests))

    def has_exported(self, name: str, digest: str) -> bool:
        """Whether a study of that name, if there is one, exported that candidate."""
        return self._database.read(lambda connection: exports.has_exported(connection, name, digest))

    def reprice(
        self, lease: Lease, found: Sequence[Record], *, resolved: Mapping[str, Any], facts: Mapping[str, Any]
    ) -> None:
        """Store candidates with the outcomes that they have on another device, all or none, with the spec and the facts
        that go with it. Those without an outcome wait to be judged, finalists to be verified, the study to go on."""

        def work(connection: Connection) -> None:
            studies.set_resolved(connection, lease.study_id, resolved)
            studies.set_state(connection, lease.study_id, "interrupted")
            candidates.reprice(connection, lease.study_id, found)
            finalists.reopen(connection, lease.study_id)
            for key, value in facts.items():
                studies.set_fact(connection, lease.study_id, key, value)

        self._write(lease, work)

    def front(self, name: str, *, rung: int) -> list[int]:
        """The numbers on the Pareto front of a rung."""
        return self._read(name, lambda connection, study: front.members(connection, study, rung=rung))

    def rebuild_front(self, name: str, *, rung: int) -> list[int]:
        """Derive a front anew from the rows and store it. Needs no lease: whoever does it, the result is the same."""
        with self._database.transaction() as connection:
            study_id = studies.find(connection, name)
            lease.holder(connection, study_id)  # keeps a controller's write from coming in between
            return front.rebuild(connection, study_id, rung=rung)

    def check(self, name: str) -> list[str]:
        """Every broken invariant, one line each; empty when all is well. Reads the whole study."""

        def work(connection: Connection, study_id: int) -> list[str]:
            broken = integrity.broken_file(connection) if self._database.is_sqlite else []
            return broken or integrity.broken_rules(connection, study_id, self.artifacts)

        return self._read(name, work)

    def _read(self, name: str, work: Callable[[Connection, int], T]) -> T:
        return self._database.read(lambda connection: work(connection, studies.find(connection, name)))

    def _write(self, held: Lease, work: Callable[[Connection], T]) -> T:
        return held.write(self._database, work)
