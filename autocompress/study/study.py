"""A study from outside: run it, resume it, read its front, pick from it, carry a model away.

Reading a study needs neither torch nor Ray; they are imported when something is run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, final

from autocompress import config
from autocompress.assets import private_files
from autocompress.core.functions import Function, restored
from autocompress.core.interruption import shielded
from autocompress.core.outcome import Record
from autocompress.core.own_spec import is_own
from autocompress.core.ports import Logger, Observer
from autocompress.core.refusals import check_whole
from autocompress.core.spec import Bound, StudySpec
from autocompress.errors import SpecError
from autocompress.loggers import Journal
from autocompress.operators import OPERATORS
from autocompress.planning.stages import as_planned
from autocompress.report import (
    FrontReport,
    Member,
    PickBounds,
    Picked,
    PickedCascade,
    front_report,
    pick,
    pick_cascade,
    with_cascades,
)
from autocompress.report.comparing import ComparedCandidates, ComparedStudies, compare_candidates, compare_studies
from autocompress.report.comparing.studies import ALLOWED_DROP
from autocompress.report.files import FormName, check_files, write_files
from autocompress.report.notebook import candidates_table, framed
from autocompress.store import Store, StudyRow
from autocompress.study.exports import export as export
from autocompress.study.forking import check_origin, forked
from autocompress.study.given import Given, settled
from autocompress.study.judged import judged_record
from autocompress.study.life import check_workers, conduct, extend, extended, make_room, never_begun, refuse_taken
from autocompress.study.own import Functions, resume_own
from autocompress.study.plans import SilentObserver as SilentObserver
from autocompress.study.plans import plan as plan
from autocompress.study.plans import watcher

if TYPE_CHECKING:
    from pandas import DataFrame

    from autocompress.exported.elsewhere import Imported
    from autocompress.report.explanation import Explanation
    from autocompress.report.reproduction import Reproduction
    from autocompress.study.gathering import Inputs

logger = logging.getLogger(__name__)

Callback = Callable[["Study", Record], None]
"""Called after each candidate that the search judged, once that is stored; KeyboardInterrupt stops the study."""


@final
class Study:
    """A stored study. A context manager: it holds the database open."""

    def __init__(self, store: Store, name: str) -> None:
        """Raises NotFoundError when the store has no such study."""
        self.store, self.name = store, name
        self.store.study(name)

    @property
    def row(self) -> StudyRow:
        """State, spec, fingerprint and facts as stored now."""
        return self.store.study(self.name)

    @property
    def spec(self) -> StudySpec:
        return config.study_from_json(self.row.resolved, operators=OPERATORS)

    def records(self) -> list[Record]:
        """Every candidate with its outcome; the first is the baseline."""
        return self.store.records(self.name)

    def pareto(self) -> FrontReport:
        return front_report(self.store, self.name)

    @property
    def best(self) -> Member | None:
        """The verified model at the knee of the front, as `pick()` takes it; None while nothing is verified."""
        return next((member for member in self.pareto().verified if member.knee), None)

    def to_pandas(self) -> DataFrame:
        """All candidates as a table, see `report.notebook.candidates_table`."""
        return candidates_table(self.store, self.name)

    def _repr_html_(self) -> str:
        return framed(self.pareto())

    def report(
        self,
        *,
        html: str | Path | None = None,
        png: str | Path | None = None,
        csv: str | Path | None = None,
        parquet: str | Path | None = None,
        markdown: str | Path | None = None,
        json: str | Path | None = None,
    ) -> list[Path]:
        """Writes the front to as many files as are named, each in the place of an earlier one, and returns their paths.

        Raises SpecError, having written nothing, where something else stands or two of them are the same file;
        HostError where one cannot be written.
        """
        given: dict[FormName, str | Path | None] = {
            "html": html,
            "png": png,
            "csv": csv,
            "parquet": parquet,
            "markdown": markdown,
            "json": json,
        }
        files: dict[FormName, Path] = {form: Path(path) for form, path in given.items() if path is not None}
        check_files(files, keep=self.store.places)
        found = with_cascades(self.store, self.pareto())
        if "html" in files:
            from autocompress.explain.steps import with_steps

            found = with_steps(self.store, found)
        return write_files(found, files)

    def compare(self, a: int | str, b: int | str) -> ComparedCandidates:
        """Two candidates of the study, each by its number or the beginning of its digest: where their policies part,
        and every metric with the 95 % interval of its difference, paired where answers to single rows were kept.

        Raises NotFoundError for a candidate that is not there, SpecError for one beside itself.
        """
        return compare_candidates(self.store, self.name, a, b)

    def pick(
        self,
        *,
        max_latency_ms: float | None = None,
        min_quality: float | str | None = None,
        max_quality_drop: float | str | None = None,
        max_size_mb: float | None = None,
        max_energy_mj: float | None = None,
        min_throughput: float | None = None,
        max_memory_mib: float | None = None,
        sure: bool = False,
        as_seen: bool = False,
        minimize: str | None = None,
        maximize: str | None = None,
        knee: bool = False,
        candidate: int | str | None = None,
        runtime: str | None = None,
        out: str | Path | None = None,
    ) -> Picked:
        """One verified finalist by bounds and a rule; with `out`, exported there too. Qualities are shares:
        0.01, or `"1%"` and `"1pt"`. A drop is within its bound if that is so on unseen rows with 90 % confidence;
        `as_seen` and `sure` say otherwise, see `PickBounds`.

        Raises NotFoundError, naming the nearest member and the bounds it breaks, when none fits.
        """
        bounds = PickBounds(
            max_latency_ms=max_latency_ms,
            min_quality=min_quality,
            max_quality_drop=max_quality_drop,
            max_size_mb=max_size_mb,
            max_energy_mj=max_energy_mj,
            min_throughput=min_throughput,
            max_memory_mib=max_memory_mib,
            sure=sure,
            as_seen=as_seen,
        )
        picked = pick(
            self.store,
            self.name,
            bounds=bounds,
            minimize=minimize,
            maximize=maximize,
            knee=knee,
            candidate=candidate,
            runtime=runtime,
        )
        if out is not None:
            self.export(picked.digest, out)
        return picked

    def pick_cascade(
        self,
        *,
        max_latency_ms: float | None = None,
        min_quality: float | str | None = None,
        max_quality_drop: float | str | None = None,
        max_size_mb: float | None = None,
        max_energy_mj: float | None = None,
        as_seen: bool = False,
        out: str | Path | None = None,
    ) -> PickedCascade:
        """The fastest cascade of two verified finalists on average, within bounds, of which one holds its quality;
        with `out`, exported there too. A bound on latency holds for every single answer.

        Raises SpecError without such a bound, NotFoundError, naming the nearest cascade and the bounds it breaks, when
        none fits.
        """
        bounds = PickBounds(
            max_latency_ms=max_latency_ms,
            min_quality=min_quality,
            max_quality_drop=max_quality_drop,
            max_size_mb=max_size_mb,
            max_energy_mj=max_energy_mj,
            as_seen=as_seen,
        )
        picked = pick_cascade(self.store, self.name, bounds=bounds)
        if out is not None:
            from autocompress.study.cascading import export_cascade

            export_cascade(self.store, picked, Path(out))
        return picked

    def export(self, digest: str, out: str | Path, *, force: bool = False) -> Path:
        """Copies a verified model to `out`, in the place of an earlier export; see `export`. `force`
        is taken for programs of before, and changes nothing."""
        return export(self.store, self.name, digest, Path(out))

    def retarget(
        self, device: str, *, name: str | None = None, constraints: Mapping[str, Bound] | None = None
    ) -> Study:
        """A new study for another device, or for other bounds, from the qualities of this one: nothing is evaluated
        again. Shares this study's database; `.resume()` trains and verifies its finalists."""
        from autocompress.study.retarget import retarget

        return Study(self.store, retarget(self.store, self.name, device=device, new_name=name, bounds=constraints).name)

    def bundle(self, out: str | Path, *, force: bool = False) -> Path:
        """Copies the verified models and the baseline to a folder that measures them on another machine, in the place
        of an earlier export. `force` is taken for programs of before, and changes nothing."""
        from autocompress.exported.elsewhere import bundle

        return bundle(self.store, self.name, Path(out))

    def import_measurements(self, file: str | Path) -> Imported:
        """Puts what `autocompress measure` found on another machine in place of this study's latencies.

        Raises SpecError when the file is not about this study, its files and its workload.
        """
        from autocompress.exported.elsewhere import import_measurements

        return import_measurements(self.store, self.name, Path(file))

    @private_files()
    def resume(
        self,
        *,
        workers: int | None = None,
        ray_address: str | None = None,
        observer: Observer | None = None,
        trials: int | None = None,
        minutes: float | None = None,
        search_minutes: float | None = None,
        finalists: int | None = None,
        takeover: bool = False,
        here: bool = False,
        score: Function | str | None = None,
        callbacks: Sequence[Callback] = (),
        loggers: Sequence[Logger] = (),
        evaluate: Function | str | None = None,
        model: Any = None,
        operators: Sequence[Any] = (),
    ) -> Self:
        """Goes on where the study stopped; does nothing once it is complete, unless it is given more to do: so many
        `trials`, `search_minutes` or `finalists` in all, or `minutes` of the whole study, where its file bounds these.
        With `takeover` it is taken from a process that runs it; with `here` its device is this machine from now on,
        whatever it was: see `environment.take_over`. A `score` that the study was given, and that no other process
        finds by its name, is given again, and so are `evaluate`, `model` and `operators` of `optimize`; `callbacks` and
        `loggers` as in `run`: a logger begins with what was judged before, and keeps a study that is complete too.

        Raises SpecError when the model, the data or the machine are no longer those of the study, or when it is given
        less than it has done; StudyLockedError while another process runs it.
        """
        watching = watcher(observer, self.name)
        journal = Journal(loggers, watching, self.store, self.name, self.row.resolved)
        on_judged = called(self, [journal.judged, *callbacks])
        if is_own(self.row.resolved):
            if here or minutes is not None or finalists is not None or score is not None:
                raise SpecError(
                    "minutes, finalists, score, here: belong to studies with a model of ours; a search is given more "
                    "`trials` or `search_minutes`"
                )
            with journal:
                resume_own(
                    self.store,
                    self.name,
                    Functions(evaluate, model, operators),
                    workers=workers,
                    ray_address=ray_address,
                    observer=journal,
                    on_judged=on_judged,
                    trials=trials,
                    search_minutes=search_minutes,
                    takeover=takeover,
                )
            return self
        if evaluate is not None or model is not None or operators:
            raise SpecError(f"evaluate, model, operators: study {self.name!r} is no search over an evaluation of yours")
        spec = self.spec
        longer = extended(
            spec, self.store, trials=trials, minutes=minutes, search_minutes=search_minutes, finalists=finalists
        )
        if here and longer != spec:
            raise SpecError("--here: takes the study over first; give it more to do with another `resume`")
        if here:
            longer = replace(longer, device=config.HOST)
        if self.row.state == "complete" and longer == spec and not here:
            with journal:
                watching.note(f"study {self.name!r} is complete")
            return self
        check_whole("running a study", ray=workers != 0)
        with shielded():
            from autocompress.study.environment import check_environment
            from autocompress.study.gathering import check_runtimes

        check_runtimes(spec)
        if not here:
            check_environment(self.row, spec, watching)
        check_workers(watching, spec.budget, workers=workers, ray_address=ray_address)
        scoring = _scoring(spec, score)
        inputs = replace(self._inputs(watching), scoring=scoring)
        with journal, self.store.lease(self.name, takeover=takeover) as lease:
            if longer != spec and not here:
                extend(spec, longer, self.store, lease)
            conduct(
                longer,
                inputs,
                self.store,
                lease,
                journal,
                workers=workers,
                ray_address=ray_address,
                here=here,
                on_judged=on_judged,
            )
        return self

    def explain(
        self,
        candidate: int | str | None = None,
        *,
        text: str | tuple[str, str] | None = None,
        out: str | Path | None = None,
        train_teacher: bool = False,
        observer: Observer | None = None,
    ) -> Explanation:
        """What matters in the uncompressed model, what a verified finalist kept of it, what each of its steps took and
        gave, what both attend to in a `text`, two where the task reads pairs, and, on the study's device, the time of
        its parts beside the machine's ceiling; the one that `pick` would take, and a text of the validation split,
        where none is given. With `out`, pictures are written to that folder.

        Raises NotFoundError for a candidate that was not verified, and when the teacher is no longer in the cache;
        with `train_teacher` it is trained again.
        """
        from autocompress.explain.explanation import explain, found_teacher, verified_member
        from autocompress.explain.steps import explain_steps

        watching, spec = watcher(observer, self.name), as_planned(self.spec, self.row.facts)
        member = verified_member(self.store, self.name, candidate)
        with private_files():
            inputs = self._inputs(watching)
            teacher = found_teacher(
                self.store, spec, inputs.model, inputs.data, may_train=train_teacher, observer=watching
            )
            found = explain(spec, self.row.facts, teacher, member, text=text, observer=watching)
        if member is not None:
            found = replace(found, steps=explain_steps(self.store, self.name, member.digest))
        if out is not None:
            found.write(out)
        return found

    def reproduce(
        self, candidate: int | str, *, score: Function | str | None = None, observer: Observer | None = None
    ) -> Reproduction:
        """Judges one candidate again, by its number or the beginning of its digest, with the study's own spec, data,
        models and device profile, and sets what is stored and what came now beside each other. Nothing is stored.
        Models that are no longer in the cache are trained again, which takes minutes. A `score` as in `resume`.

        Raises NotFoundError for a candidate that is not there or was not judged yet; SpecError when the model or the
        data are no longer those of the study; IntegrityError when the files of a finalist changed.
        """
        record = judged_record(self.store, self.name, candidate)
        watching, spec = watcher(observer, self.name), self.spec
        scoring = _scoring(spec, score)
        with shielded():
            from autocompress.study.reproducing import reproduce

        with private_files():
            inputs = replace(self._inputs(watching), scoring=scoring)
            return reproduce(self.store, record, spec, inputs, watching)

    def _inputs(self, observer: Observer) -> Inputs:
        """Raises SpecError when the model or the data are no longer those of the study."""
        from autocompress.study.gathering import gather

        inputs = gather(self.spec, observer, kept=self.store.artifacts)
        changes = config.diff_specs(dict(self.row.fingerprint), dict(inputs.digests))
        if changes:
            raise SpecError(
                f"study {self.name!r} was begun with other inputs; put them back, or run a new study under another "
                "name:",
                *(f"  {line}" for line in changes),
            )
        return inputs

    def close(self) -> None:
        self.store.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()


