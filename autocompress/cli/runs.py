"""`run` and `resume`: launching a search, and going on with one."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from autocompress.cli.completion import stored_studies
from autocompress.cli.options import Json, Storage, StudyName
from autocompress.cli.session import Session, session_of
from autocompress.core.interruption import interruptible, shielded
from autocompress.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from autocompress.core.spec import StudySpec
    from autocompress.planning.words import Ahead

logger = logging.getLogger(__name__)

DRY_RUN_SCHEMA: Final = "autocompress.dry-run/1"

Workers = Annotated[
    int | None,
    typer.Option(min=0, max=1024, metavar="N", help="Candidates judged at a time, 0 without Ray. [default: cores]"),
]
RayAddress = Annotated[
    str | None, typer.Option("--ray-address", metavar="ADDRESS", help="An existing Ray cluster to use.")
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="LOGGER",
        help="Show it beside other runs, in tensorboard:FOLDER, mlflow:URI or wandb:PROJECT; repeat it.",
    ),
]


def run(
    context: typer.Context,
    spec: Annotated[str, typer.Argument(metavar="SPEC", help="A study's YAML file, or the name of one.")],
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="The name to store it under. [default: the file's]")
    ] = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Candidates to judge. [default: the file's]")] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="The longest that the whole study may take. [default: the file's]")
    ] = None,
    search_minutes: Annotated[
        float | None, typer.Option(metavar="M", help="The longest that its search may take. [default: the file's]")
    ] = None,
    fork: Annotated[
        str | None,
        typer.Option(metavar="STUDY", help="Take over what still holds of this study.", autocompletion=stored_studies),
    ] = None,
    workers: Workers = None,
    ray_address: RayAddress = None,
    log: Log = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Launch the search of a study.

    Candidates are searched; the best are trained, exported and verified. All is stored on the way.

    With --fork, what another study judged with the same teacher, data and elastic model is not judged again where this
    space has it, and the rest of that study's front is proposed first. An elastic model is trained for one space and
    its bounds: where these changed, only candidates that cut nothing keep their scores, or all where the study has no
    elastic model.
    """
    from autocompress import config
    from autocompress.config.document import read_document
    from autocompress.operators import OPERATORS

    session = session_of(context)
    asked = {"name": name, "trials": trials, "minutes": minutes, "search_minutes": search_minutes}
    overrides = {key: value for key, value in asked.items() if value is not None}
    loaded = _overridden(config.load_study(spec, operators=OPERATORS), overrides)
    if fork is not None:
        _check_fork(fork, storage)
    if dry_run:
        _dry_run(session, loaded, json=json, workers=workers)
        return
    source: Path = config.locate("study", spec)
    given = {"file": str(source), "study": read_document(source).value, "overrides": overrides}
    from autocompress.cli.live import watching
    from autocompress.loggers import named
    from autocompress.study import study as studies

    loggers = [named(one) for one in log or ()]
    with resumable(session, loaded.name, storage=storage):
        with watching(session) as observer:
            studies.run(
                loaded,
                storage=storage,
                workers=workers,
                ray_address=ray_address,
                observer=observer,
                given=given,
                loggers=loggers,
                fork=fork,
            ).close()
        _result(session, loaded.name, storage, json=json)


def _check_fork(origin: str, storage: str | None) -> None:
    """A wrong name is told before anything heavy is loaded."""
    from autocompress.store import Store
    from autocompress.study.forking import check_origin

    with Store.open(storage, create=False) as store:
        check_origin(store, origin)


def resume(
    context: typer.Context,
    study: StudyName,
    workers: Workers = None,
    ray_address: RayAddress = None,
    trials: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Candidates to judge in all. [default: as before]")
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(metavar="M", help="The longest that the whole study may take. [default: as before]")
    ] = None,
    search_minutes: Annotated[
        float | None,
        typer.Option(metavar="M", help="The longest that its search may take in all. [default: as before]"),
    ] = None,
    finalists: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Candidates to train and verify in all. [default: as before]")
    ] = None,
    takeover: Annotated[
        bool, typer.Option("--takeover", help="Go on with it although a process holds it that cannot be reached.")
    ] = False,
    here: Annotated[
        bool,
        typer.Option(
            "--here", help="This machine is its device from now on: costs are measured anew, scores are kept."
        ),
    ] = False,
    log: Log = None,
    json: Json = False,
    storage: Storage = None,
) -> None:
    """Go on with a study after anything.

    After Ctrl-C, a crash or a restart: what was finished is kept, what was running is run again. A study that is
    complete goes on with more trials, minutes or finalists than it had.
    """
    from autocompress.cli.live import watching
    from autocompress.store import Store

    session = session_of(context)
    with Store.open(storage, create=False) as store:
        store.study(study)  # a wrong name is told before anything heavy is loaded
    from autocompress.loggers import named
    from autocompress.study import study as studies

    loggers = [named(one) for one in log or ()]
    with resumable(session, study, storage=storage):
        with watching(session) as observer:
            studies.resume(
                study,
                storage=storage,
                workers=workers,
                ray_address=ray_address,
                observer=observer,
                trials=trials,
                minutes=minutes,
                search_minutes=search_minutes,
                finalists=finalists,
                takeover=takeover,
                here=here,
                loggers=loggers,
            ).close()
        _result(session, study, storage, json=json)


