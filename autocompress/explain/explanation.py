"""Why a verified member looks the way it does: what mattered in the teacher, what was kept of it, what both attend to,
and where its time goes.

An explanation is a list of sections (`report/explanation.py`), put together here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.core.lowering import FormChoice
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Observer
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.spec import StudySpec
from autocompress.core.task_kinds import NOUNS
from autocompress.core.text_inputs import IDS
from autocompress.core.wording import BITS_NOT_FASTER, NOT_FASTER, zeros
from autocompress.deploy.card import coverage_lines
from autocompress.deploy.folder import MODEL, read_manifest
from autocompress.distill import predict
from autocompress.errors import NotFoundError, SpecError
from autocompress.explain.latency import machine_ceilings, measure_parts, why_not_here
from autocompress.explain.sentence import Given, Sentence, tokenized
from autocompress.exported.rebuild import load_torch
from autocompress.importance import Importance, Scores, attention_maps, divergence, importance_from_json
from autocompress.inputs.tokenizer import TOKENIZER
from autocompress.inputs.vocabulary import translated
from autocompress.operators import effective, in_unpacked_bits, kept_rows
from autocompress.operators.prune_heads import PruneHeads
from autocompress.report import explain_policy, pick
from autocompress.report.attention_section import Answers, AttentionSection, LayerMaps, Maps
from autocompress.report.explanation import Explanation, Section
from autocompress.report.importance_section import ImportanceSection
from autocompress.store import Store
from autocompress.tasks import Batch, Task
from autocompress.teacher.importance import criteria_of, prepare_importance, whole_importance
from autocompress.teacher.teacher import Teacher, cached_teacher, prepare_teacher

FACT: Final = "importance"
"""The fact of a study that holds the scores its candidates were pruned by."""

_LONGEST: Final = 24
"""Tokens of a sentence whose maps can still be read."""
_GOOD_LENGTHS: Final = range(10, 19)
"""Tokens of a validation text that makes a good example."""
_SAME: Final = 2e-3
"""Scores are stored with four digits; a model trained again on another machine differs by more."""


_BUSY: Final = (
    "others used the machine while the parts were timed, so their times are too long; explain it again when it is quiet"
)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Ten seconds' work. Two threads save three of them on an idle machine, and on a busy one cost minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True, slots=True)
class VerifiedMember:
    """A member that was exported: its policy, and the folder that holds it."""

    digest: str
    policy: CompressionPolicy
    folder: Path


def verified_member(store: Store, name: str, ref: int | str | None) -> VerifiedMember | None:
    """The candidate asked for, else the one that `pick` takes; None when a study has none yet.

    Raises NotFoundError for a candidate that was not verified.
    """
    verified = [one for one in store.finalists(name) if one.state == "verified" and one.candidate.number]
    if ref is None:
        if not verified:
            return None
        ref = pick(store, name).digest
    candidate = store.record(name, ref).candidate
    if candidate.number not in {one.candidate.number for one in verified}:
        known = ", ".join(one.candidate.digest[:8] for one in verified) or "none"
        what = "the uncompressed model" if candidate.policy.is_baseline else "not trained and verified"
        raise NotFoundError(
            f"candidate {candidate.digest} of {name!r} is {what}; an explanation compares a verified finalist with its "
            f"teacher (verified: {known}), see `autocompress pareto {name}`"
        )
    return VerifiedMember(candidate.digest, candidate.policy, store.folder(name) / candidate.digest)


def found_teacher(
    store: Store, spec: StudySpec, model: Path, data: Mapping[str, Path], *, may_train: bool, observer: Observer
) -> Teacher:
    """The teacher as the study left it in the cache. Raises NotFoundError when it is gone and may not be trained."""
    observer.stage("teacher")
    known = (str(record.provenance["teacher"]) for record in store.records(spec.name) if "teacher" in record.provenance)
    try:
        with _one_thread():
            return cached_teacher(spec, model, data, digest=next(known, ""))
    except NotFoundError:
        if not may_train:
            raise
    return prepare_teacher(
        spec, model, data, on_progress=lambda at: observer.progress(at.done, at.total, f"epoch {at.epoch + 1}")
    )


def why_no_maps(policy: CompressionPolicy, shape: ModelParts) -> str:
    """Why a member's maps of attention cannot stand beside its teacher's; empty where they can."""
    if all(part.mixing is None or part.mixing.is_usual for part in effective(policy, shape)[1].blocks()):
        return ""
    return (
        "maps of attention are not shown, as layers of the member attend in another form or keep some of their tokens, "
        "and so have no map of all tokens"
    )


@_one_thread()
def explain(
    spec: StudySpec,
    facts: Mapping[str, Any],
    teacher: Teacher,
    member: VerifiedMember | None,
    *,
    text: Given | None,
    observer: Observer,
) -> Explanation:
    """Everything that is known of a member, or of the teacher alone while there is none."""
    shape = teacher.anatomy.shape()
    sentence = _sentence(spec, teacher, text)
    observer.stage("importance")
    importance = whole_importance(spec, teacher)
    used, notes = _as_used(facts, prepare_importance(spec, teacher))
    kept = kept_heads(member.policy, shape, used) if member else None
    sections: list[Section] = [ImportanceSection(importance, kept, criteria_of(spec))]
    if member is None or kept is None:
        notes.append(
            f"study {spec.name!r} has no verified finalist yet, so there is no student whose attention could be shown; "
            f"go on with `autocompress resume {spec.name}`"
        )
    else:
        if sentence is None:
            notes.append(f"maps of attention are shown of texts alone, and {spec.task.kind} reads none")
        elif (own := _as_read(teacher, member, sentence.batch)) is None:
            notes.append("maps of attention are not shown, as the member reads the text with other tokens; try --text")
        elif why_not := why_no_maps(member.policy, shape):
            notes.append(why_not)
        else:
            observer.stage("attention")
            sections.append(_attention(teacher, member, kept, sentence, own, importance))
        about = read_manifest(member.folder).provenance
        if told := about.get("graph"):
            notes.append(f"its graph is {FormChoice(**told)}")
        notes += coverage_lines(about)
        notes += [NOT_FASTER] if zeros(effective(member.policy, shape)[1]) else []
        notes += [BITS_NOT_FASTER] if in_unpacked_bits(member.policy) else []
        timed, said = _parts(spec, facts, member, shape, observer)
        sections += timed
        notes += said
    if sentence is not None and sentence.left_out and member:
        whole = len(sentence.tokens) + sentence.left_out
        notes.append(f"the text is cut at {len(sentence.tokens)} of its {whole} tokens, as maps are read by eye")
    summary = explain_policy(member.policy if member else CompressionPolicy(()), shape).summary
    return Explanation(spec.name, member.digest if member else "", summary, tuple(sections), tuple(notes))


def _sentence(spec: StudySpec, teacher: Teacher, text: Given | None) -> Sentence | None:
    """The text, or the pair, whose attention is shown; None where the model reads none. Raises SpecError for one that
    it cannot."""
    task = teacher.task
    if task.modality != "text":
        if text is not None:
            raise SpecError(f"--text: {task.kind} reads {NOUNS[task.modality]}; leave it out")
        return None
    return tokenized(task, _example(task) if text is None else text, longest=_longest(spec))


def kept_heads(policy: CompressionPolicy, shape: ModelParts, importance: Importance) -> dict[int, list[int]]:
    """The heads of the uncompressed model that a policy keeps, by layer; removed layers are left out."""
    pruned = {step.target: step for step in policy.steps if step.operator == PruneHeads.name}
    kept = {}
    for part in effective(policy, shape)[1].blocks():
        if part.mixing is not None and part.layer is not None:
            step, heads = pruned.get(part.name), list(range(part.mixing.heads))
            together = part.mixing.heads // part.mixing.key_value_heads
            kept[part.layer] = PruneHeads.kept(step, part.layer, importance, together=together) if step else heads
    return kept


def _as_used(facts: Mapping[str, Any], found: Importance) -> tuple[Importance, list[str]]:
    """The scores that candidates were pruned by: those in the cache, unless the study stored others."""
    if FACT not in facts:
        return found, []
    stored = importance_from_json(facts[FACT])
    same = all(
        name in found.heads and np.allclose(found.heads[name][layer], scores, rtol=_SAME)
        for name, layers in stored.heads.items()
        for layer, scores in layers.items()
    )
    if same:
        return found, []
    return stored, [
        "the scores measured now are not those that the study stored, as its teacher was another one; kept heads are "
        "told from the stored ones"
    ]


def _longest(spec: StudySpec) -> int:
    return min(_LONGEST, spec.task.max_length)


def _example(task: Task) -> Given:
    """The first validation text of a handy length, or pair of texts; the same one whenever a study is explained. Of a
    row of words their text."""
    texts = task.examples("validation")
    handy = (text for text, ids in zip(texts.texts, texts.tokens, strict=True) if len(ids) in _GOOD_LENGTHS)
    found = next(handy, texts.texts[0])
    if task.pairs:
        first, second = found
        return first, second
    return found if isinstance(found, str) else " ".join(found)


def _attention(
    teacher: Teacher,
    member: VerifiedMember,
    kept: Mapping[int, list[int]],
    sentence: Sentence,
    own: Batch,
    importance: Importance,
) -> AttentionSection:
    """`own` is the sentence as the member reads it."""
    student = anatomy_of(load_torch(member.folder))
    batch = sentence.batch
    indices = [layer.index for layer in teacher.anatomy.layers]
    theirs = dict(zip(indices, attention_maps(teacher.anatomy, batch), strict=True))
    attending = (layer.index for layer in student.layers if layer.mixes)
    ours = dict(zip(attending, attention_maps(student, own), strict=True))
    scores = importance.heads["combined"]
    return AttentionSection(
        sentence.text,
        sentence.words,
        sentence.left_out,
        _answers(teacher, student, batch, own),
        tuple(_layer(index, kept[index], scores[index], theirs[index][0], maps[0]) for index, maps in ours.items()),
    )


def _layer(index: int, kept: list[int], scores: Scores, teacher: Tensor, student: Tensor) -> LayerMaps:
    """Maps are [heads, length, length], scores those of the teacher's heads."""
    best = int(scores[kept].argmax())
    means = teacher.mean(0), student.mean(0)
    return LayerMaps(
        layer=index,
        kept=tuple(kept),
        heads_before=len(teacher),
        teacher=_array(means[0]),
        student=_array(means[1]),
        head=kept[best],
        teacher_head=_array(teacher[kept[best]]),
        student_head=_array(student[best]),
        apart=float(divergence(*means).mean().clamp(min=0)),
    )


