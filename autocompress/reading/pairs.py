"""Columns beside the text that hold texts too: a model of one text would never see them."""

from __future__ import annotations

import re
from typing import Final

from autocompress.errors import SpecError
from autocompress.reading.layout import Layout, Table

_SECONDS: Final = {
    "premise": {"hypothesis"},
    "hypothesis": {"premise"},
    "question": {"sentence", "answer", "context", "passage", "paragraph"},
    "sentence": {"question"},
    "query": {"passage", "document", "response"},
    "text": {"text_pair", "pair", "target_text"},
    "claim": {"evidence"},
    "context": {"question"},
}
_NUMBERED: Final = re.compile(r"(?P<stem>.*[a-z])[_ ]?(?P<which>[12]|[ab])", re.IGNORECASE)
_OTHERS: Final = {"1": "2", "2": "1", "a": "b", "b": "a"}
_LOOKED_AT: Final = 200
_WORDS: Final = 4
"""Mean number of words from which a column beside the text is taken for texts."""


def second_texts(layout: Layout, table: Table) -> list[str]:
    """The other columns that hold texts, to be told. Raises SpecError where one is the second text of a pair."""
    text, left = layout.wanted["text"], set(layout.wanted.values()) | set(layout.ignore)
    others = [name for name in table.columns if name and name not in left]
    paired = [name for name in others if is_pair(text, name)]
    if paired:
        raise SpecError(
            f"{table.where}: column {paired[0]!r} looks like the second text of a pair whose first is {text!r}; models "
            f"of one text are compressed here, so join the two into one column, let both be read "
            f"(`task.kind: sentence-pairs`, `{layout.key}.text_pair: {paired[0]}`), or go without it: "
            f"`{layout.key}.ignore: [{paired[0]}]`"
        )
    return [name for name in others if _holds_texts(table, name)]


def is_pair(first: str, second: str) -> bool:
    names = first.casefold(), second.casefold()
    if names[1] in _SECONDS.get(names[0], ()):
        return True
    found = [_NUMBERED.fullmatch(name) for name in names]
    if names[0] == "text" and found[1]:
        return found[1]["stem"].strip("_ ") == "text" and found[1]["which"] in ("2", "b")
    return bool(
        found[0]
        and found[1]
        and found[0]["stem"].strip("_ ") == found[1]["stem"].strip("_ ")
        and _OTHERS[found[0]["which"]] == found[1]["which"]
    )


def _holds_texts(table: Table, name: str) -> bool:
    cells = [cell for cell in table.cells.get(name, ())[:_LOOKED_AT] if isinstance(cell, str) and cell.strip()]
    if len(cells) < _LOOKED_AT // 20 or len(set(cells)) < len(cells) / 2:
        return False
    return sum(len(cell.split()) for cell in cells) >= _WORDS * len(cells)
