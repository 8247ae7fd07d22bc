"""What came of a kind of fault, and what a study acknowledged before each of them."""

from __future__ import annotations

import statistics
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from autocompress.store import Store


@dataclass
class Row:
    """One row of the table. `lost` and `twice` count outcomes, `stuck` studies, processes and files that were not
    brought to their end; `wrong` says whatever else should not be; `seconds` are those that going on took."""

    kind: str
    injected: str
    database: str = ""
    workers: str = ""
    times: int = 0
    lost: int = 0
    twice: int = 0
    stuck: int = 0
    seconds: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    found: Counter[str] = field(default_factory=Counter)
    """How often what was met: the stages that were hit, the files, the answers."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.kind, self.injected, self.database, self.workers

    @property
    def is_clean(self) -> bool:
        return not (self.lost or self.twice or self.stuck or self.wrong)

    def to_json(self) -> dict[str, Any]:
        seconds = sorted(self.seconds)
        timed = {"median": statistics.median(seconds), "longest": seconds[-1]} if seconds else {}
        return {
            "kind": self.kind,
            "injected": self.injected,
            "database": self.database,
            "workers": self.workers,
            "times": self.times,
            "lost": self.lost,
            "twice": self.twice,
            "stuck": self.stuck,
            "seconds": {name: round(value, 2) for name, value in timed.items()},
            "wrong": self.wrong,
            "found": dict(self.found),
        }


@dataclass
class Ledger:
    """What a study's database had acknowledged, as seen from outside: from then on it must be there, as it was."""

    outcomes: dict[int, str] = field(default_factory=dict)
    concluded: dict[str, str] = field(default_factory=dict)

    def look(self, store: Store, name: str, row: Row) -> None:
        """Compares the study with what was seen of it, and remembers what is new."""
        records = store.records(name)
        outcomes = {
            one.candidate.number: f"{one.candidate.digest} {one.outcome}" for one in records if one.outcome is not None
        }
        concluded = {
            one.candidate.digest: f"{one.state} {one.measurements}"
            for one in store.finalists(name)
            if one.state != "nominated"
        }
        for before, now in ((self.outcomes, outcomes), (self.concluded, concluded)):
            gone = [key for key, value in before.items() if now.get(key) != value]
            row.lost += len(gone)
            row.wrong += [f"{key}: was {before[key][:200]}, is {str(now.get(key))[:200]}" for key in gone]
        digests = Counter(one.candidate.digest for one in records)
        proposed = Counter(proposal.number for proposal, _ in store.proposals(name))
        row.twice += sum(times - 1 for times in (*digests.values(), *proposed.values()))
        self.outcomes, self.concluded = outcomes, concluded
