"""The folders of a study's finalists: first what answers, to be judged as a user gets it, then all the rest."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import torch
from safetensors.torch import save_file

from autocompress.anatomy import Anatomy
from autocompress.assets import atomic_folder, readable_alike
from autocompress.core.device import DeviceProfile
from autocompress.core.lowering import FormChoice, Lowering
from autocompress.core.opsets import ATTENTION_OPSET, OPSETS, PLAIN_OPSET
from autocompress.core.outcome import Measurements
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.spec import StudySpec
from autocompress.core.versions import versions
from autocompress.core.wording import describe
from autocompress.deploy.card import model_card, step_line
from autocompress.deploy.folder import (
    CARD,
    COVERAGE,
    INDEX,
    LICENCE,
    MODEL,
    WEIGHTS,
    Checked,
    Manifest,
    file_digests,
    metrics_json,
    read_manifest,
    write_check,
    write_manifest,
    write_static_files,
)
from autocompress.deploy.forms import GraphMaker
from autocompress.deploy.loader import ExportedModel
from autocompress.deploy.session import runtime
from autocompress.exported.adapter import cut_config
from autocompress.exported.hub import metadata
from autocompress.exported.plain_form import plain_config, write_index
from autocompress.exported.verification import deploy, required
from autocompress.inputs.vocabulary import Coverage, Vocabulary
from autocompress.tasks import HARD_TEXTS, Task
from autocompress.teacher.teacher import Teacher

_CHECK_TEXTS: Final = 100
_CHECK_BYTES: Final = 8_000_000
"""Of images that travel with a folder: fewer than a hundred where they are large."""


def opset_note(spec: StudySpec, profile: DeviceProfile, shape: ModelParts) -> str:
    """That the device's profile chose a form of files which only newer runtimes read, or would have; else nothing."""
    asked, newest = spec.export.opset, OPSETS[ATTENTION_OPSET]
    form = profile.lowering(
        hidden=shape.width, head_size=shape.head_size, workload=spec.workload, runtime=shape.runtime
    )
    if not form.has_attention_node:
        return ""
    begin = f"device {profile.name!r} is faster with `Attention` nodes"
    if spec.export.has_attention:
        return (
            f"{begin}: files are written in ONNX opset {ATTENTION_OPSET}, which ONNX Runtime reads from "
            f"{newest.onnxruntime} on; for older ones write `export: {{opset: {PLAIN_OPSET}}}`"
        )
    return (
        f"{begin}, which ONNX opset {asked} does not have: predicted latencies are those with them, measured ones "
        "those of the files, without"
    )


@dataclass(frozen=True, slots=True)
class Known:
    """What a folder says of its model and of the baseline, and how the latencies were obtained."""

    found: Measurements = ()
    reference: Measurements = ()
    how: str = ""


