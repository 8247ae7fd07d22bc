"""Functions of a user's own, as a study keeps them: by the name they are imported by, or not at all."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any, Final

from autocompress.errors import NotFoundError, SpecError

Function = Callable[..., Any]

GIVEN: Final = "given"
"""Stands in a study for a function that has no name to import it by, as one of a notebook: whoever goes on with the
study gives it again."""

_PATH: Final = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


def is_path(text: str) -> bool:
    """Whether it reads `module:name`."""
    return bool(_PATH.fullmatch(text))


def kept_as(function: Function | str, where: str) -> str:
    """`module:name` of a function that is found there, also by another process, and `given` of any other. Raises
    SpecError for what is no function, and for a name that leads to none."""
    if isinstance(function, str):
        imported(function, where)
        return function
    if not callable(function):
        raise SpecError(
            f"{where}: must be a function, or `module:name` of one, got {type(function).__name__} {str(function)[:60]}"
        )
    module, name = getattr(function, "__module__", None), str(getattr(function, "__qualname__", ""))
    path = f"{module}:{name}"
    if module == "__main__" or not is_path(path):
        return GIVEN
    try:
        return path if imported(path, where) is function else GIVEN
    except (NotFoundError, SpecError):
        return GIVEN


def imported(path: str, where: str) -> Function:
    """The function at `module:name`. Raises SpecError for another form or where it is no function, NotFoundError where
    it cannot be imported."""
    if not is_path(path):
        raise SpecError(f"{where}: must read `module:name`, as in `my_project.scores:cost`, got {path[:80]!r}")
    module, name = path.split(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # a module of somebody else's may raise anything
        raise NotFoundError(
            f"{where}: {path} cannot be imported ({type(error).__name__}: {error}); put the folder of its module on "
            "PYTHONPATH, or give the function itself from Python"
        ) from error
    if not callable(found):
        raise SpecError(f"{where}: {path} is {type(found).__name__}, and no function")
    return found  # type: ignore[no-any-return]


def restored(stored: str, given: Function | str | None, *, where: str, study: str) -> Function:
    """The function that a study runs with: the one that is `given` now, else the one it has stored. Raises SpecError
    where it has none, and NotFoundError where that is not found any more."""
    if given is not None:
        return imported(given, where) if isinstance(given, str) else given
    if stored == GIVEN:
        raise SpecError(
            f"study {study!r} was given its {where} from Python, where no other process finds it; go on with it from "
            f"Python, `autocompress.resume({study!r}, {where}=...)`; a function of a module is found by itself"
        )
    return imported(stored, where)
