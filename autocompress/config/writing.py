"""Plain values as a YAML file for people: comments above keys, texts quoted wherever a reader could take them for
something else."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from autocompress.config.document import Place, parse_document
from autocompress.errors import SpecError

_PLAIN: Final = re.compile(r"[A-Za-z][A-Za-z0-9_/-]*(\.[A-Za-z0-9_/-]+)*")
_NO_TEXT: Final = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "inf", "nan"}
_WIDTH: Final = 110
_KEY: Final = re.compile(r"[A-Za-z_][\w-]*(\.[\w-]+)*")


def commented_yaml(tree: Mapping[str, Any], comments: Mapping[Place, str], *, head: str = "") -> str:
    """The text of a file that `read_document` reads as `tree`. A comment stands above the key at its place; those of
    the top are apart from what comes before."""
    lines = [*_comment(head, "")] if head else []
    for key, value in tree.items():
        if (key,) in comments:
            lines += ["", *_comment(comments[key,], "")]
        lines += _entry((key,), value, comments, "")
    return "\n".join(lines) + "\n"


def set_values(settings: Mapping[str, str]) -> dict[str, Any]:
    """`{"teacher.epochs": "2"}` as the tree of a study, with values as YAML reads them. Raises SpecError."""
    tree: dict[str, Any] = {}
    for key, written in settings.items():
        where = f"--set {key}={written}"
        if not _KEY.fullmatch(key):
            raise SpecError(f"{where}: must be KEY=VALUE with a key of a study, as in `--set teacher.epochs=2`")
        value = parse_document(f"value: {written}", source=where).value
        if set(value) != {"value"}:
            raise SpecError(f"{where}: must be one value; quote one that holds a colon or a line's end")
        inner = tree
        *outer, last = key.split(".")
        for part in outer:
            inner = inner.setdefault(part, {})
            if not isinstance(inner, dict):
                raise SpecError(f"{where}: {part!r} has a value already")
        inner[last] = value["value"]
    return tree


def flow_mapping(text: str, *, source: str) -> dict[str, Any]:
    """`{wheel: ..., member: ...}` as a command line has it. Raises SpecError."""
    return parse_document(text, source=source).value


def merged(tree: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`tree` with the values of `over` in it, mappings key by key."""
    found = dict(tree)
    for key, value in over.items():
        inner = found.get(key)
        both = isinstance(inner, Mapping) and isinstance(value, Mapping)
        found[key] = merged(inner, value) if both and inner is not None else value
    return found


def _entry(place: Place, value: Any, comments: Mapping[Place, str], indent: str) -> Iterator[str]:
    key = _scalar(place[-1])
    if not isinstance(value, Mapping) or not value:
        yield f"{indent}{key}: {_flow(value)}"
        return
    yield f"{indent}{key}:"
    deeper = indent + "  "
    for name, inner in value.items():
        if (*place, name) in comments:
            yield from _comment(comments[*place, name], deeper)
        yield from _entry((*place, name), inner, comments, deeper)


def _comment(text: str, indent: str) -> list[str]:
    lines = []
    for line in text.splitlines():
        margin = " " * (len(line) - len(line.lstrip()))
        begin = f"{indent}# {margin}"
        lines += textwrap.wrap(
            line.strip(), _WIDTH, initial_indent=begin, subsequent_indent=begin, break_long_words=False
        ) or [f"{indent}#"]
    return lines


def _flow(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: Any) -> str:
    if isinstance(value, str) and not (_PLAIN.fullmatch(value) and value.lower() not in _NO_TEXT):
        quoted: str = yaml.safe_dump(value, default_style='"', allow_unicode=True, width=float("inf"))
        return quoted.rstrip("\n")
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