@dataclass(frozen=True, slots=True)
class Exporting:
    """Writes the folders of one study. Rows are read as its teacher reads them, or as `vocabulary` says, by `task`."""

    spec: StudySpec
    teacher: Teacher
    profile: DeviceProfile
    vocabulary: Vocabulary | None = None
    task: Task = field(init=False)
    hidden: int = field(init=False)
    head_size: int = field(init=False)

    def __post_init__(self) -> None:
        shape, task = self.teacher.anatomy.shape(), self.teacher.task
        if self.vocabulary is not None:
            task = task.read_with(self.vocabulary, renumbered=True)
        object.__setattr__(self, "task", task)
        object.__setattr__(self, "hidden", shape.width)
        object.__setattr__(self, "head_size", shape.head_size)

    def lowering(self, shape: ModelParts) -> Lowering:
        """The form of the graph that the device runs fastest, of those that the study's version of ONNX can say."""
        found = self.profile.lowering(
            hidden=self.hidden, head_size=self.head_size, workload=self.spec.workload, runtime=shape.runtime
        )
        return found if self.spec.export.has_attention else found.without_attention_node()

    def begin(
        self,
        folder: Path,
        policy: CompressionPolicy,
        shape: ModelParts,
        student: Anatomy,
        choice: FormChoice,
        maker: GraphMaker,
    ) -> None:
        """A folder that answers, and knows nothing of how well yet. Whatever stood there is replaced."""
        with atomic_folder(folder, replace=True) as draft:
            deploy(student, draft / MODEL, self.lowering(shape), maker=maker)
            requires = required(draft / MODEL, shape.runtime)
            write_static_files(
                draft,
                rows=self.task.reading,
                policy=policy,
                runtime=shape.runtime,
                requires=requires,
                task=self.task.about(),
            )
            manifest = self._manifest(policy, shape, Known(), choice, requires=requires)
            write_manifest(draft, replace(manifest, files=file_digests(draft)))

    def finish(
        self,
        folder: Path,
        begun: Path,
        policy: CompressionPolicy,
        shape: ModelParts,
        weights: Mapping[str, torch.Tensor],
        known: Known,
        choice: FormChoice,
    ) -> None:
        """What was `begun`, with the answers to some texts, the torch form, the card and all that is known of it."""
        model: Any = self.teacher.anatomy.model
        requires = required(begun / MODEL, shape.runtime)
        manifest = self._manifest(policy, shape, known, choice, requires=requires)
        with atomic_folder(folder, replace=True) as draft:
            shutil.copytree(begun, draft, dirs_exist_ok=True)
            self._write_check(draft)
            task = self.task.about()
            head = str(task["head"])
            plain = plain_config(model.config, head, shape, weights, task)
            (plain or cut_config(model.config, head, policy, task)).save_pretrained(str(draft))
            held = {name: tensor.contiguous() for name, tensor in weights.items()}
            save_file(held, draft / WEIGHTS, metadata={"format": "pt"})  # which transformers wants to be told
            if plain is not None:
                write_index(draft, held)
            steps = [step_line(step) for step in policy.steps]
            card = model_card(manifest, summary=describe(shape), steps=steps, plain=plain is not None)
            (draft / CARD).write_text(metadata(manifest, plain=plain is not None) + card, encoding="utf-8")
            write_manifest(draft, replace(manifest, files=file_digests(draft)))
            readable_alike(draft)

    def _write_check(self, draft: Path) -> None:
        validation = self.task.examples("validation")
        some = validation.take(range(min(_CHECK_TEXTS, len(validation))))
        exported = ExportedModel(draft)
        if self.task.modality != "text":
            rows = tuple(one if isinstance(one, bytes) else Path(one).read_bytes() for one in some.given)
            kept = _within(rows, _CHECK_BYTES)
            write_check(draft, Checked(rows[:kept], (), some.labels[:kept], exported.logits(rows[:kept])), {})
            return
        readings = {text: ids.tolist() for text, ids in zip(HARD_TEXTS, exported.tokens(HARD_TEXTS), strict=True)}
        tokens = tuple(exported.tokens(some.texts))
        write_check(draft, Checked(some.texts, tokens, some.labels, exported.logits(some.texts), some.types), readings)

    def _manifest(
        self, policy: CompressionPolicy, shape: ModelParts, known: Known, choice: FormChoice, *, requires: str
    ) -> Manifest:
        """What the folder will say of itself, but for its files."""
        spec, task, profile = self.spec, self.task, self.profile
        lowering = self.lowering(shape)
        return Manifest(
            study=spec.name,
            digest=policy.digest,
            task=task.about(),
            workload=spec.workload.to_json(),
            metrics=metrics_json(known.found),
            baseline=metrics_json(known.reference),
            provenance={
                **{name: str(asset) for name, asset in spec.sources.items() if not name.startswith("data")},
                "data": str(spec.task.data),
                **({LICENCE: dict(self.teacher.licence)} if self.teacher.licence else {}),
                "device": profile.fingerprint.get("cpu", profile.name),
                "fingerprint": dict(profile.fingerprint),
                "latency": known.how,
                "graph": asdict(choice),
                **({} if self.vocabulary is None else {COVERAGE: coverage(self.vocabulary, self.teacher.task)}),
                **({"form": str(lowering)} if choice.form == "written" else {}),
                "versions": dict(versions()),
                "seed": spec.seed,
                "teacher": self.teacher.digest,
            },
            files={},
            switches=lowering.session,
            runtime={**asdict(runtime(shape.runtime)), "requires": requires},
        )


def coverage(vocabulary: Vocabulary, task: Task) -> dict[str, Any]:
    """What a manifest says of a tokenizer that knows fewer tokens, on rows that nothing was learned from."""
    splits = {name: asdict(Coverage.of(task.examples(name), vocabulary)) for name in ("validation", "test")}
    return {"tokens": len(vocabulary.kept), **splits}


def retell(folder: Path, policy: CompressionPolicy, shape: ModelParts, found: Measurements) -> None:
    """What a finished folder says of its model, in manifest and card, is what is `found` now."""
    manifest = replace(read_manifest(folder), metrics=metrics_json(found))
    with atomic_folder(folder, replace=True) as draft:
        shutil.copytree(folder, draft, dirs_exist_ok=True)
        steps, plain = [step_line(step) for step in policy.steps], (draft / INDEX).is_file()
        card = model_card(manifest, summary=describe(shape), steps=steps, plain=plain)
        (draft / CARD).write_text(metadata(manifest, plain=plain) + card, encoding="utf-8")
        write_manifest(draft, replace(manifest, files=file_digests(draft)))
        readable_alike(draft)


def _within(rows: Sequence[bytes], most: int) -> int:
    """How many of the first rows are together no larger than that; two at least."""
    together, count = 0, 0
    for row in rows:
        together += len(row)
        if together > most and count >= 2:
            break
        count += 1
    return count
