"""Whoever writes a study reads in its schema what each key means."""

from typing import Any

import pytest

from autocompress.config import json_schema
from autocompress.core.names import FOLDERS, Kind


def keys(kind: Kind) -> dict[str, dict[str, Any]]:
    """What the schema says of every key of every type: `Budget.trials` -> its part of the schema."""
    schema = json_schema(kind)
    parts = {kind: schema, **schema.get("$defs", {})}
    return {f"{name}.{key}": value for name, part in parts.items() for key, value in part.get("properties", {}).items()}


@pytest.mark.parametrize("kind", list(FOLDERS))
def test_every_key_is_described(kind: Kind) -> None:
    bare = [key for key, value in keys(kind).items() if not value.get("description", "").strip()]
    assert not bare, f"say what they mean, in a text right under each field in core/: {', '.join(bare)}"


@pytest.mark.parametrize("kind", list(FOLDERS))
def test_descriptions_are_sentences(kind: Kind) -> None:
    for key, value in keys(kind).items():
        text = value["description"]
        assert text[0] in "`0123456789" or text[0].isupper(), f"{key}: {text}"
        assert text.endswith("."), f"{key}: {text}"
        assert "\n" not in text, key