def open_study(name: str, *, storage: str | None = None) -> Study:
    """Opens a stored study. Raises NotFoundError when there is no such database or study."""
    store = Store.open(storage, create=False)
    try:
        return Study(store, name)
    except BaseException:
        store.close()
        raise


def compare(
    a: str,
    b: str,
    *,
    storage: str | None = None,
    other_storage: str | None = None,
    max_quality_drop: float | str = ALLOWED_DROP,
) -> ComparedStudies:
    """Two stored studies, the second one in `other_storage` where that is given: what was asked otherwise, where they
    ran, both fronts with hypervolumes inside one reference point, and the best of each that is sure to lose no more
    than `max_quality_drop`. `Study.compare` compares two candidates of one.

    Raises NotFoundError for a study that is not there or has nothing verified yet, SpecError for two that share no
    measure of quality or fewer than two objectives.
    """
    with Store.open(storage, create=False) as store:
        if other_storage is None:
            return compare_studies(store, a, b, max_quality_drop=max_quality_drop)
        with Store.open(other_storage, create=False) as other:
            return compare_studies(store, a, b, other=other, max_quality_drop=max_quality_drop)


def resume(
    name: str,
    *,
    storage: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    observer: Observer | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    search_minutes: float | None = None,
    finalists: int | None = None,
    takeover: bool = False,
    here: bool = False,
    score: Function | str | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    evaluate: Function | str | None = None,
    model: Any = None,
    operators: Sequence[Any] = (),
) -> Study:
    """Opens a stored study and goes on with it, as `Study.resume` does."""
    study = open_study(name, storage=storage)
    try:
        return study.resume(
            workers=workers,
            ray_address=ray_address,
            observer=observer,
            trials=trials,
            minutes=minutes,
            search_minutes=search_minutes,
            finalists=finalists,
            takeover=takeover,
            here=here,
            score=score,
            callbacks=callbacks,
            loggers=loggers,
            evaluate=evaluate,
            model=model,
            operators=operators,
        )
    except BaseException:
        study.close()
        raise


