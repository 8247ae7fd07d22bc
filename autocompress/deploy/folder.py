"""The exported folder: a model that can be carried away, run, checked and rebuilt.

model.onnx           what is deployed
tokenizer.json       how texts become token ids; tokenizer_config.json tells transformers to read it as it is
preprocessor_config.json   of a model of images or recordings instead: how they are read; image_reading.py or
                     audio_reading.py is the program that does
example.py           answers from the command line with the model's runtime, tokenizers or pillow, and numpy alone
manifest.json        task, workload, runtime, metrics, and the SHA-256 of every other file
policy.json          what was done to the model
README.md            the model card
check.json           some validation rows (texts with their token ids, the files of images or recordings), with the
                     answers the model gave when it was exported
config.json, weights.safetensors   the torch form, rebuilt by `autocompress.load_torch`
model.safetensors.index.json       where a config can say what was cut: transformers loads it by these
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path, PurePosixPath
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from autocompress.core.lowering import SWITCHES
from autocompress.core.outcome import Measurements
from autocompress.core.policy import CompressionPolicy
from autocompress.core.runtimes import DEFAULT_RUNTIME, RUNTIMES, named_runtime
from autocompress.core.task_kinds import Modality
from autocompress.errors import IntegrityError, NotFoundError, SpecError
from autocompress.inputs.outputs import IGNORED, stacked
from autocompress.inputs.row_files import READ_WITH, RowFiles

FORMAT: Final = 1
_MOST_BYTES: Final = 64 << 20
"""Of a manifest: more is none."""
MODEL, MANIFEST, CHECK, POLICY = "model.onnx", "manifest.json", "check.json", "policy.json"
CONFIG, WEIGHTS, CARD = "config.json", "weights.safetensors", "README.md"
INDEX: Final = "model.safetensors.index.json"
TORCH_FORM: Final = (CONFIG, POLICY, WEIGHTS)
CASCADE: Final = "cascade"
"""What the manifest of two models as one says that it is (`deploy.cascade_folder`)."""


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

    @property
    def modality(self) -> Modality:
        """What its rows are; folders say nothing of texts."""
        told: Modality = self.task.get("modality", "text")
        return told

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **{name: getattr(self, name) for name in self.__slots__}}


@dataclass(frozen=True, slots=True)
class Checked:
    """Texts, pairs of them, rows of words, or files of images or recordings as bytes, that travel with a folder: of
    texts their token ids, labels as the task has them, and logits, rows first; of pairs the types of their tokens,
    where the model is told them."""

    texts: tuple[Any, ...]
    tokens: tuple[NDArray[np.int64], ...]
    labels: NDArray[Any]
    logits: NDArray[np.float32]
    types: tuple[NDArray[np.int64], ...] | None = None


COVERAGE: Final = "vocabulary"
"""What the provenance of a manifest tells of a tokenizer that knows fewer tokens than the uncompressed model's."""

LICENCE: Final = "licence"
"""What the provenance of a manifest tells of the base model's licence, by the names that the hub has for it, where the
model's own card says it."""


def licence_in_words(about: Mapping[str, Any]) -> str:
    """Of a manifest's provenance, for a card."""
    told: Mapping[str, str] = about.get(LICENCE, {})
    if not told:
        return "licence as stated by its authors"
    link = told.get("license_link")
    return f"licence {told.get('license_name', told['license'])}{f' ({link})' if link else ''}, as its card says"


def read_manifest(folder: Path) -> Manifest:
    """Raises NotFoundError where there is no exported folder, SpecError where it holds two models as one, and
    IntegrityError when the manifest is damaged."""
    path = folder / MANIFEST
    if not path.is_file():
        raise NotFoundError(f"{folder}: no exported model here (no {MANIFEST})")
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"it has more than {_MOST_BYTES >> 20} MiB")
        found = json.loads(path.read_text(encoding="utf-8"))
        if found.get("kind") == CASCADE:
            raise SpecError(f"{folder}: holds a cascade of two models; give one of them, {folder / 'small'} or `large`")
        if found.pop("format") != FORMAT:
            raise IntegrityError(f"{path}: written by another version of autocompress (format {found.get('format')})")
        manifest = Manifest(**found)
        if unknown := sorted(manifest.switches.items() - set(SWITCHES.values())):
            raise IntegrityError(f"{path}: asks for switches that this version does not know: {unknown}")
        return manifest
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error


def metrics_json(measurements: Measurements) -> dict[str, dict[str, Any]]:
    """Metric -> value, unit, source, interval, n."""
    return {measurement.metric: measurement.to_json() for measurement in measurements}


