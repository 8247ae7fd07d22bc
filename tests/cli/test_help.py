"""Help: whole at every width, in plain words, and it names what comes next."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import pytest

from autocompress.cli.app import command

from .conftest import Run

PROGRAM: Final = command()
COMMANDS: Final[Mapping[str, Any]] = {
    **{name: one for name, one in PROGRAM.commands.items() if name != "db"},
    **{f"db {name}": one for name, one in PROGRAM.commands["db"].commands.items()},
}


@pytest.mark.parametrize("columns", [None, 60, 80, 200])
def test_every_help_fits_and_is_whole(run: Run, monkeypatch: pytest.MonkeyPatch, columns: int | None) -> None:
    """In a pipe (None) it has 80 columns."""
    if columns:
        monkeypatch.setenv("COLUMNS", str(columns))
    for name in ("", "db", *COMMANDS):
        ended = run(*name.split(), "--help")
        assert ended.code == 0
        assert max(map(len, ended.out.splitlines())) <= (columns or 80), name
        told = ended.out.partition("\n\n")[2]
        assert not re.search(r"…|[^/]\.\.\.", told), f"{name}: cut, or it leaves something to guess: {told}"
        assert not re.search(r"<\w", told), f"{name}: a type of Python: {told}"
        entries = re.split(r"\n  (?=\S)", told)
        assert [one for one in entries if one.count("[default:") > 1] == [], name


def test_every_help_names_commands_that_there_are(run: Run) -> None:
    for name in ("", *COMMANDS):
        for named in re.findall(r"`autocompress ([a-z-]+)", " ".join(run(*name.split(), "--help").out.split())):
            assert named in COMMANDS, name


def test_every_argument_and_option_is_explained_in_a_sentence() -> None:
    for name, one in COMMANDS.items():
        for each in one.get_params(one.context_class(one)):
            words = (each.help or "").partition(" [default:")[0]
            assert re.fullmatch(r"\S.{5,}\.", words), (name, each.name, words)
