"""How far a study is, in words: on a terminal (`cli/live.py`) as in a notebook (`notebook_progress.py`)."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, ParamSpec

from autocompress.core.ports import Tally

logger = logging.getLogger(__name__)
P = ParamSpec("P")

DONE: Final = "done"
"""The stage that ends all others."""
_LEFT_FROM: Final = 3.0
"""Seconds of a stage's progress before its pace means anything."""
_RATE_FROM: Final = 3  # candidates before a rate means anything


def unfailing(method: Callable[P, None]) -> Callable[P, None]:
    """Whoever watches must not stop what is watched: its errors are logged."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:
            logger.debug("the progress view failed", exc_info=True)

    return call


@dataclass(slots=True)
class StageProgress:
    """A stage and how far it is. `begun` is where its progress was first heard of, and when: what came before (reading,
    loading) says nothing of its pace. Times are seconds of one clock."""

    name: str
    detail: str
    started: float
    ended: float | None = None
    done: float = 0.0
    total: float | None = None
    text: str = ""
    begun: tuple[float, float] | None = None
    heard: float = 0.0

    def seconds(self, now: float) -> float:
        return (now if self.ended is None else self.ended) - self.started

    def progress(self, done: float, total: float | None, text: str, now: float) -> None:
        if total is None or total != self.total or self.begun is None or done < self.begun[0]:
            self.begun = (done, now)
        self.done, self.total, self.text, self.heard = done, total, text, now

    def left(self, now: float) -> float | None:
        """Seconds until it ends, if it goes on as it did; None while nothing tells."""
        if self.total is None or self.begun is None or not self.begun[0] < self.done < self.total:
            return None
        seconds, done = self.heard - self.begun[1], self.done - self.begun[0]
        if seconds < _LEFT_FROM:
            return None
        return max(0.0, seconds * (self.total - self.done) / done - (now - self.heard))

    def in_words(self, now: float) -> str:
        """`teacher 34 %, epoch 2 of 5, best so far 0.9312, about 0:40 left`."""
        share = f" {self.done / self.total:.0%}" if self.total else ""
        left = self.left(now)
        end = "" if left is None else f"about {clock_text(left)} left"
        return ", ".join(part for part in (f"{self.name}{share}", self.text or self.detail, end) if part)


def tally_in_words(tally: Tally) -> str:
    """`67 of 120 judged · 2 running · 1 failed · 12 infeasible · 9 repeated · 64/min · front 14 · 0:49 left`."""
    parts = [f"{tally.judged} of {tally.target} judged", f"{tally.running} running"]
    counted = (("failed", tally.failed), ("infeasible", tally.infeasible), ("repeated", tally.repeated))
    parts += [f"{many} {what}" for what, many in counted if many]
    if tally.judged >= _RATE_FROM and tally.seconds > 0:
        rate = tally.judged / tally.seconds
        parts.append(f"{60 * rate:.0f}/min")
    if tally.front:
        parts.append(f"front {tally.front}")
    ends = [] if tally.limit is None else [max(0.0, tally.limit - tally.seconds)]
    if tally.judged >= _RATE_FROM and tally.seconds > 0:
        ends.append((tally.target - tally.judged) / rate)
    if ends and tally.judged < tally.target:
        parts.append(f"{clock_text(min(ends))} left")
    return " · ".join(parts)


def clock_text(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
