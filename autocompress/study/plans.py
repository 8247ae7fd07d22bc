"""What a study would do with its minutes, before it is run; and who watches where nobody does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, final

from autocompress.assets import private_files
from autocompress.core.interruption import shielded
from autocompress.core.ports import Observer, Tally
from autocompress.core.spec import StudySpec

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


@private_files()
def plan(spec: StudySpec, *, workers: int | None = None, observer: Observer | None = None) -> Ahead:
    """What a study with `budget.minutes` would do with them, by steps that are timed; nothing is trained or stored but
    what it fetches. Raises SpecError as a run would: where the minutes are too few, with the least that would do."""
    watching = observer or SilentObserver()
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