def file_digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file but the manifest, by relative path."""
    return {
        path.relative_to(folder).as_posix(): _sha256(path)
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


@dataclass(frozen=True, slots=True)
class Comparison:
    """A folder against its manifest: files that are missing, changed (each as a sentence) or were added."""

    missing: tuple[str, ...] = ()
    changed: Mapping[str, str] = field(default_factory=dict)
    added: tuple[str, ...] = ()

    def problems(self, folder: Path) -> list[str]:
        """Every difference, one line each."""
        return [
            *(f"{folder / name}: missing" for name in self.missing),
            *self.changed.values(),
            *(f"{folder / name}: not part of the export" for name in self.added),
        ]


class Listing(Protocol):
    """What lists the files of a folder by their SHA-256."""

    @property
    def files(self) -> Mapping[str, str]: ...


def compared(folder: Path, manifest: Listing, only: Collection[str] | None = None) -> Comparison:
    """Of the files that the manifest knows, or of these `only`, then without a look at what was added. Links are
    followed: the folders of a hub's cache consist of them. Raises IntegrityError for a name outside of the folder."""
    names = sorted(manifest.files if only is None else only)
    if outside := [name for name in names if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts]:
        raise IntegrityError(f"{folder / MANIFEST}: damaged: names files outside of the folder: {outside}")
    there = [name for name in names if (folder / name).is_file()]
    changed = {}
    for name in there:
        found, expected = _sha256(folder / name), manifest.files.get(name, "")
        if found != expected:
            wanted = f"expected {expected[:12]}" if expected else "not part of the export"
            changed[name] = f"{folder / name}: changed since it was exported (SHA-256 {found[:12]}, {wanted})"
    added = []
    if only is None:
        every = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
        added = [name for name in every if name not in manifest.files and name != MANIFEST]
    return Comparison(tuple(sorted(set(names) - set(there))), changed, tuple(added))


def verify_files(folder: Path) -> Manifest:
    """Raises IntegrityError naming every file that is missing, added or changed since the export."""
    manifest = read_manifest(folder)
    if problems := compared(folder, manifest).problems(folder):
        raise IntegrityError("\n".join(problems))
    return manifest


def verify_used(folder: Path, names: Collection[str]) -> Manifest:
    """The same for files that somebody is about to use; nobody else's matter: a licence in the card, a
    `.gitattributes`, weights that were left behind. Raises NotFoundError naming every one that is missing, too."""
    manifest = read_manifest(folder)
    found = compared(folder, manifest, names)
    if found.missing:
        unknown = [name for name in found.missing if name not in manifest.files]
        why = f"; the export never had {', '.join(unknown)}" if unknown else ""
        raise NotFoundError(
            f"{folder}: {', '.join(found.missing)} missing, removed or left behind{why}; export the model again"
        )
    if problems := found.problems(folder):
        raise IntegrityError("\n".join(problems))
    return manifest


def write_static_files(
    folder: Path,
    *,
    rows: RowFiles,
    policy: CompressionPolicy,
    runtime: str,
    requires: str,
    task: Mapping[str, Any],
) -> None:
    """How rows are read, the example for the runtime and the task, and the policy. `requires` is what pip installs the
    runtime from, `task` what the manifest says of it."""
    rows.write(folder)
    (folder / "example.py").write_text(_example(runtime, task, requires=requires), encoding="utf-8")
    _write_json(folder / POLICY, {"digest": policy.digest, "steps": policy.to_json()})


_NO_PAIRS: Final = """\
if len(given) % 2:
    sys.exit("this model reads pairs of texts: give the first and the second text of each")
"""


def _example(runtime: str, task: Mapping[str, Any], *, requires: str) -> str:
    """A script for a runtime, what it reads and a form of answers; `task` is what the manifest says of it."""
    pairs, modality = bool(task.get("pairs")), str(task.get("modality", "text"))
    reading = _READING[modality]
    asked = '"A man sleeps." "Somebody is awake."' if pairs else reading.arguments
    filled = {
        "$LOOP": _template(f"reads_{modality}"),
        "$IMPORT": reading.imported,
        "$OPEN": reading.opened,
        "$PACKAGES": reading.package,
        "$REQUIRES": requires,
        "$TEXTS": str(1 + pairs),
        "$ROWS": "first and second text in turn" if pairs else "one text a row",
        "$CHECK": _NO_PAIRS if pairs else "",
        "$ARGUMENTS": asked,
        "$ANSWER": _template(str(task["answer"])),
    }
    example = _template(RUNTIMES[named_runtime(runtime)].library)
    for name, text in filled.items():
        example = example.replace(f"{name} " if name == "$PACKAGES" and not text else name, text)
    return example


