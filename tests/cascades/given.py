"""A finished study of two small models with real files: what they answer, how unsure they are, and what they cost."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from autocompress import config
from autocompress.assets import file_digest
from autocompress.core.lowering import FormChoice
from autocompress.core.outcome import RUNG_SLICED, Evaluated, Measurement, Proposal
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.ports import Phase
from autocompress.deploy.folder import MODEL
from autocompress.deploy.forms import GraphMaker
from autocompress.exported.exporting import Exporting, Known
from autocompress.exported.verification import drops, judge_file, judge_folder
from autocompress.finalists.keeping import keep_row_scores
from autocompress.importance import no_preference
from autocompress.operators import OPERATORS, apply
from autocompress.store import Artifact, Lease, Store
from autocompress.study.gathering import gather
from autocompress.study.study import SilentObserver
from autocompress.teacher.teacher import prepare_teacher
from tests.given_study import write_data, write_model, write_study

STUDY: Final = "pair"
ASKED: Final = FormChoice("written", "as the study asks", {"written": 1.0, "traced": 1.25})
SMALL: Final = CompressionPolicy((Step("remove_layer", "layers.1"),))
LARGE: Final = CompressionPolicy((Step("prune_heads", "layers.0.attention", {"heads": 2, "importance": "magnitude"}),))
MILLISECONDS: Final = {"baseline": 9.0, SMALL.digest: 1.0, LARGE.digest: 4.0}


def write_pair(place: Path) -> Store:
    """The study in a database at `place`. Its models have random weights: they answer, and mean little by it."""
    write_data(place / "texts.csv", rows=400)
    write_model(place / "model", head=True)
    (place / "model" / "README.md").write_text("---\nlicense: apache-2.0\n---\n# A model\n", encoding="utf-8")
    data = {"source": {"path": "texts.csv"}, "format": "csv", "split": [0.3, 0.35, 0.35]}
    changes = {"task": {"max_length": 16, "data": data}, "teacher": {"accept_poor": True}}
    spec = config.load_study(write_study(place, name=STUDY, **changes), operators=OPERATORS)
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda progress: None)
    exporting = Exporting(spec, teacher, config.load_device("xeon-2core"))
    store, resolved = Store.open(str(place / "pair.db")), config.spec_to_json(spec)
    store.create_study(
        STUDY, given=resolved, resolved=resolved, fingerprint={"model": "00"}, objectives=spec.objectives
    )
    with store.lease(STUDY) as lease:
        _search(store, lease)
        _conclude(store, lease, exporting)
        store.set_state(lease, "complete")
    return store


def _search(store: Store, lease: Lease) -> None:
    store.insert_baseline(lease)
    for number, policy in enumerate((None, SMALL, LARGE)):
        if policy is not None:
            store.propose(lease, Proposal(number, {"layers": number}), policy)
        found = (Measurement("quality", 0.3, "accuracy", "measured"), _latency("baseline"))
        attempt = 1 if number else store.restart(lease, number)
        store.finish(
            lease, number, attempt=attempt, outcome=Evaluated(found), rung=RUNG_SLICED, seconds=0.1, provenance={}
        )
    store.nominate(lease, [1, 2])


def _conclude(store: Store, lease: Lease, exporting: Exporting) -> None:
    task, shape = exporting.teacher.task, exporting.teacher.anatomy.shape()
    folder = store.folder(STUDY)
    whole = folder / "baseline" / MODEL
    whole.parent.mkdir(parents=True)
    exporting.begin(folder / "begun", CompressionPolicy(()), shape, exporting.teacher.anatomy, ASKED, _maker())
    whole.write_bytes((folder / "begun" / MODEL).read_bytes())
    baseline = judge_file(whole, task, shape, exporting.spec.workload)
    reference = (*baseline.measurements, _latency("baseline"))
    files = keep_row_scores(folder, "baseline", task, baseline.outputs, root=store.artifacts)
    store.conclude(lease, 0, verified=False, reason="", measurements=reference, artifacts=files, provenance={})
    for number, policy in enumerate((SMALL, LARGE), start=1):
        student = exporting.teacher.anatomy.copy()
        apply(policy, student, no_preference(shape), before=Phase.PRECISION)
        weights = {name: tensor.clone() for name, tensor in student.model.state_dict().items()}
        exporting.begin(folder / "begun", policy, student.shape(), student, ASKED, _maker())
        judged = judge_folder(folder / "begun", task, student.shape())
        found = (*judged.measurements, *drops(judged, baseline, task), _latency(policy.digest))
        known = Known(found, reference, "measured here")
        exporting.finish(folder / policy.digest, folder / "begun", policy, student.shape(), weights, known, ASKED)
        artifacts = [
            *_exported(folder / policy.digest, store),
            *keep_row_scores(folder, policy.digest, task, judged.outputs, root=store.artifacts),
        ]
        store.conclude(lease, number, verified=True, reason="", measurements=found, artifacts=artifacts, provenance={})


def _maker() -> GraphMaker:
    return GraphMaker("written")


def _latency(digest: str) -> Measurement:
    return Measurement("latency_ms", MILLISECONDS[digest], "ms", "measured")


def _exported(folder: Path, store: Store) -> list[Artifact]:
    return [
        Artifact("export", path.relative_to(store.artifacts).as_posix(), file_digest(path), path.stat().st_size)
        for path in sorted(folder.iterdir())
    ]
