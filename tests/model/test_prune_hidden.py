"""A narrower stream: what is missed of the channels that went, what cannot be narrowed, and what students learn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import autocompress
from autocompress import operators
from autocompress.anatomy import FAMILIES, Anatomy, anatomy_of
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.space import Choice, SearchSpace, Share, StepSpace
from autocompress.core.training_spec import DistillationSpec
from autocompress.distill import Objective
from autocompress.importance import VARIANCE, measure_importance
from autocompress.inputs.examples import Examples
from autocompress.tasks import TextClassification, batches
from tests.conftest import build_model
from tests.families.given import telling
from tests.given_study import BOARD, write_data, write_model, write_study

SPACE = SearchSpace("narrow", 1, (StepSpace("prune_hidden", "*", {"hidden_size": Choice((Share(0.5), Share(1.0)))}),))


def doubled(model: nn.Module) -> nn.Module:
    """The same with whatever it writes into the first half of its stream in the second half, too: norms see the same
    mean and variance in either half, and scale the second otherwise."""
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if name.endswith(("embeddings.weight", "output.dense.weight", "output.dense.bias")):
                halves = tensor if tensor.dim() == 1 else tensor if "output" in name else tensor.T
                halves[32:] = halves[:32]
            elif "LayerNorm" in name:
                tensor[32:] = 0.5 * tensor[:32] + 0.1
    return model


def logits(anatomy: Anatomy, data: Examples) -> Tensor:
    with torch.inference_mode():
        return torch.cat([anatomy.model(**batch.inputs).logits for batch in batches(data, 16)])


def test_what_other_channels_tell_is_not_missed(small_task: TextClassification) -> None:
    model, data = doubled(build_model("bert")), small_task.examples("validation")
    texts = [batch.inputs for batch in batches(small_task.examples("train"), 16)]
    whole, cut, told = (anatomy_of(model), anatomy_of(model).copy(), anatomy_of(model, texts=texts).copy())
    for narrow in (cut, told):
        narrow.keep_hidden(range(32))
    known = logits(whole, data)
    missed = [(logits(one, data) - known).square().sum() for one in (told, cut)]
    assert missed[0] < 0.1 * missed[1]
    before = known.square().sum()
    assert missed[0] < 0.05 * before < missed[1]


def test_channels_that_never_change_go_first(bert: Anatomy, small_task: TextClassification) -> None:
    still = [3, 40, 63]
    with torch.no_grad():
        for name, tensor in bert.model.named_parameters():
            if name.endswith("LayerNorm.weight"):
                tensor[still] = 0.0
    scores = measure_importance(bert, batches(small_task.examples("train"), 16), [VARIANCE])
    assert (scores.hidden[VARIANCE] == 0).nonzero()[0].tolist() == still
    assert set(range(64)) - set(scores.best_hidden(61, of=range(64))) == set(still)
    assert scores.best_hidden(1, of=[3, 5, 40]) == [1], "places among those that are left"


def test_a_narrower_stream_is_narrowed_further(bert: Anatomy, small_task: TextClassification) -> None:
    scores = measure_importance(bert, batches(small_task.examples("train"), 16), [VARIANCE])
    steps = tuple(Step("prune_hidden", "*", {"hidden_size": size}) for size in (48, 32))
    twice, once = bert.copy(), bert.copy()
    operators.apply(CompressionPolicy(steps), twice, scores)
    operators.apply(CompressionPolicy(steps[1:]), once, scores)
    assert twice.hidden == once.hidden
    assert twice.shape() == once.shape()


def test_shares_are_those_of_the_stream_also_where_tables_are_narrower() -> None:
    for family in ("bert", "electra"):
        space = operators.bound(SPACE, Anatomy(build_model(family), FAMILIES).shape())
        assert space.knobs() == {"prune_hidden/hidden_size": Choice((32, 64))}


def test_a_share_is_the_nearest_size_that_kernels_like() -> None:
    shares = Choice((Share(0.33), Share(0.7), Share(0.01), Share(1.0)))
    space = SearchSpace("narrow", 1, (StepSpace("prune_hidden", "*", {"hidden_size": shares}),))
    knobs = operators.bound(space, Anatomy(build_model("bert"), FAMILIES).shape()).knobs()
    assert knobs == {"prune_hidden/hidden_size": Choice((16, 48, 64))}
    odd = Share(0.99).of(47, 16), Share(1.0).of(47, 16), Share(0.5).of(47)
    assert odd == (47, 47, 24)


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ("DebertaV2ForSequenceClassification", r"the stream of a deberta-v2 cannot be narrowed \(allowed: bert, rob"),
        ("Wav2Vec2ForSequenceClassification", r"the stream of a wav2vec2 cannot be narrowed"),
    ],
)
def test_a_family_with_more_on_its_stream_is_refused_by_name(form: str, told: str) -> None:
    with pytest.raises(ValueError, match=f"prune_hidden: {told}"):
        operators.bound(SPACE, anatomy_of(telling(form).float()).shape())


def test_a_stream_that_is_the_answer_stays_as_it_is(bert: Anatomy) -> None:
    vectors = bert.shape().without(frozenset({"head"}))
    with pytest.raises(ValueError, match="prune_hidden: its answer is its stream, 64 numbers"):
        operators.bound(SPACE, vectors)


def test_hidden_states_are_compared_in_the_channels_that_were_kept(
    bert: Anatomy, small_task: TextClassification
) -> None:
    student, kept = bert.copy(), list(range(1, 64, 2))
    student.keep_hidden(kept)
    objective = Objective.of(
        student, bert, torch.zeros(96, 3), DistillationSpec(hidden=1.0, embeddings=1.0), task=small_task
    )
    for projection in objective.projections.values():
        assert torch.equal(projection.weight, torch.eye(64)[:, kept])
    (batch, *_) = batches(small_task.examples("train"), 16)
    objective(student.model, batch).backward()
    assert all(projection.weight.grad is not None for projection in objective.projections.values())


@pytest.mark.long
def test_a_study_over_the_hidden_size_alone_ends_in_a_picked_folder(tmp_path: Path) -> None:
    write_data(tmp_path / "texts.csv", rows=120)
    write_model(tmp_path / "model", head=False)
    (tmp_path / "board.yaml").write_text(BOARD)
    step = {"operator": "prune_hidden", "target": "*", "knobs": {"hidden_size": {"choices": ["50%", "100%"]}}}
    study = write_study(
        tmp_path,
        space={"name": "narrow", "version": 1, "steps": [step]},
        device="board.yaml",
        objectives={"quality": "maximize", "size_mb": "minimize"},
        budget={"trials": 2},
        finalists={"count": 2, "training": {"epochs": 1, "batch_size": 16, "learning_rate": 5.0e-3}},
    )
    with autocompress.run(study, storage=str(tmp_path / "own.db"), workers=0) as done:
        done.pick(minimize="size_mb", out=tmp_path / "picked")
    policy = autocompress.load(tmp_path / "picked").policy
    assert [step.settings for step in policy.steps] == [{"hidden_size": 16}]
    model = autocompress.load_torch(tmp_path / "picked")
    assert (model.bert.pooler.dense.in_features, model.classifier.in_features) == (16, 32)
