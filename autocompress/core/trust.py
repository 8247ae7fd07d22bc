"""How well the cheap scores of a search rank what becomes of its candidates."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from typing import Any, Final

TRUST_FACT: Final = "trust"
"""What a study stores of its first finalists once they are trained: a `Trust`, and the numbers of those `promoted`."""

NO_ELASTIC_FACT: Final = "no_elastic_model"
"""Why the elastic model that a study wants could not be trained; nothing is stored where it was."""

_TELLING: Final = 4
"""Of fewer pairs Kendall's tau says nothing: three stand in the right order by luck one time in six."""


@dataclass(frozen=True, slots=True)
class Trust:
    """Quality before training against quality after it, of `n` finalists.

    `gain` is what training added in the mean. `tau` is Kendall's rank correlation (tau-b: ties count for neither side),
    None where there is no order to compare. `regret` is what the candidate with the best cheap score lacks to the best
    there is after training.
    """

    n: int
    gain: float
    tau: float | None
    regret: float

    def is_bad(self, trusted: float) -> bool:
        """Whether enough finalists were trained to say that their order is not the one that the search saw: `tau` is
        below `trusted`, or there is none."""
        return self.n >= _TELLING and (self.tau is None or self.tau < trusted)

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def trust(pairs: Sequence[tuple[float, float]]) -> Trust | None:
    """Of pairs of quality before and after training; None of fewer than two."""
    if len(pairs) < 2:
        return None
    trained = [after for _, after in pairs]
    best = max(range(len(pairs)), key=lambda place: pairs[place][0])
    gain = statistics.fmean(after - before for before, after in pairs)
    return Trust(len(pairs), gain, kendall(pairs), max(trained) - trained[best])


def kendall(pairs: Sequence[tuple[float, float]]) -> float | None:
    """Tau-b (Kendall 1945); None where one side is all alike."""
    agreement, firsts, seconds = 0, 0, 0
    for (a, x), (b, y) in combinations(pairs, 2):
        first, second = (a > b) - (a < b), (x > y) - (x < y)
        agreement += first * second
        firsts += first != 0
        seconds += second != 0
    return agreement / sqrt(firsts * seconds) if firsts and seconds else None


def tau_in_words(tau: float | None) -> str:
    """`Kendall's tau 0.67`"""
    return "no order to compare" if tau is None else f"Kendall's tau {tau:.2f}"
