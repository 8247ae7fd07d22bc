"""Fewer words: what stays, how texts are read then, what is refused, and a study over it alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models
from transformers import AutoModelForSequenceClassification

import autocompress
from autocompress import config, operators
from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.candidates.evaluate import Setup, SliceEvaluator
from autocompress.candidates.lessons import Lessons
from autocompress.core.cost import parameters, weight_bytes
from autocompress.core.lowering import FormChoice
from autocompress.core.outcome import Evaluated, Measurement
from autocompress.core.parts import ModelParts, Uses
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.space import Choice, SearchSpace, Share, StepSpace
from autocompress.core.spec import StudySpec
from autocompress.core.storage import Storage
from autocompress.core.training_spec import FinalistSpec, TransferSpec
from autocompress.core.vocabulary import with_uses, words_in_use
from autocompress.deploy.forms import GraphMaker
from autocompress.distill import predict
from autocompress.errors import CandidateError, SpecError
from autocompress.exported.exporting import Exporting, Known
from autocompress.exported.folder_check import verify_folder
from autocompress.exported.verification import judge_folder
from autocompress.finalists.recovery import Recovery, deployed_student, trainable_student
from autocompress.inputs.examples import Examples
from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.inputs.vocabulary import Coverage, Vocabulary, row_scores, uses_of
from autocompress.operators import OPERATORS
from autocompress.study.gathering import gather
from autocompress.study.preflight import misfits
from autocompress.study.study import SilentObserver
from autocompress.tasks import batches
from autocompress.teacher.importance import counted, prepare_importance
from autocompress.teacher.teacher import Teacher, prepare_teacher
from tests.families.given import telling
from tests.given_study import BOARD, FILLERS, write_data, write_model, write_study
from tests.given_words import KNOWN, SPECIAL, UNUSED, files, tokenizer, write_piece_model

ASKED = FormChoice("written", "as the study asks", {"written": 1.0})
KINDS = ("BPE", "Unigram", "WordPiece")
USED = SearchSpace("words", 1, (StepSpace("prune_vocabulary", "embeddings"),))
SHARES = SearchSpace(
    "words", 1, (StepSpace("prune_vocabulary", "embeddings", {"rows": Choice(("used", Share(0.5), Share(1.0)))}),)
)


def read(given: TokenizerFiles, *texts: str) -> Examples:
    return Examples(texts, tuple(given.opened()(texts)), np.zeros(len(texts), np.int64), given.pad)


def cut(kind: str, rows: int | None = None) -> tuple[Vocabulary, Examples]:
    """A tokenizer without what these texts do not use, or with so many rows, and the texts."""
    whole = files(kind)
    texts = read(whole, " ".join(KNOWN), "the goal and the team")
    scores = row_scores(whole, tokenizer(kind).get_vocab_size(), [texts])
    kept = np.argsort(-scores, kind="stable")[: rows or int((scores > 0).sum())]
    return Vocabulary.of(whole, np.sort(kept)), texts


@pytest.mark.parametrize("kind", KINDS)
def test_texts_that_were_counted_are_read_as_before(kind: str) -> None:
    vocabulary, texts = cut(kind)
    assert len(vocabulary.kept) < tokenizer(kind).get_vocab_size()
    assert Coverage.of(texts, vocabulary) == Coverage(1.0, 1.0, 1.0)
    again = vocabulary.read(texts, renumbered=True)
    assert [vocabulary.kept[ids].tolist() for ids in again.tokens] == [ids.tolist() for ids in texts.tokens]
    assert max(map(max, again.tokens)) < len(vocabulary.kept)


@pytest.mark.parametrize("kind", KINDS)
def test_words_that_went_are_read_by_pieces_that_stayed(kind: str) -> None:
    vocabulary, _ = cut(kind)
    own, unknown = Tokenizer.from_str(vocabulary.files.definition), read(vocabulary.whole, *UNUSED)
    after = vocabulary.read(unknown, renumbered=True)
    for word, ids in zip(UNUSED, after.tokens, strict=True):
        assert own.token_to_id("[UNK]") not in ids, word
        assert own.decode(ids.tolist()).replace(" ##", "").replace("\u2581", "").replace(" ", "") == word
    found = Coverage.of(unknown, vocabulary)
    assert found.texts < 1
    assert found.tokens < 1 < found.growth


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_and_characters_stay_however_few_rows(kind: str) -> None:
    whole = files(kind)
    scores = row_scores(whole, tokenizer(kind).get_vocab_size(), [])
    vocabulary, _ = cut(kind, int(np.isinf(scores).sum()))
    own = Tokenizer.from_str(vocabulary.files.definition)
    assert all(own.token_to_id(token) is not None for token in SPECIAL)
    assert own.encode("a").ids[0] == own.token_to_id("[CLS]"), "what is put around texts has its new numbers"
    assert own.encode("a", "b").ids.count(own.token_to_id("[SEP]")) == 2
    ids = read(vocabulary.files, "salad 42").tokens[0]
    assert own.token_to_id("[UNK]") not in ids
    assert len(ids) > 8, "character after character"


def test_both_texts_of_a_pair_are_read_with_what_is_left() -> None:
    vocabulary, _ = cut("WordPiece")
    pairs = (("the goals", "a matchbox"), ("the team", "we saw"))
    tokens, types = vocabulary.whole.opened().pairs(pairs)
    after = vocabulary.read(Examples(pairs, tuple(tokens), np.zeros(2, np.int64), 0, tuple(types)))
    assert after.types is not None
    assert [len(kinds) for kinds in after.types] == after.lengths
    assert after.lengths[0] > len(tokens[0])
    assert (after.tokens[1].tolist(), after.types[1].tolist()) == (tokens[1].tolist(), types[1].tolist())


def test_made_up_texts_with_a_token_that_went_are_not_learned_from() -> None:
    vocabulary, _ = cut("WordPiece")
    real, made = read(vocabulary.whole, "the goals", "we saw"), read(vocabulary.whole, "a matchbox", "the team")
    both = Examples((*real.texts, "we saw", "we saw"), (*real.tokens, *made.tokens), np.zeros(4, np.int64), 0)
    rows, found = vocabulary.known(both)
    assert rows.tolist() == [0, 1, 3]
    assert found.tokens[0].tolist() == vocabulary.read(real).tokens[0].tolist() != real.tokens[0].tolist()
    assert found.tokens[2].tolist() == made.tokens[1].tolist()


def test_a_tokenizer_without_pieces_is_refused_by_name() -> None:
    words = TokenizerFiles(Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]")).to_str(), {}, 16, 0)
    with pytest.raises(SpecError, match=r"a tokenizer of the kind WordLevel has no pieces .*allowed: BPE, Unigram, W"):
        row_scores(words, 30, [])


def test_uses_say_what_held_out_texts_keep() -> None:
    whole = files("WordPiece")
    scores = row_scores(whole, tokenizer("WordPiece").get_vocab_size(), [read(whole, " ".join(FILLERS))])
    uses = uses_of(whole, scores, read(whole, "the team", "the goals"))
    assert (uses.always, uses.used) == (np.isinf(scores).sum(), (scores > 0).sum())
    assert uses.share(uses.used) == 0.5, "`the` twice of four"
    assert uses.share(len(scores)) == 1.0


@pytest.mark.parametrize("form", ["Bert", "Albert", "MPNet", "ModernBert"])
def test_a_text_of_kept_tokens_is_answered_as_before(form: str) -> None:
    whole = anatomy_of(telling(f"{form}ForSequenceClassification").float())
    student, kept = whole.copy(), [0, 1, 2, 3, *range(10, 50)]
    student.keep_rows(kept)
    ids, new = torch.tensor([[1, 12, 30, 49, 2]]), torch.tensor([[1, 6, 24, 43, 2]])
    with torch.inference_mode():
        expected = whole.model(input_ids=ids).logits
        assert torch.equal(student.model(input_ids=ids).logits, expected)
        student.quantize_embeddings(bits=4)
        rounded = student.model(input_ids=ids).logits
        student.renumber()
        assert torch.equal(student.model(input_ids=new).logits, rounded)
    assert student.shape().vocabulary == len(kept)
    assert (rounded - expected).abs().max() > 0


def test_bytes_are_those_of_the_rows_that_are_left(bert: Anatomy) -> None:
    step, whole = Step("prune_vocabulary", "embeddings", {"rows": 40}), bert.shape()
    _, left = operators.effective(CompressionPolicy((step,)), whole)
    assert parameters(whole) - parameters(left) == 60 * 64
    for bits, row in ((32, 4 * 64), (8, 64 + 4), (4, 64 // 2 + 2 + 4)):
        held = [model.with_part("embeddings", lambda part: part.with_storage(Storage(bits))) for model in (whole, left)]  # noqa: B023
        assert weight_bytes(held[0]) - weight_bytes(held[1]) == 60 * row


def told_of(bert: Anatomy, *, least: int = 30) -> ModelParts:
    return with_uses(bert.shape(), Uses(20, 62, tuple(np.linspace(0, 2 * least, 101).astype(int).tolist())))


def test_words_and_shares_are_numbers_once_the_uses_are_known(bert: Anatomy) -> None:
    knobs = operators.bound(SHARES, told_of(bert)).knobs()
    assert knobs == {"prune_vocabulary/embeddings/rows": Choice((62, 50, 100))}
    assert words_in_use(bert.shape()) == []
    assert words_in_use(told_of(bert)) == [
        "words: training texts use 62 of 100, with 20 that always stay; of the tokens of validation texts 100% are "
        "among these"
    ]
    (step,) = operators.bound(USED, told_of(bert)).steps
    assert step.settings == {"rows": 62}
    assert operators.bound(SHARES, bert.shape()).knobs() == {"prune_vocabulary/embeddings/rows": Choice((100, 50))}
    policy, left = operators.effective(CompressionPolicy((Step("prune_vocabulary", "embeddings"),)), told_of(bert))
    assert (policy.steps[0].settings, left.vocabulary) == ({"rows": 62}, 62)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (19, "`rows >= 20` must hold, got 19: special tokens and single characters stay"),
        (25, "25 rows leave 43% of the tokens of held-out texts as they are, and half .* take 30 or more"),
    ],
)
def test_too_few_rows_are_refused_with_the_share_of_tokens_they_leave(bert: Anatomy, rows: int, told: str) -> None:
    policy = CompressionPolicy((Step("prune_vocabulary", "embeddings", {"rows": rows}),))
    with pytest.raises(CandidateError, match=f"prune_vocabulary on embeddings: {told}|prune_vocabulary: {told}"):
        operators.effective(policy, told_of(bert))
    space = SearchSpace("words", 1, (StepSpace("prune_vocabulary", "embeddings", {"rows": Choice((rows,))}),))
    with pytest.raises(ValueError, match=f"prune_vocabulary: {told}"):
        operators.bound(space, told_of(bert))


def test_families_that_need_all_of_their_words_are_refused_by_name() -> None:
    images = anatomy_of(telling("ViTForImageClassification").float()).shape()
    with pytest.raises(ValueError, match=r"prune_vocabulary: the words of a vit cannot become fewer \(allowed: bert,"):
        operators.bound(USED, images)


def test_a_setting_that_is_neither_number_nor_word_is_told() -> None:
    rule = operators.OPERATORS["prune_vocabulary"].rules["rows"]
    assert rule.problem("all") == "'all' is not a whole number, nor 'used'"
    assert rule.problem("used") is None


def prepared(place: Path, rows: int | str) -> tuple[Teacher, Setup, CompressionPolicy, StudySpec]:
    """A small project's teacher, and a policy that leaves so many rows, in 8 bits."""
    write_data(place / "texts.csv", rows=120)
    write_piece_model(place / "model")
    steps = [
        {"operator": "prune_vocabulary", "target": "embeddings", "settings": {"rows": rows}},
        {"operator": "quantize", "target": "embeddings", "settings": {"bits": 8}},
    ]
    space = {"name": "words", "version": 1, "steps": steps}
    spec = config.load_study(
        write_study(place, space=space, teacher={"accept_poor": True, "epochs": 1}), operators=OPERATORS
    )
    inputs = gather(spec, SilentObserver())
    teacher = prepare_teacher(spec, inputs.model, inputs.data, on_progress=lambda _: None)
    importance = prepare_importance(spec, teacher)
    setup = Setup.of(teacher.anatomy.model, importance, teacher.task, precision="fp32")
    space_here = operators.bound(spec.space, counted(teacher.anatomy.shape(), importance, teacher.task))
    policy, _ = operators.effective(space_here.policy(lambda *_: 0), teacher.anatomy.shape())
    return teacher, setup, policy, spec