@dataclass(frozen=True, slots=True)
class _Reading:
    """How an example reads rows: what it imports, from which package, how that is opened, and what it may be asked."""

    imported: str
    package: str
    opened: str
    arguments: str


_READING: Final[Mapping[str, _Reading]] = {
    "text": _Reading(
        "from tokenizers import Tokenizer",
        "tokenizers",
        'tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))',
        '"How far is it from Denver to Aspen ?"',
    ),
    "image": _Reading(
        "sys.dont_write_bytecode = True  # nothing is added to this folder\n"
        "    from image_reading import Unreadable, preprocessing_in, read",
        "pillow",
        "how = preprocessing_in(folder)",
        "picture.png",
    ),
    "audio": _Reading(
        "sys.dont_write_bytecode = True  # nothing is added to this folder\n"
        "    from audio_reading import Unreadable, preprocessing_in, read",
        "",
        "how = preprocessing_in(folder)",
        "speech.wav",
    ),
}


def _template(name: str) -> str:
    return resources.files("autocompress.deploy").joinpath(f"example_{name}.py.txt").read_text(encoding="utf-8")


def write_check(folder: Path, examples: Checked, readings: Mapping[str, Sequence[int]]) -> None:
    """Texts with their token ids, true labels and the exported file's own logits, and `readings`: token ids of texts
    that tokenizers like to read in different ways."""
    by_token = examples.logits.ndim > 2
    lengths = [len(ids) for ids in examples.tokens] if by_token else [None] * len(examples.labels)
    _write_json(
        folder / CHECK,
        {
            "texts": [_kept(row) for row in examples.texts],
            "tokens": [ids.tolist() for ids in examples.tokens],
            **({} if examples.types is None else {"types": [kinds.tolist() for kinds in examples.types]}),
            "labels": [_real(row, length) for row, length in zip(examples.labels, lengths, strict=True)],
            "logits": [_rounded(_real(row, length)) for row, length in zip(examples.logits, lengths, strict=True)],
            "readings": [{"text": text, "tokens": list(ids)} for text, ids in readings.items()],
        },
    )


def _real(row: NDArray[Any], length: int | None) -> Any:
    """What is kept of a row: of what is said token by token, that of its own."""
    return (row if length is None else row[:length]).tolist()


def _rounded(values: Any) -> Any:
    return round(float(values), 6) if isinstance(values, float) else [_rounded(value) for value in values]


def read_check(folder: Path) -> tuple[Checked, dict[str, list[int]]]:
    """What `write_check` wrote; folders of old hold neither texts nor readings. Raises IntegrityError."""
    path = folder / CHECK
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        checked = Checked(
            tuple(map(_given, found.get("texts", ()))),
            tuple(np.asarray(ids, dtype=np.int64) for ids in found["tokens"]),
            _filled_up(found["labels"], np.asarray(found["labels"][:1]).dtype, IGNORED),
            _filled_up(found["logits"], np.dtype(np.float32), 0),
            tuple(np.asarray(kinds, dtype=np.int64) for kinds in found["types"]) if "types" in found else None,
        )
        return checked, {entry["text"]: list(entry["tokens"]) for entry in found.get("readings", ())}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(f"{path}: damaged: {error}") from error


def _kept(row: Any) -> Any:
    """A text or a pair as it is; what is bytes as JSON can hold it."""
    return {"base64": base64.b64encode(row).decode()} if isinstance(row, bytes) else row


def _given(row: Any) -> Any:
    """The inverse. Raises ValueError, KeyError or TypeError."""
    if isinstance(row, dict):
        return base64.b64decode(row["base64"], validate=True)
    return row if isinstance(row, str) else tuple(row)


def answering(folder: Path, manifest: Manifest) -> tuple[str, ...]:
    """The files that a folder needs to answer. Raises IntegrityError for rows that this version cannot read."""
    if manifest.modality not in READ_WITH:
        raise IntegrityError(
            f"{folder / MANIFEST}: its model reads {manifest.modality!r}, which this version of autocompress does not "
            f"know (known: {', '.join(READ_WITH)}); upgrade it"
        )
    return (MODEL, *READ_WITH[manifest.modality], POLICY)


def _filled_up(rows: Sequence[Any], kind: np.dtype[Any], fill: int) -> NDArray[Any]:
    """Rows as `_real` left them."""
    if not rows or not isinstance(rows[0], list):
        return np.asarray(rows)
    return stacked([np.asarray([row], dtype=kind) for row in rows], fill=fill)


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Written last: a folder with a manifest is complete."""
    _write_json(folder / MANIFEST, manifest.to_json())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
