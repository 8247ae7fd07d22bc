"""What the keys of YAML files mean: the texts under the fields of the dataclasses that the files are read into.

Python keeps no such text of a field, so it is read from the source; only schemas need it, so no other command waits.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
import sys
import typing
from collections.abc import Iterator, Mapping
from typing import Any


def key_descriptions(kind: type) -> Mapping[str, Mapping[str, str]]:
    """By the name of each dataclass that `kind` is made of: its fields, and what stands under them."""
    return {one.__name__: _under_fields(one) for one in _dataclasses_in(kind, set())}


def _dataclasses_in(hint: Any, seen: set[Any]) -> Iterator[type]:
    """The dataclasses that a type hint mentions, with those of their own fields."""
    if dataclasses.is_dataclass(hint) and isinstance(hint, type) and hint not in seen:
        seen.add(hint)
        yield hint
        hints = typing.get_type_hints(hint)
        for field in dataclasses.fields(hint):
            yield from _dataclasses_in(hints[field.name], seen)
    for part in typing.get_args(hint):
        yield from _dataclasses_in(part, seen)


def _under_fields(kind: type) -> dict[str, str]:
    module = ast.parse(inspect.getsource(sys.modules[kind.__module__]))
    (written,) = (node for node in module.body if isinstance(node, ast.ClassDef) and node.name == kind.__name__)
    found = {
        name: text
        for base in kind.__bases__
        if dataclasses.is_dataclass(base)
        for name, text in _under_fields(base).items()
    }
    for field, below in zip(written.body, written.body[1:], strict=False):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found