@pytest.mark.usefixtures("adapted")
def test_a_folder_reads_judges_and_answers_with_the_tokens_that_are_left(tmp_path: Path) -> None:
    teacher, setup, policy, spec = prepared(tmp_path, "used")
    own, rows = setup.reading(policy), operators.kept_rows(policy)
    assert rows == int((setup.importance.rows > 0).sum()) < teacher.anatomy.shape().vocabulary
    student = trainable_student(own, policy)
    weights, student = student.model.state_dict(), deployed_student(own, policy, student.model.state_dict())
    examples = own.task.examples("validation")
    searched = predict(SliceEvaluator(setup).build(policy).model, batches(examples, 32), precision="fp32")
    student.renumber()
    vocabulary = setup.vocabulary(policy)
    exporting = Exporting(spec, teacher, config.load_device("xeon-2core"), vocabulary)
    made = (policy, student.shape())
    exporting.begin(tmp_path / "begun", *made, student, ASKED, GraphMaker("written"))
    judged = judge_folder(tmp_path / "begun", exporting.task, student.shape())
    assert np.abs(judged.outputs["validation"] - searched).max() < 1e-4, "what the search judges is what is deployed"
    known = Known(tuple(Measurement(name, 1.0, "", "measured") for name in ("latency_ms", "quality")), how="here")
    known = replace(known, reference=known.found)
    folder = tmp_path / "picked"
    exporting.finish(folder, tmp_path / "begun", *made, weights, known, ASKED)
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() == rows
    assert autocompress.load_torch(folder).get_input_embeddings().num_embeddings == rows
    model, loaded = autocompress.load_torch(folder), autocompress.load(folder)
    (ids,) = loaded.tokens(["the matchbox team"])
    with torch.inference_mode():
        logits = model(input_ids=torch.from_numpy(ids[None])).logits[0].numpy()
        in_fp32 = AutoModelForSequenceClassification.from_pretrained(str(folder))
        assert in_fp32.get_input_embeddings().num_embeddings == rows
        told = in_fp32(input_ids=torch.from_numpy(ids[None])).logits[0].numpy()
    assert np.abs(told - logits).max() < 0.05 * max(1.0, np.abs(logits).max())
    assert np.abs(logits - loaded.logits(["the matchbox team"])[0]).max() < 1e-4
    coverage = json.loads((folder / "manifest.json").read_text("utf-8"))["provenance"]["vocabulary"]
    assert coverage["tokens"] == rows
    assert 0.5 < coverage["validation"]["tokens"] <= 1
    assert f"- vocabulary: {rows} tokens, which `tokenizer.json` knows alone; on validation texts" in (
        folder / "README.md"
    ).read_text("utf-8")
    asked = subprocess.run(
        [sys.executable, str(folder / "example.py"), "the matchbox team"], capture_output=True, text=True, check=True
    )
    assert "the matchbox team" in asked.stdout


