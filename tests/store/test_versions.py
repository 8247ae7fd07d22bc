"""Schema versions: every released database opens, an old one is upgraded on a copy, a newer one is refused."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from autocompress.core.outcome import RUNG_FINALIST, RUNG_SLICED, Evaluated, Failed, Infeasible
from autocompress.errors import NotFoundError, SchemaError
from autocompress.store import Store, upgrade
from autocompress.store.schema import VERSION_TABLE, metadata
from autocompress.store.versions import MIGRATIONS, REVISIONS, check_version

from . import given

DATABASES = Path(__file__).parent / "databases"


def _structure(engine: sqlalchemy.Engine) -> dict[str, list[Any]]:
    seen = sqlalchemy.inspect(engine)
    return {
        table: [
            [(column["name"], str(column["type"]), column["nullable"]) for column in seen.get_columns(table)],
            seen.get_pk_constraint(table)["constrained_columns"],
            sorted((key["name"] or "", key["referred_table"]) for key in seen.get_foreign_keys(table)),
            sorted((unique["name"] or "", unique["column_names"]) for unique in seen.get_unique_constraints(table)),
            sorted((check["name"] or "", check["sqltext"]) for check in seen.get_check_constraints(table)),
            sorted((index["name"] or "", index["column_names"]) for index in seen.get_indexes(table)),
        ]
        for table in seen.get_table_names()
        if table != VERSION_TABLE
    }


@pytest.mark.usefixtures("store")
def test_the_revisions_end_in_the_schema_of_the_code(address: str, tmp_path: Path) -> None:
    migrated = sqlalchemy.create_engine(address)
    with migrated.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, metadata) == []
    if migrated.dialect.name == "sqlite":  # Alembic does not compare CHECK constraints
        direct = sqlalchemy.create_engine(f"sqlite:///{tmp_path / 'direct.db'}")
        metadata.create_all(direct)
        assert _structure(migrated) == _structure(direct)
        direct.dispose()
    migrated.dispose()


def test_every_revision_is_known_in_order() -> None:
    found = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    assert tuple(reversed(found)) == REVISIONS


def test_a_database_of_the_first_schema_opens_with_everything_in_it(tmp_path: Path) -> None:
    file = tmp_path / "studies.db"
    shutil.copy(DATABASES / "schema-0001.db", file)
    upgrade(str(file))
    with Store.open(str(file), create=False) as store:
        kinds = [type(record.outcome) for record in store.records("trec")]
        assert kinds == [Evaluated, Evaluated, Infeasible, Failed, type(None), Evaluated]
        assert store.study("trec").facts == {"kendall_tau": 0.9}
        assert [one.state for one in store.finalists("trec")] == ["rejected", "verified", "nominated"]
        assert (store.front("trec", rung=RUNG_SLICED), store.front("trec", rung=RUNG_FINALIST)) == ([0, 1, 5], [1])
        assert store.counts("trec").repeated == 1
        assert [line for line in store.check("trec") if "is missing from" not in line] == []
        with store.lease("trec") as lease:
            assert store.restart(lease, 4) == 2
            assert given.finish(store, lease, 4, given.evaluated(0.99, 0.5), attempt=2)


@pytest.mark.expectation(34)
def test_a_database_of_an_older_schema_is_upgraded_on_request_with_a_backup(file: Path) -> None:
    """An empty version table stands for schema 0: there is no older release yet."""
    with closing(sqlite3.connect(file)) as made:
        made.execute(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)")
    before = file.read_bytes()
    with pytest.raises(SchemaError, match=r"older autocompress .*run `autocompress db upgrade`"):
        Store.open(str(file))
    assert file.read_bytes() == before

    copy = upgrade(str(file))

    assert copy is not None
    assert copy.read_bytes() == before
    assert copy.stat().st_mode & 0o777 == 0o600
    with Store.open(str(file)) as store:
        assert store.studies() == []
    assert upgrade(str(file)) is None


def test_a_database_of_a_newer_schema_is_refused(address: str, store: Store, sql: Callable[[str], list[Any]]) -> None:
    sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    for attempt in (Store.open, upgrade):
        with pytest.raises(SchemaError, match=r"newer autocompress \(schema 9999"):
            attempt(address)
    assert store.studies()[0].name == "trec"


def test_versions_are_told_apart_by_their_order() -> None:
    check_version("0002", "x", known=("0001", "0002"))
    with pytest.raises(SchemaError, match=r"older autocompress \(schema 0001, this one uses 0002\)"):
        check_version("0001", "x", known=("0001", "0002"))
    with pytest.raises(SchemaError, match="newer"):
        check_version("0003", "x", known=("0001", "0002"))


def test_upgrading_nothing_says_so(file: Path) -> None:
    with pytest.raises(NotFoundError, match="there is no study database"):
        upgrade(str(file))
    assert not file.exists()
