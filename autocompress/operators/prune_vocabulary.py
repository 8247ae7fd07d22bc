"""Vocabulary: rows of the table of words go that the user's texts never use, or hardly, and the tokenizer that is
exported knows the others alone (`inputs.vocabulary`). Abdaoui, Pradel and Sigel 2020, "Load what you need", cut
multilingual models to the words of some languages so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, final

from autocompress.core.parts import Part, Table
from autocompress.core.policy import CompressionPolicy, Setting, Step
from autocompress.core.ports import Phase, SettingRule
from autocompress.errors import CandidateError
from autocompress.operators.part_operator import PartOperator

if TYPE_CHECKING:
    from autocompress.anatomy import Anatomy
    from autocompress.anatomy.scores import Importance

USED: Final = "used"
"""As many rows as the training texts use, labelled or not, with those that always stay."""


@final
class PruneVocabulary(PartOperator):
    """Keeps that many `rows` of the table of words: special tokens and single characters first, then what training
    texts use, most used first, then the others in the tokenizer's order. Texts are read with the tokens that are left,
    words that went by shorter pieces: a student is judged, and deployed, with this tokenizer."""

    name: Final = "prune_vocabulary"
    phase: Final = Phase.WIDTH
    elastic: Final = False
    targets: Final = ("embeddings",)
    rules: Final[Mapping[str, SettingRule]] = {
        "rows": SettingRule(low=1, size=True, words=(USED,), default=USED),
    }

    def fits(self, part: Part) -> bool:
        return part.kind == "embedding" and bool(part.tables)

    def size_of(self, part: Part, setting: str) -> int | None:
        return part.tables[0].rows if setting == "rows" else None

    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        table, *others = part.tables
        rows = rows_of(table, settings["rows"])
        if rows == table.rows:
            return None
        if rows > table.rows:
            raise CandidateError(f"{self.name}: `rows <= {table.rows}` must hold, got {rows}")
        if table.uses is not None and rows < table.uses.least:
            raise CandidateError(f"{self.name}: {too_few(table, rows)}")
        return replace(part, tables=(replace(table, rows=rows, uses=None), *others))

    def apply(self, anatomy: Anatomy, step: Step, importance: Importance) -> None:
        rows = step.settings["rows"]
        if isinstance(rows, int) and rows < anatomy.word_embeddings.num_embeddings:
            anatomy.keep_rows(importance.best_rows(rows))


def rows_of(table: Table, rows: Setting) -> int:
    """How many rows a setting means; all where it means those that are used, and nobody counted."""
    if rows == USED:
        return table.rows if table.uses is None else table.uses.used
    return int(rows)


def too_few(table: Table, rows: int) -> str:
    """What is said of fewer rows than may be left."""
    assert table.uses is not None, "nobody counted the uses"
    if rows < table.uses.always:
        return (
            f"`rows >= {table.uses.always}` must hold, got {rows}: special tokens and single characters stay, so that "
            "every text can be read"
        )
    return (
        f"{rows} rows leave {table.uses.share(rows):.0%} of the tokens of held-out texts as they are, and half of "
        f"them must be left; take {table.uses.least} or more"
    )


def kept_rows(policy: CompressionPolicy) -> int | None:
    """How many rows a policy leaves of the table of words, the fewest of its steps; None where it leaves all."""
    found = [step.settings["rows"] for step in policy.steps if step.operator == PruneVocabulary.name]
    return min((int(rows) for rows in found if rows != USED), default=None)
