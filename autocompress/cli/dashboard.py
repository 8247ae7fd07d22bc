"""`dashboard`: a study in the browser."""

from __future__ import annotations

import contextlib
from typing import Annotated

import typer

from autocompress.cli.options import Storage, StudyName
from autocompress.cli.session import session_of


def dashboard(
    context: typer.Context,
    study: StudyName,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="PORT", help="Where to serve it; 0 takes any port that is free.")
    ] = 8080,
    storage: Storage = None,
) -> None:
    """Look at a study in optuna-dashboard.

    A copy of the study as it stands, in memory, shown to this machine alone; Ctrl-C ends it.
    """
    from autocompress.report import dashboard as dashboards
    from autocompress.store import Store

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        copy = dashboards.in_optuna(store, study)
    with dashboards.listening(dashboards.application(copy), port) as server:
        session.data(f"http://{dashboards.LOOPBACK}:{server.server_port}/dashboard/")
        session.say("a copy of this moment; Ctrl-C ends it", style="dim")
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
