"""Studies: a YAML file, or the JSON a study is stored as, into a `StudySpec`."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from autocompress.config.devices import device_of
from autocompress.config.differences import diff_specs
from autocompress.config.document import Document, read_document
from autocompress.config.limits import check_limits
from autocompress.config.problems import Problems, shown
from autocompress.config.shares import place_shares
from autocompress.config.sources import place_sources
from autocompress.config.spaces import STAND_IN as SPACE_STAND_IN
from autocompress.config.spaces import canonical, space_of, space_to_json
from autocompress.config.steps import check_steps
from autocompress.config.threads import place_threads
from autocompress.config.validation import adapter, validated
from autocompress.core.data_spec import SPLITS
from autocompress.core.device import HOST
from autocompress.core.names import locate
from autocompress.core.own_spec import is_own
from autocompress.core.policy import canonical_json
from autocompress.core.ports import Operator, Phase
from autocompress.core.spec import StudySpec
from autocompress.errors import NotFoundError, SpecError

_ASSET = {"path": "x"}
STAND_IN: dict[str, Any] = {
    "name": "x",
    "version": 1,
    "model": _ASSET,
    "task": {"data": {"source": _ASSET, "format": "csv", **{name: {"source": _ASSET} for name in SPLITS[1:]}}},
    "space": SPACE_STAND_IN,
    "device": HOST,
    "objectives": {"quality": "maximize"},
    "budget": {"trials": 1},
    "finalists": {"transfer": {"texts": {"source": _ASSET, "format": "csv"}}},
}


def load_study(ref: str | Path, *, operators: Mapping[str, Operator], data_given: bool = False) -> StudySpec:
    """A study by name or path, with its space read, and its paths absolute. With `data_given` its texts come from
    elsewhere, and it need not name any.

    Paths in the file are relative to the file. Raises NotFoundError, or SpecError with every mistake in the study and
    in the space it names.
    """
    path = locate("study", ref)
    document = read_document(path)
    problems = Problems(document)
    spec = study_of(document, problems, base=path.parent, operators=operators, data_given=data_given)
    problems.raise_any()
    assert spec is not None, "no value and no problem"
    return spec


def study_from_tree(
    tree: Mapping[str, Any],
    *,
    base: Path,
    operators: Mapping[str, Operator],
    source: str,
    data_given: bool = False,
) -> StudySpec:
    """The study that a file would hold which holds this tree, and lies in the folder `base`; `data_given` as in
    `load_study`. Raises SpecError."""
    problems = Problems(document := Document(source, dict(tree)))
    spec = study_of(document, problems, base=base, operators=operators, data_given=data_given)
    problems.raise_any()
    assert spec is not None, "no value and no problem"
    return spec


def study_of(
    document: Document,
    problems: Problems,
    *,
    base: Path,
    operators: Mapping[str, Operator],
    data_given: bool = False,
) -> StudySpec | None:
    """The study a document holds; its mistakes, and those of the space it names, go to `problems`."""
    tree = copy.deepcopy(document.value)
    place_sources(tree, problems, base=base, data_given=data_given)
    _place_device(tree, problems, base=base)
    place_threads(tree, problems, base=base)
    place_shares(tree, problems)
    is_inline = isinstance(tree.get("space"), dict)
    _place_space(tree, problems, base=base, operators=operators)
    spec = validated(StudySpec, tree, problems, stand_in=STAND_IN)
    if spec is not None and is_inline:
        check_steps(spec.space, operators, problems, at=("space",))
    if spec is not None:
        check_limits(spec, problems)
        _check_recovery(spec, operators, problems)
    return spec


def spec_to_json(spec: StudySpec) -> dict[str, Any]:
    """Plain data that `study_from_json` reads back as an equal spec. What certifies nothing, what has an uncut finalist
    as all do, no limit of memory, and a metric of ours are stored as they were before there were such keys: a study of
    then has no difference to tell."""
    tree: dict[str, Any] = adapter(StudySpec).dump_python(spec, mode="json")
    if spec.finalists.certify is None:
        del tree["finalists"]["certify"]
    if spec.finalists.uncut:
        del tree["finalists"]["uncut"]
    if spec.budget.memory_gb is None:
        del tree["budget"]["memory_gb"]
    metric = tree["task"]["metric"]
    if isinstance(metric, dict) and metric["function"] is None:
        del metric["function"]
    return tree


def in_todays_words(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A stored spec of before as it would be stored now. The `minutes` of a budget bounded the search alone until there
    were `search_minutes`, and candidates were judged on all rows until there were `search_rows`; every spec has been
    stored with these since."""
    tree = dict(stored)
    budget = tree.get("budget")
    if not isinstance(budget, Mapping):
        return tree
    if "search_minutes" not in budget:
        budget = {**budget, "minutes": None, "search_minutes": budget.get("minutes")}
    tree["budget"] = {"search_rows": None, **budget}
    return tree


