"""The JSON documents of the commands as Markdown tables, from their schemas."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from autocompress.report.json_forms import DOCUMENTS

PACKAGE = Path(__file__).parents[2] / "autocompress"


_TOLD_ONCE = ("metrics", "relative", "baseline", "best", "quality", "latency_ms", "small", "large")
"""Keys whose inside a reader has seen: at the top of a document, or of the one before."""


def tables() -> str:
    """A section for every document whose schema is kept."""
    return "\n\n".join(_section(name, schema) for name, schema in DOCUMENTS.items())


def others() -> str:
    """The names of those of which no schema is kept, as the code has them."""
    named = {
        found
        for path in sorted(PACKAGE.rglob("*.py"))
        for found in re.findall(r'"autocompress\.([a-z-]+/\d+)"', path.read_text(encoding="utf-8"))
    }
    kept = {schema["$id"].removeprefix("autocompress.") for schema in DOCUMENTS.values()}
    return ", ".join(f"`autocompress.{name}`" for name in sorted(named - kept))


def _section(name: str, schema: Mapping[str, Any]) -> str:
    rows = [f"| `{place}` | {kind} | {about} |" for place, kind, about in _rows(schema, "")]
    head = f"### `{name}`\n\n`{schema['$id']}`. {schema['description']}"
    return "\n".join([head, "", "| key | | |", "|---|---|---|", *rows])


def _rows(schema: Mapping[str, Any], place: str) -> Iterator[tuple[str, str, str]]:
    """Every key with its type and what it means. What is inside of a metric is told once, in the document."""
    required = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        here = f"{place}.{key}".lstrip(".")
        about = str(value.get("description", ""))
        bare, may_be_null = _unwrapped(value)
        inside, suffix = _inside(bare)
        kind = _kind(bare) + (", or null" if may_be_null else "") + ("" if key in required else ", where there is one")
        yield f"{here}{suffix}", kind, about
        told = key in _TOLD_ONCE and place
        if not told and inside is not None and "properties" in inside:
            yield from _rows(inside, f"{here}{suffix}")


def _unwrapped(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any], bool]:
    choices = schema.get("anyOf")
    return (choices[0], True) if choices else (schema, False)


def _inside(schema: Mapping[str, Any]) -> tuple[Mapping[str, Any] | None, str]:
    """What a key holds, and how that is written behind its name."""
    if schema.get("type") == "array":
        return schema["items"], "[]"
    if schema.get("type") == "object" and "additionalProperties" in schema:
        return schema["additionalProperties"], ".*"
    return (schema, "") if "properties" in schema else (None, "")


def _kind(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{one}`" if one is not None else "null" for one in schema["enum"])
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    known = schema.get("type")
    if known == "array":
        return "two numbers" if schema.get("maxItems") == 2 else "list"
    return words.get(str(known), "object" if known == "object" else "any")
