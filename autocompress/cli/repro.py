"""`repro`: one candidate of a stored study judged again."""

from __future__ import annotations

import typer

from autocompress.cli.options import Candidate, Json, Storage, StudyName, reference
from autocompress.cli.session import session_of


def repro(
    context: typer.Context, study: StudyName, candidate: Candidate, json: Json = False, storage: Storage = None
) -> None:
    """Judge one candidate again, and store nothing.

    With the spec, the data, the models and the device profile of its study: each metric as it is stored beside what
    came now, and what differs in the environment. What is counted or predicted has to be equal, a measured one to lie
    within its 95 % interval; exit code 7 where one does not. A model that is gone from the cache is trained again,
    which takes minutes. Of a verified finalist the exported file is scored too.
    """
    from autocompress.cli.live import watching
    from autocompress.errors import IntegrityError
    from autocompress.store import Store
    from autocompress.study.judged import judged_record

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        judged_record(store, study, reference(candidate))  # what cannot be is told before anything heavy is loaded
    from autocompress.study.study import open_study

    with open_study(study, storage=storage) as opened, watching(session) as observer:
        found = opened.reproduce(reference(candidate), observer=observer)
    if json:
        session.json(found.to_json())
    else:
        session.data(found)
    if not found.ok:
        raise typer.Exit(IntegrityError.exit_code)
