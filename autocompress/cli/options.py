"""Options and arguments that several commands share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from autocompress.cli.completion import stored_candidates, stored_studies, verified_candidates
from autocompress.cli.session import Session, session_of

StudyName = Annotated[str, typer.Argument(metavar="STUDY", help="A stored study.", autocompletion=stored_studies)]
Candidate = Annotated[
    str,
    typer.Argument(
        metavar="CANDIDATE",
        help="The beginning of a digest, or a candidate's number.",
        autocompletion=stored_candidates,
    ),
]
VERIFIED = "A verified finalist: its number, or how its digest begins."
Finalist = Annotated[str, typer.Argument(metavar="CANDIDATE", help=VERIFIED, autocompletion=verified_candidates)]
Storage = Annotated[
    str | None,
    typer.Option(
        "--storage",
        metavar="URL",
        help="The study database: a file, sqlite:///FILE or postgresql://... "
        "[default: $AUTOCOMPRESS_STORAGE, else ./autocompress.db]",
        show_default=False,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
Out = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="The folder to write the model to.")]
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Kept for older scripts: an earlier export is replaced without it, anything else never."
    ),
]


def note_force(session: Session, force: bool) -> None:
    """For who still gives it: nothing is replaced that would not be without it."""
    if force:
        session.say(
            "--force changes nothing: an earlier export is replaced without it, anything else never", style="dim"
        )


_NUMBER_DIGITS = 6  # a longer run of digits is the beginning of a digest


def reference(candidate: str) -> int | str:
    """What `Store.record` takes: a candidate's number, or the beginning of its digest."""
    return int(candidate) if candidate.isdecimal() and len(candidate) <= _NUMBER_DIGITS else candidate


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Errors and results only.")]
Verbose = Annotated[
    int, typer.Option("--verbose", "-v", count=True, show_default=False, help="Say more; -vv says all.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]


def narrated(command: Callable[..., None]) -> Callable[..., None]:
    """The command with `--quiet`, `--verbose` and `--debug` of its own, so that they may stand where people write them:
    behind the command's name."""

    @functools.wraps(command)
    def call(*, quiet: bool, verbose: int, debug: bool, **given: Any) -> None:
        session = session_of(given["context"])
        session.quiet, session.verbosity, session.debug = quiet, verbose, debug
        session.start_logging()
        command(**given)

    signature = inspect.signature(command, eval_str=True)
    shared = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, default, annotation in (("quiet", False, Quiet), ("verbose", 0, Verbose), ("debug", False, Debug))
    ]
    vars(call)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), *shared])
    return call
