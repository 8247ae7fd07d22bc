"""Plain values into core's frozen types, with pydantic's findings in plain words.

Pydantic stops at the first rule of a value and skips the rules between values while one of them is broken. A user
should not have to find mistakes one run at a time, so what was wrong is replaced by a stand-in and the rest is checked
again.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import json
import re
import types
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from autocompress.config.document import Place
from autocompress.config.problems import Problems, shown
from autocompress.errors import did_you_mean

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

T = TypeVar("T")

_ROUNDS = 50
_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "dict_type": "a mapping (lines of `key: value`)",
    "mapping_type": "a mapping (lines of `key: value`)",
    "dataclass_type": "a mapping (lines of `key: value`)",
    "dataclass_exact_type": "a mapping (lines of `key: value`)",
    "tuple_type": "a list",
}
_NEVER_WRITTEN = {"targets", "kept"}  # filled in when a space is bound to a model, and when data come from Python


def adapter(kind: type[T]) -> TypeAdapter[T]:
    """Pydantic's reader and writer of a type."""
    hashable: Any = kind  # mypy holds classes of dataclasses for unhashable
    built: TypeAdapter[T] = _adapter(hashable)
    return built


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)  # 30 ms for a study, so each is built once


def validated(kind: type[T], tree: Any, problems: Problems, *, at: Place = (), stand_in: Any = None) -> T | None:
    """The value `tree` stands for, and every problem of it.

    `at` is where the tree stands in its document. `stand_in` is a smallest valid tree; its parts replace what is wrong,
    so a returned value is only to be used when `problems` stayed empty. None when nothing could be built.
    """
    tree = copy.deepcopy(tree)
    for attempt in range(_ROUNDS):
        try:
            # Strict JSON is the mode that accepts lists for tuples and mappings for dataclasses, but no "4" for 4.
            return adapter(kind).validate_json(json.dumps(tree), strict=True)
        except ValidationError as error:
            before = json.dumps(tree)
            for details in error.errors():
                place, message = _explained(kind, details, tree)
                involved = [place, *_fields_named(details)]
                consequence = attempt > 0 and any(one and problems.knows_inside((*at, *one)) for one in involved)
                if not consequence:
                    problems.add((*at, *place), message)
                _repair(tree, place, stand_in)
            if json.dumps(tree) == before:
                return None
    return None


def _explained(kind: Any, details: ErrorDetails, tree: Any) -> tuple[Place, str]:
    place, hint, owner = _descend(kind, details["loc"])
    found, rule = details["input"], details["type"]
    if rule == "missing":
        return place, "is missing"
    if rule == "unexpected_keyword_argument":
        allowed = {field.name for field in dataclasses.fields(owner)} if dataclasses.is_dataclass(owner) else set()
        return place, f"unknown key; {did_you_mean(str(place[-1]), allowed - _NEVER_WRITTEN)}"
    if rule == "value_error":
        return _pinpointed(place, str(details["ctx"]["error"]), tree)
    if get_origin(hint) is Literal:
        return place, f"got {shown(found)}; {did_you_mean(str(found), map(str, get_args(hint)))}"
    if _is_union(hint):
        return place, f"must be true or false, a number or text, got {shown(found)}"
    if rule in ("too_long", "too_short"):
        return place, f"must hold {len(get_args(hint))} values, got {len(found)}"
    if rule in _EXPECTED:
        return place, f"must be {_EXPECTED[rule]}, got {shown(found)}{_quoting_hint(rule, found)}"
    return place, f"{details['msg']}, got {shown(found)}"


def _quoting_hint(rule: str, found: Any) -> str:
    if rule == "string_type" and isinstance(found, (bool, int, float)):
        return "; put it in quotes"
    if rule in ("int_type", "float_type") and isinstance(found, str) and re.fullmatch(r"-?\d+(\.\d+)?", found):
        return "; remove the quotes"
    return ""


