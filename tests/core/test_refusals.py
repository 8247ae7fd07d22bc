"""What the machine refuses is told as that, whatever a library made of it."""

from __future__ import annotations

import importlib

import pytest

from autocompress.core.refusals import not_loaded


def error_of(module: str) -> Exception:
    """What a library raises that needs the module."""
    try:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise RuntimeError("failed to export") from error
    except RuntimeError as error:
        return error
    raise AssertionError(module)


def test_a_library_that_is_not_there_is_named_whatever_was_made_of_it() -> None:
    told = not_loaded(error_of("no_such_library"))
    assert told is not None
    with pytest.raises(type(told), match=r"cannot be loaded: No module named 'no_such_library'; install .* again"):
        raise told


def test_a_module_of_ours_that_is_not_there_is_our_fault_and_so_is_any_other_error() -> None:
    assert not_loaded(error_of("autocompress.no_such_module")) is None
    assert not_loaded(RuntimeError("failed to export")) is None
