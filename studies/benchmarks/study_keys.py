"""The keys of YAML files as Markdown tables, from their schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from autocompress.config import json_schema
from autocompress.core.metrics import METRICS
from autocompress.core.names import Kind
from autocompress.operators import OPERATORS

_WORDS = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}


def tables(kind: Kind) -> str:
    """A section for every part of a file, in the order in which a reader meets them."""
    schema = json_schema(kind)
    definitions = schema.get("$defs", {})
    places: dict[str, list[str]] = {}
    for place, name in _parts(schema, definitions, ""):
        if place not in places.setdefault(name, []):
            places[name].append(place)
    sections = [_table(schema)]
    for name, where in places.items():
        part = definitions[name]
        if "properties" in part:
            shared = [other for other, places_of in places.items() if places_of == where]
            heading = f"### {', '.join(f'`{one}`' for one in where)}" + f": {name.lower()}" * (len(shared) > 1)
            sections.append(f"{heading}\n\n{part.get('description', '')}\n\n{_table(part)}")
    return "\n\n".join(sections)


def operators() -> str:
    """What each operator does, and its settings."""
    sections = []
    for name, operator in OPERATORS.items():
        about = " ".join((operator.__class__.__doc__ or "").split())
        targets = ", ".join(f"`{part}`" for part in operator.targets)
        rows = [f"| `{setting}` | {_rule(rule)} |" for setting, rule in operator.rules.items()]
        table = ["", "| setting | values |", "|---|---|", *rows] if rows else []
        sections.append("\n".join([f"### `{name}`", "", f"{about} Targets: {targets}.", *table]))
    return "\n\n".join(sections)


def metrics() -> str:
    """What may be an objective or a constraint."""
    rows = [f"| `{one.name}` | {one.unit} | {one.direction} | {one.meaning} |" for one in METRICS.values()]
    return "\n".join(["| metric | unit | | |", "|---|---|---|---|", *rows])


def _rule(rule: Any) -> str:
    if rule.values:
        return ", ".join(f"`{json.dumps(value) if isinstance(value, bool) else value}`" for value in rule.values)
    kind = "number" if rule.real else "whole number"
    ends = [text for text in (_end("from", rule.low), _end("to", rule.high)) if text]
    kind = kind if rule.multiple == 1 else f"multiple of {rule.multiple}"
    words = "".join(f", or `{word}`" for word in rule.words)
    told = "" if rule.told_by is None else _told(*rule.told_by)
    return " ".join([kind, *ends]) + (", or a share of what the model has" if rule.size else "") + words + told


def _told(teller: str, known: Mapping[Any, Any]) -> str:
    """`; 0.5 with `2:4`, and not needed then`"""
    values = ", ".join(f"{value} with `{teller}: {other}`" for other, value in known.items())
    return f"; {values}, where it need not be given"


def _end(word: str, value: float | None) -> str:
    return "" if value is None else f"{word} {value:g}"


def _parts(part: Mapping[str, Any], definitions: Mapping[str, Any], place: str) -> Iterator[tuple[str, str]]:
    """(where it stands, the name of a definition), depth first."""
    for key, value in part.get("properties", {}).items():
        below = f"{place}.{key}".lstrip(".")
        for name, suffix in _references(value, ""):
            yield below + suffix, name
            yield from _parts(definitions[name], definitions, below + suffix)


def _references(value: Any, suffix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        if "$ref" in value:
            yield value["$ref"].rpartition("/")[2], suffix
        for key, inner in value.items():
            yield from _references(inner, suffix + {"items": "[]", "additionalProperties": ".NAME"}.get(key, ""))
    elif isinstance(value, list):
        for inner in value:
            yield from _references(inner, suffix)


def _table(part: Mapping[str, Any]) -> str:
    lines = ["| key | value | unless given | |", "|---|---|---|---|"]
    required = part.get("required", [])
    for key, value in part["properties"].items():
        default = "" if key in required else _default(value)
        about = value.get("description", "").replace("|", "\\|")
        lines.append(f"| `{key}` | {_kind(value)} | {default} | {about} |")
    return "\n".join(lines)


def _default(value: Mapping[str, Any]) -> str:
    known = value.get("default")
    return "" if known in (None, "", [], {}) or isinstance(known, dict) else f"`{json.dumps(known).strip(chr(34))}`"


def _kind(value: Mapping[str, Any]) -> str:
    """What may be written, in words."""
    if "$ref" in value:
        return "see below"
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"])
    if "const" in value:
        return f"`{value['const']}`"
    if "anyOf" in value:
        return " or ".join(dict.fromkeys(_kind(one) for one in value["anyOf"] if one.get("type") != "null"))
    kind = value.get("type", "")
    if kind == "array":
        inner = value.get("items") or {}
        return f"list of: {_kind(inner)}" if inner else f"list of {len(value.get('prefixItems', ()))}"
    if kind == "object":
        return "keys and values"
    return _WORDS.get(kind, "any value")