def test_a_student_learns_from_texts_as_it_will_read_them(tmp_path: Path) -> None:
    _, setup, whole, _ = prepared(tmp_path, "used")
    always = int(np.isinf(setup.importance.rows).sum())
    policy = CompressionPolicy((replace(whole.steps[0], settings={"rows": always + 3}), *whole.steps[1:]))
    lessons = Lessons.of(setup, TransferSpec(copies=1), seed=0)
    recovery = Recovery(setup, lessons, FinalistSpec(), seed=0)
    own, kept = recovery.reading(policy), setup.vocabulary(policy).kept
    assert recovery.reading(CompressionPolicy(())) is recovery
    assert all(np.isin(ids, kept).all() for ids in own.lessons.examples.tokens)
    assert len(setup.task.examples("train")) <= len(own.lessons.examples) < len(lessons.examples)
    assert len(own.lessons.logits) == len(own.lessons.examples)
    student = recovery.shortly(policy, steps=1)
    assert student.shape().vocabulary == always + 3
    outcome = SliceEvaluator(setup)(policy)
    assert isinstance(outcome, Evaluated), outcome


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({}, "prune_vocabulary: a tokenizer of the kind WordLevel has no pieces to fall back on"),
        (
            {"task": {"kind": "token-classification", "data": {"source": {"path": "texts.csv"}, "format": "csv"}}},
            "prune_vocabulary: token-classification learns and is judged by the first token of each word",
        ),
    ],
)
def test_what_needs_all_of_its_tokens_is_refused_before_anything_is_trained(
    tmp_path: Path, changes: dict[str, Any], told: str
) -> None:
    write_data(tmp_path / "texts.csv", rows=20)
    write_model(tmp_path / "model", head=False)
    space = {"name": "words", "version": 1, "steps": [{"operator": "prune_vocabulary", "target": "embeddings"}]}
    spec = config.load_study(write_study(tmp_path, space=space, **changes), operators=OPERATORS)
    assert any(told in problem for problem in misfits(spec, tmp_path / "model"))


