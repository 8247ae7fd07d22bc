"""`demo`: the whole way, from data to a verified folder, with nothing of the user's and without a network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from autocompress.cli.beginning import drop_of, shown, tell
from autocompress.cli.compress import check_out, run_begun, show_taken, taken
from autocompress.cli.options import Storage
from autocompress.cli.runs import resumable
from autocompress.cli.session import Session, session_of

if TYPE_CHECKING:
    from autocompress.study.demo import Demo

_WHAT = (
    "the demo: 1,797 real handwritten digits of 8 x 8 pixels (scikit-learn's), and a ViT of six layers, trained from "
    "nothing on half of them. It is small, to be quick: its figures say nothing about your model."
)


def demo(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="A new folder for the data, the checkpoint and the model.")
    ] = Path("demo"),
    name: Annotated[str, typer.Option("--name", metavar="NAME", help="What the study is called.")] = "demo",
    workers: Annotated[
        int, typer.Option(min=0, max=1024, metavar="N", help="Candidates judged at a time, 0 without Ray.")
    ] = 0,
    storage: Storage = None,
) -> None:
    """See all of it in two minutes, without a network.

    Writes 1,797 real handwritten digits and a small ViT that is trained from nothing on half of them, and does with
    these what `compress` does with yours: search, train, export, pick and verify. The study is stored like any other,
    and the same command goes on with it.

    It is small on purpose: what it gains and loses says nothing about a model of yours.
    """
    from autocompress.core.paths import expanded
    from autocompress.study.demo import Demo

    session, began = session_of(context), time.monotonic()
    made = Demo(expanded(out))
    check_out(made.picked, storage)
    session.say(_WHAT)
    with resumable(session, name, storage=storage):
        _make(session, made)
        _compress(session, made, name, storage=storage, workers=workers)
        session.text(f"\n{made.alike()}")
    session.say(f"all of it took {time.monotonic() - began:.0f} s", style="dim")
    for what, command in (
        ("look closer", f"autocompress explain {name}"),
        ("as a page", f"autocompress report {name} --html {name}.html"),
        ("your own", "autocompress compress MODEL --data FILE --max-drop 1pt --out small/"),
        ("its study file", "autocompress init MODEL --data FILE"),
    ):
        session.say(f"{what + ':':<17} {command}", style="dim")


def _make(session: Session, made: Demo) -> None:
    """Data and checkpoint, unless they are there."""
    from autocompress.cli.live import watching

    if made.is_made():
        session.say(f"{made.folder} is there already: going on with its digits and its checkpoint")
        return
    with watching(session) as observer:
        observer.stage("checkpoint", "a ViT of six layers, from nothing")
        made.make(lambda done, total: observer.progress(done, total, "batches"))
    session.wrote(made.folder)


def _compress(session: Session, made: Demo, name: str, *, storage: str | None, workers: int | None) -> None:
    """As `compress` does."""
    from autocompress.report import PickBounds
    from autocompress.study.beginning import begin
    from autocompress.study.demo import DROP

    session.say(
        f"what follows is `autocompress compress {shown(made.checkpoint)} --data {shown(made.digits)} "
        f"--max-drop {DROP} --out {shown(made.picked)}` with a small budget:"
    )
    begun = begin(made.asked(name), base=Path.cwd())
    tell(session, begun.reasons)
    run_begun(session, begun, storage=storage, workers=workers, ray_address=None)
    bounds = PickBounds(max_quality_drop=drop_of(DROP, str(begun.spec.task.scored)))
    settled, report = taken(session, name, bounds, made.picked, storage)
    image = next(iter(sorted((made.digits / "test").rglob("*.png"))), "...")
    show_taken(session, settled, report, made.picked, example=str(image))
