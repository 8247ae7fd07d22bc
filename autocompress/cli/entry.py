"""`main`: runs a command, and turns whatever it ends with into a message and an exit code."""

from __future__ import annotations

import contextlib
import errno
import importlib.util
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from autocompress.cli.command_line import hide_secrets
from autocompress.cli.session import Session
from autocompress.cli.streams import careful_streams
from autocompress.core.interruption import exit_code_keeper, interruptible, leave_quietly
from autocompress.core.refusals import host_error, not_loaded
from autocompress.core.secrets import masked, secrets_of
from autocompress.errors import AutocompressError, HostError, Interrupted, NotFoundError

if TYPE_CHECKING:
    from types import TracebackType

UNEXPECTED = 1
INTERRUPTED = Interrupted.exit_code
_UNPRINTED = (errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EBADF)
"""What a write to stdout ends with; whoever writes files names them."""
_COMPLETING = "_AUTOCOMPRESS_COMPLETE"
"""Set by the shell that asks what to offer."""
_STOPPED = "stopped before anything was done. Run it again."
_QUIET = {
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "false",
}
"""Libraries that would write between the lines of a live view, or tell others what is used; read when they are
imported."""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of one command line, by default the process's own."""
    keep = exit_code_keeper() if arguments is None else None
    with interruptible() as switch:
        code = _run(arguments)
        if switch.thrown is not None and code == INTERRUPTED:
            code = switch.exit_code
    if keep is not None:
        leave_quietly(code)
        if switch.thrown is not None:
            keep(code)
    return code


def _run(arguments: Sequence[str] | None) -> int:
    given = sys.argv[1:] if arguments is None else arguments
    if arguments is None:
        hide_secrets(given)
    if importlib.util.find_spec("typer") is None:
        return _bare(given)
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    with careful_streams(secrets := secrets_of(given, os.environ)):
        session = Session()
        code = _ended(session, arguments, secrets)
        return _flushed(session) or code


def _ended(session: Session, arguments: Sequence[str] | None, secrets: set[str]) -> int:
    """The exit code of the command, whose error is told."""
    from autocompress.cli.app import command

    try:
        with _plain_offers():
            command().main(arguments, prog_name="autocompress", obj=session)
    except SystemExit as ended:  # typer's way out, after success, a usage error (2), Ctrl-C (130) or `| head` (1)
        code = ended.code if isinstance(ended.code, int) else int(bool(ended.code))
        if code == INTERRUPTED and not session.warned:  # before the command began
            session.warn(_STOPPED)
        return code
    except AutocompressError as error:
        return _known(session, error)
    except KeyboardInterrupt:
        if not session.warned:
            session.warn(_STOPPED)
        return INTERRUPTED
    except (MemoryError, OSError) as error:
        return _known(session, _of_the_host(error))
    except Exception as error:  # noqa: BLE001 - the last handler there is
        if (missing := not_loaded(error)) is not None:
            return _known(session, missing)
        return _unexpected(session, error, secrets)
    return 0


@contextlib.contextmanager
def _plain_offers() -> Iterator[None]:
    """While the shell asks how a line may go on, rich is not to be found. Typer would load it, for longer than all the
    rest takes, to take its markup out of help texts; ours have none, and `[default: 1]` is to stay."""
    if _COMPLETING not in os.environ:
        yield
        return
    before = sys.modules.get("rich")
    sys.modules["rich"] = None  # type: ignore[assignment] # what the import system takes for absent
    try:
        yield
    finally:
        del sys.modules["rich"]
        if before is not None:
            sys.modules["rich"] = before


def _flushed(session: Session) -> int:
    """The exit code when what was printed does not arrive: a full disk is the machine's fault, a reader that left is
    nobody's. Else 0."""
    try:
        sys.stdout.flush()
    except OSError as error:
        _forget_stdout()
        if isinstance(error, BrokenPipeError):
            return UNEXPECTED
        return _known(session, HostError(f"stdout: cannot be written: {error.strerror or error}"))
    return 0


def _bare(arguments: Sequence[str]) -> int:
    """On a device that has onnxruntime and numpy alone, models are measured; for everything else it lacks too much."""
    if arguments[:1] == ["measure"]:
        from autocompress.deploy.measure import main as measure

        return measure(arguments[1:], program="autocompress measure")
    sys.stderr.write(
        "error: autocompress is not installed here (no typer), so only `measure` works; pip install autocompress\n"
    )
    return HostError.exit_code


def _known(session: Session, error: AutocompressError) -> int:
    if session.debug:
        session.warn(_traceback(error))
    if isinstance(error, Interrupted):  # the user's own wish is no error
        session.warn(str(error))
    else:
        session.warn(f"error: {error}", style="red" if session.err.is_terminal else "")
    return error.exit_code


def _of_the_host(error: MemoryError | OSError) -> AutocompressError:
    """What the machine refuses, wherever that was not expected: still no fault of ours."""
    told: AutocompressError
    if isinstance(error, MemoryError):
        words = str(error) or "none was left"
        told = HostError(f"this machine has too little memory: {words}; close other programs, or ask for less")
    else:
        if _is_nowhere():
            return HostError("the current folder is gone; change to one that is there (`cd`)")
        if error.filename is None and error.errno in _UNPRINTED:
            _forget_stdout()
            return HostError(f"stdout: cannot be written: {error.strerror}")
        if (refused := host_error(error)) is not None:
            return refused
        place = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
        kind = NotFoundError if isinstance(error, FileNotFoundError) else HostError
        told = kind(f"{place}{error.strerror or error}; see where with --debug")
    told.__cause__ = error
    return told


def _forget_stdout() -> None:
    """What is still to be written there goes nowhere: it was said that it cannot be, once is enough."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _is_nowhere() -> bool:
    try:
        os.getcwd()
    except OSError:
        return True
    return False


def _unexpected(session: Session, error: Exception, secrets: set[str]) -> int:
    text = masked(_traceback(error), secrets)
    if session.debug:
        session.warn(text)
    session.warn(f"unexpected error: {type(error).__name__}: {error}", style="red" if session.err.is_terminal else "")
    try:
        handle, path = tempfile.mkstemp(prefix="autocompress-error-", suffix=".txt")
        with os.fdopen(handle, "w", encoding="utf-8", errors="replace") as file:
            file.write(f"{_versions()}\n\n{text}")
        session.warn(f"This is a fault of autocompress. The traceback is in {path}; please report it.")
    except OSError:
        session.warn("This is a fault of autocompress; run the command again with --debug to see the traceback.")
    return UNEXPECTED


def _traceback(error: BaseException) -> str:
    trace: TracebackType | None = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _versions() -> str:
    from autocompress.core.versions import with_python

    return "\n".join(f"{name} {version}" for name, version in with_python().items())
