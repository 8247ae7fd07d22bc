"""`init`: a study's file out of a model and data. What `compress` shares with it stands here."""

from __future__ import annotations

import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autocompress.cli.completion import named_devices
from autocompress.cli.session import Session, session_of
from autocompress.errors import SpecError

if TYPE_CHECKING:
    from autocompress.guessing import Reason
    from autocompress.study.beginning import Asked

Model = Annotated[
    str,
    typer.Argument(
        metavar="MODEL", help="A model's folder, OWNER/NAME on the hub, or `default`: a MiniLM of 6 layers for texts."
    ),
]
Data = Annotated[
    str, typer.Option("--data", metavar="FILE", help="Labelled rows: a file, a folder, or OWNER/NAME on the hub.")
]
Validation = Annotated[
    str | None, typer.Option("--validation", metavar="FILE", help="Rows to compare candidates on. [default: split off]")
]
Test = Annotated[
    str | None, typer.Option("--test", metavar="FILE", help="Rows for finished models alone. [default: split off]")
]
Task = Annotated[
    str | None,
    typer.Option("--task", metavar="KIND", help="The kind of task, as `text-classification`. [default: guessed]"),
]
Text = Annotated[str | None, typer.Option("--text", metavar="COLUMN", help="The column of texts. [default: guessed]")]
Pair = Annotated[
    str | None, typer.Option("--pair", metavar="COLUMN", help="The column of second texts. [default: guessed]")
]
Label = Annotated[
    str | None, typer.Option("--label", metavar="COLUMN", help="The column of labels. [default: guessed]")
]
Minutes = Annotated[
    float,
    typer.Option(
        "--minutes", metavar="M", help="The longest that the whole study may take. [default: 20]", show_default=False
    ),
]
MaxDrop = Annotated[
    str | None,
    typer.Option(
        "--max-drop", metavar="DROP", help="At most this far below the model, as 1pt, 1% or 0.01. [default: 1pt]"
    ),
]
MaxLatency = Annotated[
    str | None,
    typer.Option("--max-latency", metavar="TIME", help="At most this median latency, as 5ms. [default: no bound]"),
]
Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="NAME", help="Where it must run; `host` is this machine.", autocompletion=named_devices
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", metavar="NAME", help="What the study is called. [default: by data and model]")
]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of a study, as `teacher.epochs=2`; repeat it."),
]

_TIME: Final = re.compile(r"(?P<number>(\d+\.?\d*|\.\d+)(e[+-]?\d+)?)\s*(?P<unit>[^\d\s.]*)", re.IGNORECASE)
_MILLISECONDS: Final = {"us": 1e-3, "µs": 1e-3, "ms": 1.0, "s": 1e3}
_MARGIN: Final = 12


