"""Two verified finalists as one folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from autocompress.assets import copy_listed, new_export, readable_alike
from autocompress.core.outcome import Measurement
from autocompress.deploy.cascade_card import cascade_card
from autocompress.deploy.cascade_folder import LARGE, SMALL, CascadeManifest, Stage, write_cascade
from autocompress.deploy.folder import Manifest, metrics_json, read_manifest
from autocompress.errors import IntegrityError, NotFoundError
from autocompress.exported.hub import cascade_metadata
from autocompress.exported.proof import stored_files
from autocompress.report import PickedCascade
from autocompress.store import Store

_READ_BY: Final = ("format", "text", "label", "columns", "pattern", "encoding", "threshold", "delimiter", "quoted")
"""What a study says of how labelled rows are written."""


def export_cascade(store: Store, picked: PickedCascade, out: Path) -> Path:
    """Copies both models to `out`, every byte checked, and writes what makes them one. An earlier export there is
    replaced; what was added to it or edited in it is kept.

    Raises NotFoundError when one is not verified any more, IntegrityError when stored files changed, SpecError when
    `out` holds anything but an earlier export.
    """
    cascade = picked.cascade
    places = {SMALL: cascade.small.digest, LARGE: cascade.large.digest}
    finalists = {one.candidate.digest: one for one in store.finalists(picked.study) if one.state == "verified"}
    if gone := [digest for digest in places.values() if digest not in finalists]:
        raise NotFoundError(f"candidate {gone[0]} of {picked.study!r} is not verified any more; pick again")
    wanted = {place: stored_files(store, picked.study, finalists[digest]) for place, digest in places.items()}
    with new_export(out, keep=store.places) as draft:
        for place, digest in places.items():
            (draft / place).mkdir()
            copy_listed(store.folder(picked.study) / digest, draft / place, wanted[place])
        small, large = (read_manifest(draft / place) for place in (SMALL, LARGE))
        _check_alike(draft, small, large)
        requires = str(max((one.runtime.get("requires", "onnxruntime") for one in (small, large)), key=_newness))
        manifest = _manifest(store, picked, small)
        card = cascade_card(manifest, small=cascade.small.summary, large=cascade.large.summary, requires=requires)
        head = cascade_metadata(manifest, (small.runtime_name, large.runtime_name))
        write_cascade(draft, manifest, card=head + card, requires=requires)
        readable_alike(draft)
    return out


def _check_alike(draft: Path, small: Manifest, large: Manifest) -> None:
    """Raises IntegrityError for models that read texts, or name their outputs, in two ways."""
    if small.task != large.task or small.workload != large.workload:
        raise IntegrityError(f"{draft}: its two models were exported for different tasks or workloads")
    if small.files["tokenizer.json"] != large.files["tokenizer.json"]:
        raise IntegrityError(f"{draft}: its two models have different tokenizers")


def _manifest(store: Store, picked: PickedCascade, small: Manifest) -> CascadeManifest:
    cascade = picked.cascade
    found, heats = cascade.found, cascade.temperatures
    return CascadeManifest(
        study=picked.study,
        digest=cascade.digest,
        task=small.task,
        workload=small.workload,
        small=Stage(cascade.small.digest, heats[0]),
        large=Stage(cascade.large.digest, heats[1]),
        doubt=cascade.doubt,
        share={"value": found.share, "interval": list(found.share_interval), "rows": cascade.rows},
        metrics=_metrics(picked),
        baseline=small.baseline,
        provenance={name: known for name, known in small.provenance.items() if name not in ("graph", "form")},
        data=_read_by(store.study(picked.study).resolved),
    )


def _metrics(picked: PickedCascade) -> dict[str, dict[str, Any]]:
    cascade = picked.cascade
    beside, unit = cascade.relative, cascade.metrics["quality"].unit
    drops = {
        "quality_drop": (beside.quality_drop, beside.quality_drop_interval),
        "test_quality_drop": (beside.test_quality_drop, beside.test_quality_drop_interval),
    }
    return metrics_json(
        (
            *cascade.in_full.values(),
            *(
                Measurement(name, value, unit, "measured", within)
                for name, (value, within) in drops.items()
                if value is not None
            ),
            Measurement("expected_drop", cascade.expected.value, unit, "modelled", cascade.expected.interval),
        )
    )


def _read_by(resolved: Mapping[str, Any]) -> dict[str, Any]:
    data: Mapping[str, Any] = (resolved.get("task") or {}).get("data") or {}
    return {name: data[name] for name in _READ_BY if data.get(name) not in (None, [], ())}


def _newness(requires: str) -> list[int]:
    return [int(part) for part in requires.partition(">=")[2].split(".") if part.isdigit()]
