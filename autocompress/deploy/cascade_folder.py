"""The exported folder of a cascade: two models of one study that answer as one.

small/, large/       the two, each a whole exported folder (`deploy.folder`)
example.py           answers from the command line by either, with ONNX Runtime, tokenizers and numpy alone
manifest.json        which is which, the threshold and what it means, what is promised, and the SHA-256 of every file
README.md            the card
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Final

from autocompress.assets import file_digest
from autocompress.deploy.folder import CARD, CASCADE, MANIFEST, file_digests, read_manifest
from autocompress.errors import IntegrityError, NotFoundError, SpecError

SMALL, LARGE = "small", "large"
PLACES: Final = (SMALL, LARGE)
CASCADE_FORMAT: Final = 2
"""What read folders before there were cascades knows 1, and refuses others by that."""
_MEANING: Final = (
    "a text goes on to `large` where what the softmax of `small` (of outputs / temperature) leaves to all "
    "labels but the likeliest is more than `doubt`"
)


@dataclass(frozen=True, slots=True)
class Stage:
    """One of the two: the digest of its policy, and what its outputs are divided by before the softmax."""

    digest: str
    temperature: float


@dataclass(frozen=True, slots=True)
class CascadeManifest:
    """What the folder of a cascade says of itself. `doubt` is the threshold above which a text is handed on; `share` is
    what is handed on: its value, its 95 % interval and the number of held-out rows. `metrics` and `baseline` are those
    of the two as one and of the uncompressed model, `data` says how labelled rows were read."""

    study: str
    digest: str
    task: Mapping[str, Any]
    workload: Mapping[str, Any]
    small: Stage
    large: Stage
    doubt: float
    share: Mapping[str, Any]
    metrics: Mapping[str, Mapping[str, Any]]
    baseline: Mapping[str, Mapping[str, Any]]
    provenance: Mapping[str, Any]
    data: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        plain = ("study", "digest", "task", "workload", "share", "metrics", "baseline", "provenance", "data", "files")
        stages = {
            name: {"digest": one.digest, "temperature": one.temperature}
            for name, one in ((SMALL, self.small), (LARGE, self.large))
        }
        return {
            "format": CASCADE_FORMAT,
            "kind": CASCADE,
            "threshold": {"doubt": self.doubt, "meaning": _MEANING},
            **stages,
            **{name: getattr(self, name) for name in plain},
        }


def is_cascade(folder: Path) -> bool:
    """Whether a manifest there says so; what is damaged is left to whoever reads it."""
    try:
        found = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get("kind") == CASCADE


def read_cascade(folder: Path) -> CascadeManifest:
    """Raises NotFoundError where there is no exported folder, SpecError where it holds a single model, IntegrityError
    when the manifest is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFoundError(f"{folder}: no exported model here (no {MANIFEST})")
    if not is_cascade(folder):
        read_manifest(folder)
        raise SpecError(f"{folder}: holds a single model, no cascade of two")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if (form := found.pop("format")) != CASCADE_FORMAT:
            raise IntegrityError(f"{path}: written by another version of autocompress (format {form})")
        del found["kind"]
        doubt = float(found.pop("threshold")["doubt"])
        small, large = (Stage(**found.pop(name)) for name in PLACES)
        manifest = CascadeManifest(**found, small=small, large=large, doubt=doubt)
        usable = all(0 < one.temperature < math.inf for one in (small, large)) and 0 <= doubt < 1
        if not usable or not isinstance(manifest.files, dict):
            raise ValueError("its threshold or temperatures are none")
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error


def cascade_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest of the folder itself: those of the two models are among them."""
    return {**file_digests(folder), **{f"{one}/{MANIFEST}": file_digest(folder / one / MANIFEST) for one in PLACES}}


def write_cascade(folder: Path, manifest: CascadeManifest, *, card: str, requires: str) -> None:
    """What stands beside the two models, which are there already; the manifest last. `requires` is what pip installs
    their runtime from."""
    template = resources.files("autocompress.deploy").joinpath("example_cascade.py.txt").read_text(encoding="utf-8")
    (folder / "example.py").write_text(template.replace("$REQUIRES", requires), encoding="utf-8")
    (folder / CARD).write_text(card, encoding="utf-8")
    found = replace(manifest, files=cascade_digests(folder))
    text = json.dumps(found.to_json(), indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