def _parts(
    spec: StudySpec, facts: Mapping[str, Any], member: VerifiedMember, shape: ModelParts, observer: Observer
) -> tuple[list[Section], list[str]]:
    """Where the member's time goes, and what must be said of that; `shape` is the teacher's."""
    if away := why_not_here(facts):
        return [], [away]
    left = effective(member.policy, shape)[1]
    if left.runtime != DEFAULT_RUNTIME:
        return [], [f"the model runs in {left.runtime}; the time of its parts is told of {DEFAULT_RUNTIME} alone"]
    observer.stage("parts", "alone on the machine, some ten seconds")
    ceilings, known_from = machine_ceilings(spec.device)
    load, switches = spec.as_served(facts).workload.typical, read_manifest(member.folder).switches
    found = measure_parts(member.folder / MODEL, left, load, ceilings, known_from=known_from, switches=switches)
    return [found], [_BUSY] if found.disturbed else []


def _array(maps: Tensor) -> Maps:
    return np.asarray(maps.double().numpy())


def _as_read(teacher: Teacher, member: VerifiedMember, batch: Batch) -> Batch | None:
    """One text as a member reads it; None where it has fewer tokens, and so makes others of the text."""
    if kept_rows(member.policy) is None:
        return batch
    after = (member.folder / TOKENIZER).read_text(encoding="utf-8")
    ids = translated(batch.inputs[IDS][0].numpy(), teacher.task.tokenizer.definition, after)
    return None if ids is None else replace(batch, inputs={**batch.inputs, IDS: torch.from_numpy(ids[None])})


def _answers(teacher: Teacher, student: Anatomy, batch: Batch, own: Batch) -> Answers:
    task, models = teacher.task, ((teacher.anatomy.model, batch), (student.model, own))
    theirs, ours = (predict(model, [read], precision="fp32")[0] for model, read in models)
    return Answers(task.told(theirs), task.told(ours), task.told_beside(ours, theirs))
