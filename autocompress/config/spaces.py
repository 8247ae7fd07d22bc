"""Search spaces: knob syntax, shares, and whether the operators can do what a space asks.

knobs:
  bits: {choices: [8, 32]}                  one of these
  heads: {choices: [25%, 50%, 100%]}        shares of what the model has
  channels: {low: 256, high: 1536, step: 64}
  temperature: {low: 1e-2, high: 10.0, log: true}
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.config.document import Document, Place, read_document
from autocompress.config.problems import Problems, shown
from autocompress.config.steps import Ruled, check_steps
from autocompress.config.validation import adapter, validated
from autocompress.core.names import locate
from autocompress.core.space import Choice, Integer, Knob, Real, SearchSpace, Share

STAND_IN: dict[str, Any] = {"name": "x", "version": 1, "steps": [{"operator": "", "target": "*"}]}

_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_FORMS = "{choices: [...]}, {low, high, step} for whole numbers or {low, high, log} for real ones"


def load_space(ref: str | Path, *, operators: Mapping[str, Ruled] | None = None) -> SearchSpace:
    """A search space by name or path; with `operators`, also whether they can do what it asks.

    Raises NotFoundError, or SpecError with every mistake.
    """
    document = read_document(locate("space", ref))
    problems = Problems(document)
    space = space_of(document, problems, operators=operators)
    problems.raise_any()
    assert space is not None, "no value and no problem"
    return space


def space_of(
    document: Document, problems: Problems, *, operators: Mapping[str, Ruled] | None = None
) -> SearchSpace | None:
    """The space a document holds; its mistakes go to `problems`."""
    space = validated(SearchSpace, canonical(document.value, problems), problems, stand_in=STAND_IN)
    if space is not None and operators is not None:
        check_steps(space, operators, problems)
    return space


def space_to_json(space: SearchSpace) -> dict[str, Any]:
    """Plain data that `SearchSpace` is read back from."""
    tree: dict[str, Any] = adapter(SearchSpace).dump_python(space, mode="json")
    return tree


def canonical(tree: dict[str, Any], problems: Problems, *, at: Place = ()) -> dict[str, Any]:
    """A space's tree as written by a user, in the form core's types are read from: shares resolved, knobs that are
    wrong reported and left out."""
    tree = copy.deepcopy(tree)
    steps = tree.get("steps")
    seen: dict[str, int] = {}
    for position, step in enumerate(steps if isinstance(steps, list) else []):
        if not isinstance(step, dict):
            continue
        place = (*at, "steps", position)
        if "targets" in step:
            problems.add((*place, "targets"), "is found out when a model is known; remove it and write `target`")
            del step["targets"]
        if isinstance(step.get("knobs"), dict):
            step["knobs"] = _canonical_knobs(step["knobs"], problems, at=(*place, "knobs"))
        name = step.get("name") or step.get("operator")
        if isinstance(name, str) and seen.setdefault(name, position) != position:
            twin = f"steps[{seen[name]}]"
            problems.add((*place, "name"), f"{name!r} is the name of {twin} already; set a `name` of its own")
            step["name"] = f"{name} #{position}"
    return tree


def _canonical_knobs(knobs: dict[str, Any], problems: Problems, *, at: Place) -> dict[str, Any]:
    built = {}
    for name, written in knobs.items():
        place = (*at, name)
        if not isinstance(written, dict):
            problems.add(place, f"must be {_FORMS}, got {shown(written)}")
            continue
        kind, stand_in = _knob_kind(written)
        tree = _with_shares(written, problems, at=place)
        validated(kind, tree, problems, at=place, stand_in=stand_in)
        if not problems.knows_inside(place):
            built[name] = tree
    return built


def _knob_kind(written: Mapping[str, Any]) -> tuple[type[Knob], dict[str, Any]]:
    if "choices" in written or not {"low", "high"} & set(written):
        return Choice, {"choices": [1]}
    if "log" in written or any(isinstance(written.get(end), float) for end in ("low", "high")):
        return Real, {"low": 1.0, "high": 1.0}
    return Integer, {"low": 1, "high": 1}


def _with_shares(written: dict[str, Any], problems: Problems, *, at: Place) -> dict[str, Any]:
    choices = written.get("choices")
    if not isinstance(choices, list):
        return written
    built: list[Any] = []
    for position, value in enumerate(choices):
        place = (*at, "choices", position)
        if isinstance(value, dict | list) or value is None:
            problems.add(place, f"must be true or false, a number, text, or a share like 50%, got {shown(value)}")
        elif isinstance(value, str) and (share := _SHARE.fullmatch(value)):
            try:
                built.append({"fraction": Share(float(share[1]) / 100).fraction})
            except ValueError:
                problems.add(place, f"a share must lie above 0% and at most at 100%, got {value}")
        else:
            built.append(value)
    if choices and not built:
        built = [1]  # every one of them is reported already, their absence need not be
    return {**written, "choices": built}
