"""What a stored study of autocompress offers: its verified members, as they would be picked.

Seconds are those of all stages of the study but the teacher, which every other peer is given too; they are the same for
each member.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from pathlib import Path

from contract import Deployed, Job, peer_main


def make(job: Job) -> list[Deployed]:
    import autocompress
    from autocompress.deploy.folder import MODEL
    from autocompress.errors import NotFoundError

    given = json.loads((Path(job.data) / "about.json").read_text(encoding="utf-8"))["teacher"]
    found = []
    with autocompress.open_study(job.study, storage=job.storage) as study:
        timings = study.row.facts["timings"]
        picked = None
        with suppress(NotFoundError):  # none is that good: all are shown, and none is the pick
            picked = study.pick(max_quality_drop=0.01, minimize="latency_ms").digest
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