def _descend(kind: Any, loc: Sequence[str | int]) -> tuple[Place, Any, Any]:
    """The place pydantic speaks of, its type, and the type of what encloses it. Union members, which pydantic adds to
    its locations, are no places: the walk ends there."""
    hint, owner = kind, None
    for depth, part in enumerate(loc):
        hint, owner = _inner(hint, part), hint
        if _is_union(hint):
            return tuple(loc[: depth + 1]), hint, owner
    return tuple(loc), hint, owner


def _inner(hint: Any, part: str | int) -> Any:
    if dataclasses.is_dataclass(hint):
        return _without_none(get_type_hints(hint).get(str(part), Any))
    arguments = get_args(hint)
    if get_origin(hint) is tuple:
        return arguments[0]
    if isinstance(get_origin(hint), type) and issubclass(get_origin(hint), Mapping):
        return arguments[1]
    return Any


def _without_none(hint: Any) -> Any:
    members = [member for member in get_args(hint) if member is not types.NoneType]
    return members[0] if _is_union(hint) and len(members) == 1 else hint


def _is_union(hint: Any) -> bool:
    return get_origin(hint) in (Union, types.UnionType)


_PREFIX = re.compile(r"([a-z_]+(?:\[\d+\]|\.[a-z_]+)*): ")
_QUOTED = re.compile(r"'([^']*)'")
_RULE = re.compile(r"`(?P<left>[a-z0-9_.]+) (?P<rule>(?:>=|<=|>|<) -?[\d.]+)` must hold, (?P<rest>.*)", re.DOTALL)


def _pinpointed(place: Place, message: str, tree: Any) -> tuple[Place, str]:
    """Core's rules name the field they are about, in backticks or before a colon; the place becomes that field."""
    owner = _at(tree, place)
    if prefix := _PREFIX.match(message):
        inside = tuple(int(part) if part.isdigit() else part for part in re.findall(r"\w+", prefix[1]))
        if _at(owner, inside) is not None:
            message = message[prefix.end() :]
            key = _QUOTED.search(message)
            named = (key[1],) if key and _at(owner, (*inside, key[1])) is not None else ()
            return (*place, *inside, *named), message
    for inside in _names_in(message):
        if _at(owner, inside) is not None:
            return (*place, *inside), _plain_rule(message, ".".join(inside))
    for key, value in owner.items() if isinstance(owner, dict) else ():
        if message.endswith(f"got {value!r}"):
            return (*place, key), message
    return place, message


def _names_in(message: str) -> list[tuple[str, ...]]:
    """The fields that a rule writes in backticks: "`low <= high` must hold" -> low, high."""
    quoted = " ".join(re.findall(r"`([^`]*)`", message))
    return [tuple(name.split(".")) for name in re.findall(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)*", quoted)]


def _fields_named(details: ErrorDetails) -> list[Place]:
    """The places of all fields that a broken rule is about."""
    if details["type"] != "value_error":
        return []
    return [(*details["loc"], *names) for names in _names_in(str(details["ctx"]["error"]))]


def _plain_rule(message: str, name: str) -> str:
    if (rule := _RULE.fullmatch(message)) and rule["left"] == name:
        return f"must be {rule['rule']}, {rule['rest']}"
    return message.removeprefix(f"`{name}` ")


def _at(tree: Any, place: Place) -> Any:
    """The value at a place, or None."""
    for part in place:
        try:
            tree = tree[part]
        except (KeyError, IndexError, TypeError):
            return None
    return tree


def _repair(tree: Any, place: Place, stand_in: Any) -> None:
    """Put the stand-in's value at a place, or take the value out so that its default counts.

    An entry of a list without a stand-in goes with its list.
    """
    while place:
        parent: Any = _at(tree, place[:-1])
        replacement = _at(stand_in, tuple(0 if isinstance(part, int) else part for part in place))
        if replacement is not None:
            parent[place[-1]] = copy.deepcopy(replacement)
            return
        if isinstance(parent, dict):
            parent.pop(place[-1], None)
            return
        place = place[:-1]
