"""What a study would do with its minutes, before it is run; and who watches where nobody does."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from autocompress.assets import private_files
from autocompress.core.interruption import shielded
from autocompress.core.ports import Observer, Tally
from autocompress.core.spec import StudySpec
from autocompress.report.notebook_progress import NotebookObserver, notebook_shell

if TYPE_CHECKING:
    from autocompress.planning.words import Ahead

logger = logging.getLogger(__name__)


@final
class SilentObserver:
    """Watches and says nothing."""

    def stage(self, name: str, detail: str = "") -> None: ...

    def progress(self, done: float, total: float | None, text: str = "") -> None: ...

    def tally(self, tally: Tally) -> None: ...

    def note(self, text: str) -> None:
        logger.info("%s", text)


def watcher(observer: Observer | None, study: StudySpec | Mapping[str, Any] | str | Path | None = None) -> Observer:
    """The observer that is given. Else in a Jupyter notebook one display, with the name of the `study` where that is
    known before it is read, and nobody anywhere else."""
    if observer is not None:
        return observer
    shell = notebook_shell()
    if shell is None:
        return SilentObserver()
    shown = NotebookObserver(_name(study))
    shown.ends_with_cell(shell)
    return shown


def _name(study: StudySpec | Mapping[str, Any] | str | Path | None) -> str:
    if isinstance(study, Mapping):
        return str(study.get("name", ""))
    if isinstance(study, StudySpec):
        return study.name
    file = Path(study or "")
    return file.stem if file.suffix in (".yaml", ".yml") else file.name


@private_files()
def plan(spec: StudySpec, *, workers: int | None = None, observer: Observer | None = None) -> Ahead:
    """What a study with `budget.minutes` would do with them, by steps that are timed; nothing is trained or stored but
    what it fetches. Raises SpecError as a run would: where the minutes are too few, with the least that would do."""
    watching = watcher(observer, spec)
    with shielded():
        from autocompress.core.cores import usable_cores
        from autocompress.study.gathering import check_runtimes, gather, unlabelled_texts
        from autocompress.study.pacing import ahead
        from autocompress.study.rehearsal import rehearse

    check_runtimes(spec)
    inputs = gather(spec, watching)
    texts = unlabelled_texts(spec, inputs)
    watching.stage("plan")
    watching.progress(0, None, "reading the data, timing a few steps")
    measured = rehearse(
        spec,
        inputs.model,
        inputs.data,
        workers=usable_cores() if workers is None else workers,
        unlabelled=len(texts or ()),
    )
    return ahead(spec, measured)
