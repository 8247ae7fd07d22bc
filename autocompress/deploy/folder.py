"""The exported folder: a model that can be carried away, run, checked and rebuilt.

model.onnx           what is deployed
tokenizer.json       how texts become token ids; tokenizer_config.json tells transformers to read it as it is
example.py           answers from the command line with the model's runtime, tokenizers and numpy alone
manifest.json        task, workload, runtime, metrics, and the SHA-256 of every other file
policy.json          what was done to the model
README.md            the model card
check.json           some validation texts as token ids with the answers the model gave when it was exported
config.json, weights.safetensors   the torch form, rebuilt by `autocompress.load_torch`
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.lowering import SWITCHES
from autocompress.core.outcome import Measurements
from autocompress.core.policy import CompressionPolicy
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, named_runtime
from autocompress.deploy.tokenizer import TokenizerFiles
from autocompress.errors import IntegrityError, NotFoundError

FORMAT: Final = 1
MODEL, MANIFEST, CHECK = "model.onnx", "manifest.json", "check.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an exported folder says of itself. `runtime` is what it was measured in: name, version, options; `switches`
    are the entries of the session's configuration that its latency was measured with."""

    study: str
    digest: str
    task: Mapping[str, Any]
    workload: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    baseline: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]
    files: Mapping[str, str]
    switches: Mapping[str, str] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=lambda: {"name": DEFAULT_RUNTIME})

    @property
    def runtime_name(self) -> str:
        return str(self.runtime["name"])

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **{name: getattr(self, name) for name in self.__slots__}}


def read_manifest(folder: Path) -> Manifest:
    """Raises NotFoundError where there is no exported folder, IntegrityError when the manifest is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFoundError(f"{folder}: no exported model here (no {MANIFEST})")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.pop("format") != FORMAT:
            raise IntegrityError(f"{path}: written by another version of autocompress (format {found.get('format')})")
        manifest = Manifest(**found)
        if unknown := sorted(manifest.switches.items() - set(SWITCHES.values())):
            raise IntegrityError(f"{path}: asks for switches that this version does not know: {unknown}")
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error


def metrics_json(measurements: Measurements) -> dict[str, dict[str, Any]]:
    """Metric -> value, unit, source, interval, n."""
    return {measurement.metric: measurement.to_json() for measurement in measurements}


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, by relative path."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def verify_files(folder: Path) -> Manifest:
    """Raises IntegrityError naming every file that is missing, added or changed since the export."""
    manifest = read_manifest(folder)
    found = file_digests(folder)
    problems = [f"{folder / name}: missing" for name in sorted(set(manifest.files) - set(found))]
    problems += [
        f"{folder / name}: changed since it was exported (SHA-256 {found[name][:12]}, expected {digest[:12]})"
        for name, digest in sorted(manifest.files.items())
        if name in found and found[name] != digest
    ]
    problems += [f"{folder / name}: not part of the export" for name in sorted(set(found) - set(manifest.files))]
    if problems:
        raise IntegrityError("\n".join(problems))
    return manifest


def write_static_files(folder: Path, *, tokenizer: TokenizerFiles, policy: CompressionPolicy, runtime: str) -> None:
    """The tokenizer, the example for the runtime, and the policy."""
    tokenizer.write(folder)
    name = f"example_{RUNTIMES[named_runtime(runtime)].library}.py.txt"
    example = resources.files("autocompress.deploy").joinpath(name).read_text(encoding="utf-8")
    (folder / "example.py").write_text(example, encoding="utf-8")
    _write_json(folder / "policy.json", {"digest": policy.digest, "steps": policy.to_json()})


def write_check(
    folder: Path, tokens: tuple[NDArray[np.int64], ...], labels: NDArray[np.int64], logits: NDArray[np.float32]
) -> None:
    """Token ids, true labels and the exported file's own logits of some texts."""
    _write_json(
        folder / CHECK,
        {
            "tokens": [ids.tolist() for ids in tokens],
            "labels": labels.tolist(),
            "logits": [[round(float(value), 6) for value in row] for row in logits],
        },
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Written last: a folder with a manifest is complete."""
    _write_json(folder / MANIFEST, manifest.to_json())


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
