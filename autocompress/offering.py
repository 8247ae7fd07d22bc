"""From trained finalists to what is offered: exported, judged as files, timed beside the baseline, verified or not."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from autocompress.assets import atomic_folder, file_digest
from autocompress.core.device import DeviceProfile
from autocompress.core.outcome import Measurement, Measurements, values
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Observer
from autocompress.core.shape import ModelShape, describe
from autocompress.core.spec import StudySpec
from autocompress.deploy.card import model_card, step_line
from autocompress.deploy.export import export_stock
from autocompress.deploy.folder import (
    MODEL,
    Manifest,
    file_digests,
    metrics_json,
    write_check,
    write_manifest,
    write_static_files,
)
from autocompress.devices.host import fingerprint_digest
from autocompress.distill import best_weights
from autocompress.evaluate import Setup
from autocompress.finalists import deployed_student, trainable_student
from autocompress.operators import effective
from autocompress.store import Artifact, Lease, Store
from autocompress.teacher import Teacher, versions
from autocompress.verification import Judged, deploy, judge_file, objections, parity, time_files

logger = logging.getLogger(__name__)

_CHECK_TEXTS: Final = 100

Endings = Mapping[str, Path | str]
"""Digest -> the checkpoint that holds a finalist's best weights, or the reason why there is none."""


@dataclass(frozen=True, slots=True)
class _Part:
    """A finalist on its way: its number, weights and shape, its file as judged, and how good it was before export."""

    number: int
    policy: CompressionPolicy
    weights: Mapping[str, torch.Tensor]
    shape: ModelShape
    judged: Judged
    parity: Measurement
    trained_quality: float