def changes_since(stored: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What differs between a stored spec, of before too, and what `spec_to_json` tells of one today. That there were no
    `search_rows` is no difference: a study goes on by what it began with."""
    then = in_todays_words(stored)
    budget = then.get("budget")
    if isinstance(budget, Mapping) and "search_rows" not in stored["budget"]:
        now = {**now, "budget": {**now["budget"], "search_rows": budget["search_rows"]}}
    return diff_specs(then, now)


def study_from_json(
    stored: Mapping[str, Any], *, operators: Mapping[str, Operator], source: str = "stored study"
) -> StudySpec:
    """The inverse of `spec_to_json`, of specs of before too. Raises SpecError when this version cannot run what was
    stored."""
    if is_own(stored):
        raise SpecError(
            f"study {stored.get('name')!r} is a search over an evaluation of your own: it has no model, data or device "
            "of ours, and no files; its front is shown by `autocompress pareto`"
        )
    stored = in_todays_words(stored)
    try:
        canonical_json(stored)
    except (TypeError, ValueError) as error:
        raise SpecError(f"{source}: holds what JSON cannot: {error}") from error
    problems = Problems(Document(source, stored))
    spec = validated(StudySpec, stored, problems, stand_in=STAND_IN)
    if spec is not None:
        check_steps(spec.space, operators, problems, at=("space",))
    problems.raise_any()
    assert spec is not None, "no value and no problem"
    return spec


def _check_recovery(spec: StudySpec, operators: Mapping[str, Operator], problems: Problems) -> None:
    searched = [
        step.operator
        for step in spec.space.steps
        if step.knobs and step.operator in operators and operators[step.operator].phase == Phase.RECOVERY
    ]
    if searched and not spec.budget.recovery_steps:
        problems.add(
            ("budget", "recovery_steps"),
            f"the space {spec.space.name!r} searches settings of {searched[0]!r}, which only training can tell apart: "
            "set `recovery_steps`, for example to 60",
        )


def _place_device(tree: dict[str, Any], problems: Problems, *, base: Path) -> None:
    device = tree.get("device")
    if not isinstance(device, str) or device == HOST:
        return
    try:
        path = locate("device", device, base=base)
    except NotFoundError as error:
        problems.add(("device",), f"{error}; or write `{HOST}` for this machine")
        return
    if device.endswith((".yaml", ".yml")):
        tree["device"] = os.path.abspath(path)
    try:
        document = read_document(path)
    except SpecError as error:
        problems.include(error.problems)
        return
    inner = Problems(document)
    device_of(document, inner)
    problems.include(inner.lines())


def _place_space(tree: dict[str, Any], problems: Problems, *, base: Path, operators: Mapping[str, Operator]) -> None:
    """Puts the space's own tree where the study names it."""
    written = tree.get("space")
    if isinstance(written, dict):
        tree["space"] = canonical(written, problems, at=("space",))
        return
    if written is None and "space" not in tree:
        return
    tree["space"] = copy.deepcopy(SPACE_STAND_IN)
    if not isinstance(written, str):
        problems.add(("space",), f"must be a name, a path or a mapping, got {shown(written)}")
        return
    try:
        document = read_document(locate("space", written, base=base))
    except NotFoundError as error:
        problems.add(("space",), str(error))
    except SpecError as error:
        problems.include(error.problems)
    else:
        inner = Problems(document)
        space = space_of(document, inner, operators=operators)
        problems.include(inner.lines())
        if space is not None:
            tree["space"] = space_to_json(space)
