"""Every command in one place."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final

import typer

from autocompress.cli import (
    beginning,
    compare,
    compress,
    dashboard,
    database,
    demo,
    devices,
    doctor,
    elsewhere,
    explain,
    files,
    folders,
    front,
    keeping,
    profile,
    report,
    repro,
    retarget,
    runs,
    spaces,
    studies,
    trials,
)
from autocompress.cli.lazy import LazyCommand, LazyGroup
from autocompress.cli.session import session_of
from autocompress.core.versions import with_python

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "all is well",
    1: "unexpected",
    2: "your input",
    3: "not found",
    4: "this machine",
    5: "the study database",
    6: "the search cannot go on",
    7: "a file or a score is not what it was",
    8: "exported, but not sure to keep the bound",
    130: "interrupted, `resume` goes on",
}
_EPILOG: Final = f"Exit codes: {' · '.join(f'{code} {what}' for code, what in EXIT_CODES.items())}."
_NEXT: Final[Mapping[str, str]] = {
    "run": "`autocompress pareto STUDY` shows what was found; `autocompress resume STUDY` goes on after a stop",
    "resume": "`autocompress pareto STUDY` shows what was found",
    "compress": "`autocompress pareto STUDY` shows the models beside it; `autocompress explain STUDY` tells why",
    "demo": "`autocompress compress MODEL --data FILE` does the same with your own",
    "init": "`autocompress check FILE` finds mistakes in what you change; `autocompress run FILE` launches it",
    "check": "`autocompress run FILE` launches a study",
    "spaces": "name one as the `space` of a study; `autocompress run FILE` launches it",
    "profile": "name the file as the `device` of a study; `autocompress devices FILE` shows it",
    "pareto": "`autocompress pick STUDY` takes one; `autocompress show STUDY CANDIDATE` tells of one",
    "pick": "`autocompress verify FOLDER` checks what `--out` wrote; `autocompress explain STUDY` tells why it is so",
    "export": "`autocompress verify FOLDER` checks it",
    "verify": "`autocompress push FOLDER OWNER/NAME` uploads it",
    "studies": "`autocompress pareto STUDY` shows what one found; `autocompress resume STUDY` goes on with one",
    "trials": "`autocompress show STUDY CANDIDATE` tells of one",
    "show": "`autocompress repro STUDY CANDIDATE` judges it again",
    "bundle": "`autocompress measure FOLDER --json` on the device, then `autocompress import-measurements` here",
    "measure": "`autocompress import-measurements STUDY FILE` takes over what `--json` prints",
    "import-measurements": "`autocompress pareto STUDY` shows the front as it is now",
    "retarget": "`autocompress resume STUDY` trains and verifies the finalists of the new study",
}
"""What one does behind a command, where that is not plain: told below its help."""
_COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    runs.run,
    runs.resume,
    compress.compress,
    demo.demo,
    beginning.init,
    front.pareto,
    report.report,
    front.pick,
    compare.compare,
    dashboard.dashboard,
    folders.export,
    folders.verify,
    folders.push,
    elsewhere.bundle,
    elsewhere.measure,
    elsewhere.import_measurements,
    studies.studies,
    trials.trials,
    trials.show,
    explain.explain,
    repro.repro,
    keeping.rm,
    keeping.gc,
    files.check,
    files.schema,
    spaces.spaces,
    devices.devices,
    profile.profile,
    retarget.retarget,
    doctor.doctor,
)


@functools.cache
def command() -> Any:
    """The whole command line, as a click command."""
    program = typer.main.get_command(_app())
    assert isinstance(program, LazyGroup), "it has commands"
    for function in _COMMANDS:
        program.add_command(_lazy(function))
    program.add_command(LazyCommand("list", studies.studies, help="The same as `studies`."))
    database_commands = LazyGroup(name="db", help="The study database.", no_args_is_help=True, rich_markup_mode=None)
    database_commands.add_command(_lazy(database.upgrade))
    program.add_command(database_commands)
    return program


def _lazy(function: Callable[..., None]) -> LazyCommand:
    name = function.__name__.replace("_", "-")
    return LazyCommand(name, function, epilog=f"Next: {_NEXT[name]}." if name in _NEXT else "")


def _app() -> typer.Typer:
    """The program without its commands."""
    app = typer.Typer(
        name="autocompress",
        help="Search smaller, faster versions of a transformer for your device, and verify what you get.",
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,  # plain help starts in half the time, and reads well in a pipe
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
    )
    app.callback(cls=LazyGroup)(_root)
    return app


def _print_versions(context: typer.Context, asked: bool) -> None:
    if asked:
        session_of(context).text("\n".join(f"{name} {number}" for name, number in with_python().items()))
        raise typer.Exit


def _root(
    _: Annotated[
        bool, typer.Option("--version", help="Versions of everything at work.", is_eager=True, callback=_print_versions)
    ] = False,
) -> None:
    """Holds what stands before a command's name."""
