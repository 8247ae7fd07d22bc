"""`db upgrade`: the study database itself."""

from __future__ import annotations

import typer

from autocompress.cli.options import Storage
from autocompress.cli.session import session_of


def upgrade(context: typer.Context, storage: Storage = None) -> None:
    """Bring the database to this version's schema.

    A SQLite file is copied first.
    """
    from autocompress.store import Store
    from autocompress.store import upgrade as upgrade_database

    session = session_of(context)
    backup = upgrade_database(storage)
    with Store.open(storage, create=False) as store:
        session.say(f"{store.url}: at the newest schema" + (f"; the old file is kept as {backup}" if backup else ""))
