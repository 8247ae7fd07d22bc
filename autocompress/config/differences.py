"""What changed between two stored studies, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from autocompress.config.document import Place
from autocompress.config.problems import spelled


def diff_specs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """One line for every difference of two `spec_to_json` results: `budget.trials: 96 -> 120`. Empty when equal."""
    return list(_differences(old, new, ()))


def _differences(old: Any, new: Any, place: Place) -> Iterator[str]:
    if _is_mapping(old) and _is_mapping(new):
        yield from _of_mappings(old, new, place)
    elif _are_named(old) and _are_named(new):
        # By name, so that one step put in front does not make all others look changed.
        before, after = ({str(item["name"]): item for item in items} for items in (old, new))
        if list(before) != list(after):
            yield f"{spelled(place)}: {', '.join(before)} -> {', '.join(after)}"
        for name in before:
            if name in after:
                yield from _differences(before[name], after[name], (*place, name))
    elif old != new:
        yield f"{spelled(place)}: {_text(old)} -> {_text(new)}"


def _of_mappings(old: Mapping[str, Any], new: Mapping[str, Any], place: Place) -> Iterator[str]:
    for key in [*old, *(key for key in new if key not in old)]:
        inside = (*place, key)
        if key not in new:
            yield f"{spelled(inside)}: {_text(old[key])} removed"
        elif key not in old:
            yield f"{spelled(inside)}: {_text(new[key])} added"
        else:
            yield from _differences(old[key], new[key], inside)


def _is_share(value: Any) -> bool:
    return isinstance(value, Mapping) and set(value) == {"fraction"}


def _is_mapping(value: Any) -> bool:
    return isinstance(value, Mapping) and not _is_share(value)


def _are_named(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, Mapping) and "name" in item for item in value)


def _text(value: Any) -> str:
    if _is_share(value):
        return f"{100 * value['fraction']:.6g}%"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_text(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_text, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "nothing" if value is None else str(value)