@contextmanager
def resumable(session: Session, name: str, *, storage: str | None) -> Iterator[None]:
    """Says how to go on when Ctrl-C or SIGTERM came before or after the part of a study that handles it itself. What
    they break in a library on their way is no error."""
    with interruptible() as switch:
        try:
            yield
            return
        except Interrupted:
            raise
        except (KeyboardInterrupt, Exception) as error:
            if isinstance(error, Exception) and switch.thrown is None:
                raise
            if session.debug:
                logger.warning("interrupted here", exc_info=True)
        with shielded():
            if _is_stored(name, storage):
                session.warn(f"stopped; everything finished is stored. Go on with `autocompress resume {name}`.")
            else:
                session.warn("stopped; nothing was stored yet. Run it again; what was fetched is kept.")
        raise typer.Exit(switch.exit_code)


def _is_stored(name: str, storage: str | None) -> bool:
    from autocompress.errors import AutocompressError
    from autocompress.store import Store

    try:
        with Store.open(storage, create=False) as store:
            store.study(name)
    except AutocompressError:
        return False
    return True


def _overridden(spec: StudySpec, overrides: dict[str, Any]) -> StudySpec:
    from autocompress.config import beyond_limits
    from autocompress.errors import SpecError

    budget = {key: overrides[key] for key in ("trials", "minutes", "search_minutes") if key in overrides}
    try:
        found = replace(spec, name=overrides.get("name", spec.name), budget=replace(spec.budget, **budget))
    except ValueError as error:
        raise SpecError(f"--{', --'.join(map(_option, overrides))}: {error}") from error
    problems = [f"--{_option(str(place[-1]))}: {told}" for place, told in beyond_limits(found) if place[-1] in budget]
    if problems:
        raise SpecError(*problems)
    return found


def _option(key: str) -> str:
    return key.replace("_", "-")


def _result(session: Session, name: str, storage: str | None, *, json: bool) -> None:
    """The front, and what to do with it."""
    from autocompress import report as reports
    from autocompress.store import Store

    with Store.open(storage, create=False) as store:
        front = reports.front_report(store, name)
    if json:
        session.json(front.to_json())
    else:
        session.data(reports.as_table(front))
    session.say(f"look closer:   autocompress pareto {name} --html {name}.html", style="dim")
    if front.verified and not front.own:
        session.say(f"take a model:  autocompress pick {name} --knee --out picked/", style="dim")


def _dry_run(session: Session, spec: StudySpec, *, json: bool, workers: int | None) -> None:
    """What the study asks for. Neither model nor data are fetched, so nothing that depends on them is said; but for the
    plan of one whose minutes are bounded."""
    from autocompress.config import spec_to_json

    planned = _planned(session, spec, workers) if spec.budget.minutes is not None else None
    if json:
        told = {"plan": planned.to_json()} if planned else {}
        session.json({"schema": DRY_RUN_SCHEMA, "study": spec_to_json(spec), **told})
        return
    budget = spec.budget
    limit = "" if budget.search_minutes is None else f" or {budget.search_minutes:g} minutes"
    bounds = ", ".join(f"{metric} {bound}" for metric, bound in spec.constraints.items()) or "none"
    last = spec.finalists
    more = f", {last.more} more where search scores rank them badly" if last.more else ""
    goals = ", ".join(f"{way} {metric}" for metric, way in spec.objectives.items())
    lines = {
        "study": spec.name,
        "model": str(spec.model),
        "data": f"{spec.task.data}, scored by {spec.task.metric}",
        **({"texts": f"{spec.sources['texts']}, unlabelled"} if "texts" in spec.sources else {}),
        "space": f"{spec.space.name}: {', '.join(step.name or step.operator for step in spec.space.steps)}",
        "device": f"{spec.device}, {spec.workload}",
        "objectives": goals,
        "constraints": bounds,
        "search": f"{spec.sampler}, {budget.trials} candidates{limit}, seed {spec.seed}",
        "finalists": f"{last.count} trained for {last.training.epochs} epochs, exported, verified{more}",
        "measured": "quality and latency of exported files; latency during the search is predicted from a profile",
    }
    width = max(map(len, lines))
    session.text("\n".join(f"{name:<{width}}  {text}" for name, text in lines.items()))
    if planned is None:
        session.say("nothing was fetched, run or stored", style="dim")
        return
    session.text(f"\nplan of the study:\n{planned.table()}")
    session.say("nothing was trained or stored", style="dim")


def _planned(session: Session, spec: StudySpec, workers: int | None) -> Ahead:
    from autocompress.cli.live import watching
    from autocompress.study import study as studies

    with interruptible(), watching(session) as observer:
        return studies.plan(spec, workers=workers, observer=observer)
