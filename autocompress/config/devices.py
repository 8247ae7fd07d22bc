"""Device profiles: what a machine is and what was measured on it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, get_args

import yaml

from autocompress.config.document import PLAIN_SCALARS, Document, read_document
from autocompress.config.problems import Problems
from autocompress.config.validation import adapter, validated
from autocompress.core.device import Block, DeviceProfile
from autocompress.core.names import locate

_ROWS = [
    {"block": block, "bits": 32, "size": 0, "milliseconds": 0.0, "low": 0.0, "high": 0.0} for block in get_args(Block)
]
STAND_IN: dict[str, Any] = {
    "name": "x",
    "version": 1,
    "source": "measured",
    "description": "",
    "fingerprint": {},
    "runtime": {"name": "x", "version": "1"},
    "measured_on": "",
    "tables": [{"hidden": 1, "head_size": 1, "workload": {}, "rows": _ROWS}],
}


def load_device(ref: str | Path) -> DeviceProfile:
    """A device profile by name or path. Raises NotFoundError, or SpecError with every mistake."""
    document = read_document(locate("device", ref))
    problems = Problems(document)
    profile = device_of(document, problems)
    problems.raise_any()
    assert profile is not None, "no value and no problem"
    return profile


def device_of(document: Document, problems: Problems) -> DeviceProfile | None:
    """The profile a document holds; its mistakes go to `problems`."""
    return validated(DeviceProfile, document.value, problems, stand_in=STAND_IN)


def device_to_json(profile: DeviceProfile) -> dict[str, Any]:
    """The profile as plain values."""
    tree: dict[str, Any] = adapter(DeviceProfile).dump_python(profile, mode="json")
    for written, table in zip(tree["tables"], profile.tables, strict=True):
        written["workload"] = table.workload.to_json()
    return tree


def device_from_json(tree: Any) -> DeviceProfile:
    """The inverse of `device_to_json`. Raises ValueError when it is no profile."""
    return adapter(DeviceProfile).validate_python(tree)


def dump_device(profile: DeviceProfile) -> str:
    """YAML that `load_device` reads back as an equal profile."""
    tree = device_to_json(profile)
    # ASCII only: PyYAML folds a line separator inside of quotes and reads it back as a space.
    return yaml.dump(tree, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=120)


class _Dumper(yaml.SafeDumper):
    """Quotes a text that PyYAML's rules or ours read otherwise: `no` under the one, `1e-3` under the other."""

    yaml_implicit_resolvers = {start: list(rules) for start, rules in yaml.SafeDumper.yaml_implicit_resolvers.items()}


for _tag, (_pattern, _starts) in PLAIN_SCALARS.items():
    _Dumper.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern.pattern})$"), _starts)
