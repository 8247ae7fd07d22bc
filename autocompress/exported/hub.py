"""An exported folder on the Hugging Face hub: what its card tells the hub, and how it gets there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, Final

from autocompress.assets.hub import card_block, upload
from autocompress.deploy.cascade_folder import CascadeManifest, is_cascade, read_cascade
from autocompress.deploy.folder import (
    CARD,
    CASCADE,
    CHECK,
    LICENCE,
    MANIFEST,
    Listing,
    Manifest,
    compared,
    read_manifest,
)
from autocompress.errors import IntegrityError

_ON_HUB: Final = re.compile(r"^([\w.-]+/[\w.-]+)@[0-9a-f]{40}$")
"""How a repository of the hub is written where a manifest says what a model was made from."""

_PIPELINES: Final[Mapping[str, str]] = {
    "share": "text-classification",
    "labels": "text-classification",
    "amount": "text-classification",
    "vector": "sentence-similarity",
    "spans": "token-classification",
}
_OF_MODALITY: Final[Mapping[str, str]] = {"image": "image-classification", "audio": "audio-classification"}
_SPLITS: Final = {"test_quality": "test", "quality": "validation"}


def metadata(manifest: Manifest, *, plain: bool) -> str:
    """The block in YAML that the hub reads from the head of a card: what the model is for, what it was made from and
    how good it is, with intervals. `plain` where transformers loads its torch form. Only repositories of the hub are
    named as what it was made from; the licence is that of the base model where its own card says one, else none."""
    return _block(manifest, [manifest.runtime_name], library="transformers" if plain else "onnx")


def cascade_metadata(manifest: CascadeManifest, runtimes: Iterable[str]) -> str:
    """The same of two models as one, by the runtimes of the two; what is measured is that of both together."""
    return _block(manifest, [*dict.fromkeys(runtimes), CASCADE], library="onnx")


def _block(manifest: Manifest | CascadeManifest, tags: Sequence[str], *, library: str) -> str:
    about, task = manifest.provenance, manifest.task
    modality = str(task.get("modality", "text"))
    pipeline = _OF_MODALITY.get(modality, _PIPELINES.get(str(task.get("answer", "share")), "other"))
    base, data = _ON_HUB.match(str(about["model"])), _ON_HUB.match(str(about["data"]))
    dataset = data[1] if data else Path(str(about["data"])).name
    results = [
        {
            "task_type": pipeline,
            "dataset_type": dataset,
            "dataset_name": dataset,
            "dataset_split": split,
            "metric_type": str(task["metric"]),
            "metric_value": manifest.metrics[name]["value"],
            "metric_name": str(task["metric"]) + _interval(manifest.metrics, name),
        }
        for name, split in _SPLITS.items()
        if name in manifest.metrics
    ]
    return card_block(
        {
            "model_name": f"{manifest.study}-{manifest.digest[:8]}",
            "pipeline_tag": pipeline,
            "library_name": library,
            "tags": ["onnx", *tags, "model-compression", "autocompress"],
            **about.get(LICENCE, {}),
            **({"base_model": base[1]} if base else {}),
            **({"datasets": [data[1]]} if data else {}),
        },
        results,
    )


def push_to_hub(folder: str | Path, repository: str, *, private: bool = True, texts: bool = False) -> str:
    """Uploads an exported folder to `owner/name`, which is made where it is not there, as one commit; returns its
    address. The files of the export alone: what you added to the folder stays here, and so do rows of your data, which
    travel with it so that it can be verified (`check.json`), unless `texts`. The card may be changed.

    Raises NotFoundError where there is no exported folder, IntegrityError where another of its files is not what it
    was, SpecError for what is no name of a repository, HostError when the hub is out of reach, or does not let you
    (`hf auth login`).
    """
    place = Path(folder)
    listing: Listing = read_cascade(place) if is_cascade(place) else read_manifest(place)
    found = compared(place, listing)
    if damaged := [line for name, line in found.changed.items() if PurePosixPath(name).name != CARD]:
        raise IntegrityError("\n".join(damaged))
    files = {MANIFEST, *listing.files} - set(found.missing)
    kept = sorted(name for name in files if texts or PurePosixPath(name).name != CHECK)
    return upload(place, repository, private=private, files=kept)


def _interval(metrics: Mapping[str, Mapping[str, Any]], name: str) -> str:
    """That of a score; of two models as one, whose score has none, that of what they lose, row by row."""
    drop = metrics.get(f"{name}_drop", {})
    if interval := metrics[name].get("interval"):
        return f" (95 % interval {interval[0]:.4g} to {interval[1]:.4g})"
    if interval := drop.get("interval"):
        lost = f"{drop['value']:.4g} below the uncompressed model"
        return f" ({lost}, 95 % interval {interval[0]:.4g} to {interval[1]:.4g})"
    return ""
