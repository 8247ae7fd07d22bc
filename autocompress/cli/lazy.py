"""Commands whose options are read when somebody asks for them.

Typer reads the options of every command before it looks at which one is meant, and loads pydantic to turn the words of
a line into values. To list the commands or to complete a word needs neither, and both took more than half of the time.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from autocompress.cli.options import narrated


class LazyGroup(TyperGroup):
    """Commands, none of whose options are read before it is asked for."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Options of the group itself, and `--help`."""
        return _adapted(super().get_params(ctx))


class LazyCommand(TyperCommand):
    """A command made of its function, whose documentation is its help unless told otherwise."""

    def __init__(self, name: str, function: Callable[..., None], *, help: str | None = None, epilog: str = "") -> None:
        super().__init__(name, help=help or inspect.getdoc(function), epilog=epilog or None, rich_markup_mode=None)
        self._function = function
        self._is_read = False

    def get_params(self, ctx: Any) -> list[Any]:
        """Its options and arguments, and `--help`."""
        self.read()
        return _adapted(super().get_params(ctx))

    def get_short_help_str(self, limit: int = 0) -> str:
        """Its first sentence, never cut: one that is too long for a line is folded."""
        return " ".join((self.help or "").partition("\n\n")[0].split())

    def invoke(self, ctx: Any) -> Any:
        """Runs the function."""
        self.read()
        return super().invoke(ctx)

    def read(self) -> None:
        """Its options and arguments are in `params` from here on."""
        if self._is_read:
            return
        app = typer.Typer(add_completion=False, rich_markup_mode=None)
        app.command(self.name)(narrated(self._function))
        made = typer.main.get_command(app)
        self.params, self.callback, self._is_read = made.params, made.callback, True


def _adapted(params: list[Any]) -> list[Any]:
    """While the shell asks how a line may go on, what was written on it stays the text that it is: nothing is done with
    it, and to check it would load pydantic. Help names an argument without its type in Python (`FILE <list[Path]>`)."""
    for one in params:
        if "process_value" not in vars(one):
            vars(one)["process_value"] = _unless_completing(one.process_value)
            if one.param_type_name == "argument":
                vars(one)["get_help_record"] = _untyped(one.get_help_record)
    return params


def _untyped(record: Callable[[Any], tuple[str, str] | None]) -> Callable[[Any], tuple[str, str] | None]:
    def call(ctx: Any) -> tuple[str, str] | None:
        found = record(ctx)
        return found and (found[0].partition(" <")[0], found[1])

    return call


def _unless_completing(process: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def call(ctx: Any, value: Any) -> Any:
        return value if ctx.resilient_parsing else process(ctx, value)

    return call