class Offering:
    """Concludes the finalists of one study, under a lease."""

    def __init__(
        self,
        spec: StudySpec,
        store: Store,
        lease: Lease,
        teacher: Teacher,
        setup: Setup,
        profile: DeviceProfile,
        *,
        observer: Observer,
    ) -> None:
        self._spec, self._store, self._lease = spec, store, lease
        self._teacher, self._setup, self._profile, self._observer = teacher, setup, profile, observer
        self._shape = teacher.anatomy.shape()
        self._folder = store.artifacts / spec.name

    def conclude(self, endings: Endings) -> None:
        """Verifies or rejects every finalist that was trained, side by side with the baseline."""
        if not endings:
            return
        numbers = {f.candidate.digest: f.candidate for f in self._store.finalists(self._spec.name)}
        baseline = self._judge_baseline()
        parts: list[_Part] = []
        for place, (digest, ending) in enumerate(endings.items()):
            self._observer.progress(place, len(endings), f"exporting {digest[:8]}")
            candidate = numbers[digest]
            if isinstance(ending, str):
                self._reject(candidate.number, f"training failed: {ending}", ())
            else:
                parts.append(self._export(candidate.number, candidate.policy, ending))
        device = fingerprint_digest(self._profile.fingerprint)
        files = [baseline, *(part.judged for part in parts)]
        timed = time_files(files, self._spec.workload, rows=self._shape.word_rows, device=device)
        reference = (*baseline.measurements, *timed[0])
        self._store.conclude(
            self._lease,
            0,
            verified=False,
            reason="the uncompressed model as a stock fp32 export",
            measurements=reference,
            artifacts=[],
            provenance={"versions": dict(versions())},
        )
        for part, latencies in zip(parts, timed[1:], strict=True):
            self._decide(part, (*part.judged.measurements, part.parity, *latencies), reference)

    def _judge_baseline(self) -> Judged:
        path = self._folder / "baseline" / MODEL
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix(".part")
            export_stock(self._teacher.anatomy.model, draft)
            draft.replace(path)
        return judge_file(path, self._teacher.task, self._shape, self._spec.workload)

    def _export(self, number: int, policy: CompressionPolicy, checkpoint: Path) -> _Part:
        weights, history = best_weights(checkpoint)
        plain = trainable_student(self._setup, policy)
        plain.model.load_state_dict(weights)
        plain.model.eval()
        path = self._folder / "exports" / f"{policy.digest}.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        deploy(deployed_student(self._setup, policy, weights), path)
        _, shape = effective(policy, self._shape)
        judged = judge_file(path, self._setup.task, shape, self._spec.workload)
        return _Part(number, policy, weights, shape, judged, parity(plain, self._setup.task), history.best)

    def _decide(self, part: _Part, found: Measurements, reference: Measurements) -> None:
        reasons = objections(found, trained_quality=part.trained_quality, constraints=self._spec.constraints)
        if reasons:
            self._reject(part.number, "; ".join(reasons), found)
        else:
            self._offer(part, found, reference)
        part.judged.path.unlink(missing_ok=True)

    def _reject(self, number: int, reason: str, found: Measurements) -> None:
        self._observer.note(f"candidate {number} is not offered: {reason}")
        self._store.conclude(
            self._lease, number, verified=False, reason=reason, measurements=found, artifacts=[], provenance={}
        )

    def _offer(self, part: _Part, found: Measurements, reference: Measurements) -> None:
        """The folder stands before the store says so: a crash in between leaves a folder that is written again."""
        folder = self._folder / part.policy.digest
        self._write_folder(folder, part, self._manifest(part, found, reference))
        self._store.conclude(
            self._lease,
            part.number,
            verified=True,
            reason="",
            measurements=found,
            artifacts=_artifacts(folder, self._store.artifacts),
            provenance={"versions": dict(versions()), "trained_quality": part.trained_quality},
        )
        known, base = values(found), values(reference)
        self._observer.note(
            f"verified {part.policy.digest[:8]}: {known['quality']:.4f} {self._spec.task.metric}, "
            f"{known['latency_ms']:.3g} ms ({base['latency_ms'] / known['latency_ms']:.1f}x faster), "
            f"{known['size_mb']:.3g} MB"
        )

    def _write_folder(self, folder: Path, part: _Part, manifest: Manifest) -> None:
        validation = self._teacher.task.examples("validation")
        some = validation.take(range(min(_CHECK_TEXTS, len(validation))))
        model: Any = self._teacher.anatomy.model
        with atomic_folder(folder, replace=True) as draft:
            (draft / MODEL).write_bytes(part.judged.path.read_bytes())
            write_static_files(draft, tokenizer=self._teacher.folder, policy=part.policy)
            write_check(draft, some.tokens, some.labels, part.judged.validation_logits[: len(some)])
            model.config.save_pretrained(str(draft))
            save_file(
                {name: tensor.contiguous() for name, tensor in part.weights.items()}, draft / "weights.safetensors"
            )
            steps = [step_line(step) for step in part.policy.steps]
            card = model_card(manifest, summary=describe(part.shape), steps=steps)
            (draft / "README.md").write_text(card, encoding="utf-8")
            write_manifest(draft, replace(manifest, files=file_digests(draft)))

    def _manifest(self, part: _Part, found: Measurements, reference: Measurements) -> Manifest:
        """What the folder will say of itself, but for its files."""
        spec, task, profile = self._spec, self._teacher.task, self._profile
        return Manifest(
            study=spec.name,
            digest=part.policy.digest,
            task={
                "kind": spec.task.kind,
                "labels": list(task.labels),
                "metric": task.metric,
                "max_length": spec.task.max_length,
            },
            workload=asdict(spec.workload),
            metrics=metrics_json(found),
            baseline=metrics_json(reference),
            provenance={
                "model": str(spec.model),
                "data": str(spec.task.data.source),
                "device": profile.fingerprint.get("cpu", profile.name),
                "fingerprint": dict(profile.fingerprint),
                "versions": dict(versions()),
                "seed": spec.seed,
                "teacher": self._teacher.digest,
            },
            files={},
        )


def _artifacts(folder: Path, root: Path) -> list[Artifact]:
    """A row for every file of an exported folder, the manifest included."""
    return [
        Artifact("export", path.relative_to(root).as_posix(), file_digest(path), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
