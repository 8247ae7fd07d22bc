"""What a stored study of autocompress offers: its verified members, as they would be picked; and the teacher with
nothing taken off, lowered and in int8, beside other tools' quantization.

Seconds of members are those of all stages of the study but the teacher, which every other peer is given too; they are
the same for each member.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

from contract import Clock, Deployed, Job, peer_main


def make(job: Job) -> list[Deployed]:
    return [in_int8(job), *members(job)]


def in_int8(job: Job) -> Deployed:
    """Every layer in int8 and embeddings in 4 bits, written in the form that this device was found to run fastest."""
    from transformers import AutoModelForSequenceClassification

    from autocompress import operators
    from autocompress.anatomy import FAMILIES, Anatomy
    from autocompress.core.policy import CompressionPolicy, Step
    from autocompress.core.workload import Workload
    from autocompress.devices.lowering import choose_lowering
    from autocompress.exported.verification import deploy
    from autocompress.importance import no_preference

    clock = Clock()
    with clock.running():
        anatomy = Anatomy(AutoModelForSequenceClassification.from_pretrained(job.teacher).eval(), FAMILIES)
        shape = anatomy.shape()
        names = dict.fromkeys(part.layer_name for part in shape.blocks())
        layers = [Step("quantize", name, {"bits": 8}) for name in names]
        policy = CompressionPolicy((*layers, Step("quantize", "embeddings", {"bits": 4})))
        operators.apply(policy, anatomy, no_preference(shape))
        lowering, _ = choose_lowering(anatomy.shape(), Workload(), rounds=20, seconds=10)
        deploy(anatomy, job.folder / "int8.onnx", lowering)
    settings = {"switches": dict(lowering.session)}
    return Deployed("autocompress, bits alone", "autocompress", "int8.onnx", clock.seconds, settings=settings)


def members(job: Job) -> list[Deployed]:
    import autocompress
    from autocompress.deploy.folder import MODEL
    from autocompress.errors import NotFoundError

    given = json.loads((Path(job.data) / "about.json").read_text(encoding="utf-8"))["teacher"]
    found = []
    with autocompress.open_study(job.study, storage=job.storage) as study:
        timings = study.row.facts["timings"]
        picked = None
        with suppress(NotFoundError):  # none is that good: all are shown, and none is the pick
            picked = study.pick(max_quality_drop=0.01, minimize="latency_ms", as_seen=True).digest  # as of the others
        for member in study.pareto().verified:
            folder = job.folder / member.digest
            shutil.rmtree(folder, ignore_errors=True)
            study.export(member.digest, folder)
            made_from = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["provenance"]["teacher"]
            found.append(
                Deployed(
                    f"autocompress {member.digest[:8]}",
                    "autocompress",
                    member.digest,
                    sum(seconds for stage, seconds in timings.items() if stage != "teacher"),
                    files=(f"{member.digest}/{MODEL}",),
                    note="; ".join(
                        [member.summary]
                        + ["the pick within one point of the teacher"] * (member.digest == picked)
                        + ["made from another teacher"] * (made_from != given)
                    ),
                )
            )
    return found


if __name__ == "__main__":
    peer_main(make, packages=("autocompress", "onnxruntime"))