@private_files()
def run(
    spec: StudySpec | Mapping[str, Any] | str | Path | None = None,
    *,
    storage: str | None = None,
    workers: int | None = None,
    ray_address: str | None = None,
    observer: Observer | None = None,
    given: Mapping[str, Any] | None = None,
    name: str | None = None,
    model: Any = None,
    tokenizer: Any = None,
    data: object = None,
    score: Function | str | None = None,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    fork: str | None = None,
) -> Study:
    """Runs a new study: a spec, the name or path of a study file, or a mapping with the keys of one; of a mapping, or
    of nothing, that leaves out what a study needs, the rest is guessed from model and data as `autocompress compress`
    does. `workers` defaults to the cores of this machine; 0 runs without Ray. `given` is the spec as the user wrote it,
    kept beside the resolved one. A study of the same name that never judged anything is begun anew.

    In place of what the study names, or where it stands in a mapping, may be objects in memory, which the study keeps
    a copy of among its artifacts, so that it can be resumed from anywhere:
    - `model`, of transformers, with its `tokenizer` or processor;
    - `data`, labelled rows: a pandas DataFrame, a `datasets.Dataset`, an arrow table, a list of (text, label) pairs or
      of dicts, or a mapping of train, validation and test to these;
    - `score`, a function `(outputs, targets) -> number`, larger where it is better, of arrays with a row each, or
      `module:name` of one. One that cannot be imported is given again to `resume`.
    Each of `callbacks` is called with the study and a record once a candidate of the search is judged and stored;
    `loggers`, such as `autocompress.loggers.TensorBoard("runs")`, keep what the study finds beside other runs.

    `fork` names a stored study of the same database, with another space, budget or bounds, to take over from: what was
    judged there with the same teacher, data and elastic model and is a point of this space is not judged again, and
    what else of its front is one is proposed first; see `study.forking`.

    Raises SpecError when the name is taken, with the differences if the stored spec is another; NotFoundError where
    there is no study to fork.
    """
    check_whole("running a study", ray=workers != 0)
    watching = watcher(observer, name or spec)
    store = Store.open(storage)
    try:
        spec, found = settled(spec, Given(model, tokenizer, data, score), store, name=name, note=watching.note)
        scoring = _scoring(spec, found.score)
        resolved = config.spec_to_json(spec)
        refuse_taken(store, spec.name, resolved)
        if fork is not None:
            check_origin(store, fork)
        with shielded():  # a library that is torn apart while it is imported fails in ways of its own
            from autocompress.study.gathering import check_runtimes, gather

        check_runtimes(spec)
        check_workers(watching, spec.budget, workers=workers, ray_address=ray_address)
        inputs = replace(gather(spec, watching, kept=store.artifacts), scoring=scoring)
        journal = Journal(loggers, watching, store, spec.name, resolved)
        minutes = spec.budget.minutes
        began = forked(store, fork, fingerprint=inputs.digests, minutes=minutes) if fork is not None else {}
        make_room(store, spec.name, watching)
        try:
            with (
                journal,
                store.new_study(
                    spec.name,
                    given=dict(given or resolved),
                    resolved=resolved,
                    fingerprint=dict(inputs.digests),
                    objectives=spec.objectives,
                    facts=began,
                ) as lease,
            ):
                conduct(
                    spec,
                    inputs,
                    store,
                    lease,
                    journal,
                    workers=workers,
                    ray_address=ray_address,
                    on_judged=called(Study(store, spec.name), [journal.judged, *callbacks]),
                )
        except KeyboardInterrupt:  # between the study's making and its run
            never_begun(store, spec.name)
            raise
        return Study(store, spec.name)
    except BaseException:
        store.close()
        raise


def _scoring(spec: StudySpec, given: Function | str | None) -> Function | None:
    """The function that a study is scored by, where that is one of the user's. Raises SpecError where it is not at
    hand, or where the study has none and one is given."""
    metric = spec.task.scored
    if metric.function is not None:
        return restored(metric.function, given, where="score", study=spec.name)
    if given is not None:
        raise SpecError(f"score: study {spec.name!r} is scored by {metric}, which needs no function")
    return None


def called(study: Study, callbacks: Sequence[Callback]) -> Callable[[Record], None]:
    """What calls each of them with a record of the study."""

    def call(record: Record) -> None:
        for callback in callbacks:
            callback(study, record)

    return call