def init(
    context: typer.Context,
    model: Model,
    data: Data,
    validation: Validation = None,
    test: Test = None,
    task: Task = None,
    text: Text = None,
    pair: Pair = None,
    label: Label = None,
    minutes: Minutes = 20.0,
    max_drop: MaxDrop = None,
    max_latency: MaxLatency = None,
    device: Device = "host",
    name: Name = None,
    settings: Set = None,
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The file to write.")] = Path("study.yaml"),
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write the study of a model and labelled data.

    Task, columns, splits, lengths and space are guessed, and said with their reasons; a guess that would not be sure is
    refused, with the option that settles it. `compress` runs the same study at once.
    """
    from autocompress.core.paths import expanded
    from autocompress.study.beginning import begin
    from autocompress.study.begun_file import as_yaml

    session = session_of(context)
    out = expanded(out)
    _check_free(out, force=force)
    asked = asked_of(
        model=model,
        data=data,
        validation=validation,
        test=test,
        kind=task,
        named=(text, pair, label),
        minutes=minutes,
        max_latency=max_latency,
        device=device,
        name=name,
        settings=settings,
    )
    begun = begin(asked, base=out.parent)
    drop = drop_of(max_drop, str(begun.spec.task.scored))
    tell(session, begun.reasons)
    _write(out, as_yaml(begun, out, drop=max_drop or f"{drop:g}"), force=force)
    session.wrote(out)
    session.say(f"run it:  autocompress run {shown(out)}", style="dim")


def asked_of(
    *,
    named: tuple[str | None, str | None, str | None],
    max_latency: str | None,
    minutes: float,
    settings: Sequence[str] | None,
    **given: Any,
) -> Asked:
    """What the options say. Raises SpecError for those that cannot be read."""
    from autocompress.guessing import Named
    from autocompress.study.beginning import Asked

    if not (math.isfinite(minutes) and minutes > 0):
        raise SpecError(f"--minutes: must be a number of minutes above 0, got {minutes:g}")
    latency = None if max_latency is None else milliseconds(max_latency)
    pairs = [one.partition("=") for one in settings or ()]
    if wrong := next((key for key, sign, _ in pairs if not sign), None):
        raise SpecError(f"--set {wrong}: must be KEY=VALUE, as in `--set teacher.epochs=2`")
    return Asked(
        named=Named(*named),
        max_latency_ms=latency,
        minutes=minutes,
        settings={key.strip(): value.strip() for key, _, value in pairs},
        **given,
    )


def milliseconds(written: str) -> float:
    """`5ms`, `0.4 ms`, `800us`, `1s`. Raises SpecError for anything else: a number alone may mean any of them."""
    found = _TIME.fullmatch(written.strip())
    if found is None:
        raise SpecError(f"--max-latency: must be a time such as `5ms`, got {written!r}")
    unit = found["unit"].lower()
    if not unit:
        raise SpecError(f"--max-latency: {written} of what? write `{written}ms` for milliseconds")
    if unit not in _MILLISECONDS:
        raise SpecError(f"--max-latency: {found['unit']!r} is no unit of time; write `ms`, `us` or `s`, as in `5ms`")
    number = float(found["number"]) * _MILLISECONDS[unit]
    if not (math.isfinite(number) and number > 0):
        raise SpecError(f"--max-latency: must be above 0, got {written!r}")
    return number


def drop_of(written: str | None, unit: str) -> float:
    """The largest drop: one point where none is given. `unit` is that of the study's quality, which names its metric.
    Raises SpecError for what is no drop of it, and where it must be given as the metric has no points."""
    from autocompress.core.scores import score_named
    from autocompress.core.shares import amount
    from autocompress.core.training_spec import ONE_POINT

    points = score_named(unit).points
    if written is None:
        if not points:
            raise SpecError(f"--max-drop: must be given in the unit of {unit}, which has no hundredths")
        return ONE_POINT
    try:
        found = amount(written, points=points)
    except ValueError as error:
        raise SpecError(f"--max-drop: {error}") from error
    if found < 0:
        raise SpecError(f"--max-drop: must not be below 0, got {written!r}")
    return found


def tell(session: Session, reasons: Sequence[Reason]) -> None:
    """A line for each guess, folded to the width of a terminal."""
    for one in reasons:
        head = f"{one.what:<{_MARGIN}}  {one.value}: "
        width = session.err.width if session.err.is_terminal else 10_000
        told = textwrap.wrap(f"{head}{one.why}", width, subsequent_indent=" " * (_MARGIN + 2), break_on_hyphens=False)
        session.say("\n".join(told))


def shown(path: Path) -> str:
    """As a shell takes it."""
    import shlex

    return shlex.quote(str(path))


def _check_free(out: Path, *, force: bool) -> None:
    if out.is_dir():
        raise SpecError(f"--out: {out} is a folder; name the file to write")
    if out.exists() and not force:
        raise SpecError(f"--out: {out} is there already; name another file, or replace it with --force")
    if out.suffix not in (".yaml", ".yml"):
        raise SpecError(f"--out: a study is a YAML file; name it {out.name}.yaml")


def _write(out: Path, text: str, *, force: bool) -> None:
    from autocompress.assets import host_errors, write_atomically

    _check_free(out, force=force)  # again: somebody may have written it meanwhile
    with host_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out, text.encode())