@pytest.mark.long
def test_a_study_over_the_vocabulary_alone_ends_in_a_picked_folder(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv", rows=120)
    known = write_piece_model(tmp_path / "model")
    (tmp_path / "board.yaml").write_text(BOARD)
    steps = [
        {
            "operator": "prune_vocabulary",
            "target": "embeddings",
            "knobs": {"rows": {"choices": ["used", "100%"]}},
        },
        {"operator": "quantize", "target": "embeddings", "settings": {"bits": 8}},
    ]
    study = write_study(
        tmp_path,
        space={"name": "words", "version": 1, "steps": steps},
        device="board.yaml",
        objectives={"quality": "maximize", "size_mb": "minimize"},
        budget={"trials": 2},
        finalists={"count": 2, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    )
    picked = tmp_path / "picked"
    with autocompress.run(study, storage=str(tmp_path / "own.db"), workers=0) as done:
        done.pick(minimize="size_mb", out=picked)
        told = done.explain()
    (rows,) = [step.settings["rows"] for step in autocompress.load(picked).policy.steps if "rows" in step.settings]
    own = Tokenizer.from_file(str(picked / "tokenizer.json"))
    assert own.get_vocab_size() == rows < known
    assert autocompress.load_torch(picked).get_input_embeddings().num_embeddings == rows
    assert verify_folder(picked, rounds=1, seconds=0.1).problems == ()
    line = f"vocabulary: {rows} tokens, which `tokenizer.json` knows alone; on validation texts"
    assert any(line in note for note in told.notes)
