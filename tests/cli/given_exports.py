"""A finished study whose verified models have folders, of small files that need no runtime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from autocompress.assets import file_digest
from autocompress.core.outcome import Measurement
from autocompress.deploy.folder import Manifest, file_digests, metrics_json, write_manifest
from autocompress.store import Artifact, Store
from tests.report import given

FILES = (
    "model.onnx",
    "tokenizer.json",
    "example.py",
    "policy.json",
    "check.json",
    "config.json",
    "weights.safetensors",
)


def with_folders(store: Store, name: str = "quickstart", *, numbers: Sequence[int] = (1, 2)) -> list[str]:
    """Writes the folders of the first two finalists, or of those with these numbers, and the baseline's file; the
    digests of the former. The study is made where it is not there yet."""
    if name not in [study.name for study in store.studies()]:
        given.finished(store, name)
    baseline = store.folder(name) / "baseline" / "model.onnx"
    baseline.parent.mkdir(parents=True)
    baseline.write_bytes(b"baseline")
    digests = []
    with store.lease(name) as lease:
        for one in store.finalists(name):
            if one.candidate.number not in numbers:
                continue
            digest = one.candidate.digest
            folder = store.folder(name) / digest
            _write(folder, name, digest)
            store.conclude(
                lease,
                one.candidate.number,
                verified=True,
                reason="",
                measurements=one.measurements,
                artifacts=[
                    Artifact(
                        "export",
                        path.relative_to(store.artifacts).as_posix(),
                        file_digest(path),
                        path.stat().st_size,
                    )
                    for path in sorted(folder.iterdir())
                ],
                provenance=one.provenance,
            )
            digests.append(digest)
    return digests


def _write(folder: Path, study: str, digest: str) -> None:
    folder.mkdir(parents=True)
    for file in FILES:
        (folder / file).write_text(f"{file} of {digest}\n")
    (folder / "README.md").write_text(f"# The card of {digest}\n")
    known = metrics_json((Measurement("quality", 0.9, "accuracy", "measured"),))
    write_manifest(
        folder,
        Manifest(
            study=study,
            digest=digest,
            task={"kind": "text-classification", "labels": ["ABBR", "DESC", "ENTY"], "metric": "accuracy"},
            workload={"batch": 1, "length": 16, "threads": 1},
            metrics=known,
            baseline=known,
            provenance={"device": "host"},
            files=file_digests(folder),
        ),
    )
