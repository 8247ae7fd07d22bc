"""JSON Schema of the YAML files, for editors."""

from __future__ import annotations

from typing import Any, Final

from autocompress.config.descriptions import key_descriptions
from autocompress.config.threads import ALL
from autocompress.config.validation import adapter
from autocompress.core.data_spec import SPLITS
from autocompress.core.device import DeviceProfile
from autocompress.core.metrics import METRICS
from autocompress.core.names import FOLDERS, Kind
from autocompress.core.scores import SCORES
from autocompress.core.space import SearchSpace
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import kinds

_TYPES: dict[Kind, type[StudySpec | SearchSpace | DeviceProfile]] = {
    "study": StudySpec,
    "space": SearchSpace,
    "device": DeviceProfile,
}


def json_schema(kind: Kind) -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of what a user may write in a file of this kind."""
    schema: dict[str, Any] = adapter(_TYPES[kind]).json_schema()
    definitions = schema.get("$defs", {})
    described = key_descriptions(_TYPES[kind])
    for name, part in ((_TYPES[kind].__name__, schema), *definitions.items()):
        for key, value in part.get("properties", {}).items():
            if key in described.get(name, {}):
                value["description"] = described[name][key]
    if "StepSpace" in definitions:
        del definitions["StepSpace"]["properties"]["targets"]  # filled in by binding, never written
    if "Share" in definitions:
        share = {"type": "string", "pattern": r"^\d+(\.\d+)?\s*%$", "description": "A share of what the model has."}
        definitions["Share"] = share
    properties = schema["properties"]
    if kind == "study":
        by_name = {"type": "string", "description": "A search space's name, or a path relative to this file."}
        whole = {"description": properties["space"].pop("description"), "anyOf": [by_name, properties["space"]]}
        properties["space"] = whole
        _allow_paths(definitions)
        for name, key in (("Bound", "min"), ("Bound", "max"), *_SHARES):
            _allow_percentages(definitions[name]["properties"][key])
        definitions["TaskSpec"]["properties"]["kind"]["enum"] = list(kinds())
        metric = definitions["TaskSpec"]["properties"]["metric"]
        of_scores: dict[str, Any] = {"enum": list(SCORES)}
        metric["anyOf"] = [of_scores, {"$ref": "#/$defs/MetricSpec"}]
        definitions["MetricSpec"]["if"] = {"not": {"required": ["function"]}}  # whose name is the user's
        definitions["MetricSpec"]["then"] = {"properties": {"name": of_scores}}
        for part in ("objectives", "constraints"):
            properties[part]["propertyNames"] = {"enum": sorted(METRICS)}
        threads = definitions["Workload"]["properties"]
        threads["threads"] = {**threads["threads"], "anyOf": [{"type": "integer"}, {"const": ALL}]}
        del threads["threads"]["type"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"autocompress/{FOLDERS[kind]}.schema.json",
        **schema,
    }


_SHARES: Final = (("Budget", "failure_share"), ("FinalistSpec", "quantization_loss"), ("CertifySpec", "drop"))


def _allow_percentages(value: dict[str, Any]) -> None:
    """Beside its number (of bounds, that on quality)."""
    forms = value.pop("anyOf", None) or [{"type": value.pop("type")}]
    value["anyOf"] = [*forms, {"type": "string", "pattern": r"^[+-]?[\d.]+\s*(%|pts?|pp|points?)$"}]


def _allow_paths(definitions: dict[str, Any]) -> None:
    """Where texts are may be written as a path alone; what only autocompress itself writes is no key."""
    path = {"type": "string", "description": "A path relative to this file."}
    asset, part = {"$ref": "#/$defs/Asset"}, {"$ref": "#/$defs/PartSpec"}
    for name, keys in (("DataSpec", ("source", *SPLITS)), ("PartSpec", ("source",)), ("TextSpec", ("source",))):
        for key in keys:
            written = definitions[name]["properties"][key]
            forms = [path, asset, part] if key in SPLITS else [path, asset]
            definitions[name]["properties"][key] = {"anyOf": forms, "description": written.get("description", "")}
    for name in ("Asset", "ModelAsset"):
        definitions[name]["properties"].pop("kept")
