"""The best two factors of a weight, for what comes out of it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from autocompress import operators
from autocompress.anatomy import anatomy_of
from autocompress.anatomy.calibration import Product
from autocompress.anatomy.low_rank import best_factors
from autocompress.anatomy.moments import Moments, moments
from autocompress.candidates.evaluate import Setup
from autocompress.candidates.lessons import Lessons
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.core.training_spec import FinalistSpec, TrainingSpec
from autocompress.distill import CHECKPOINT, kept_weights
from autocompress.finalists.recovery import Recovery, deployed_student
from autocompress.importance import Importance
from autocompress.tasks import TextClassification
from tests.conftest import build_model

RANK = 4


def seen_of(linear: nn.Linear, values: Tensor) -> Moments:
    """Over rows of inputs, as calibration sees them."""
    return moments(nn.Sequential(linear), {"0": Product(linear, first_token=False)}, [{"input": values[None]}])["0"]


@pytest.mark.parametrize("sizes", [(24, 12), (12, 24)], ids=["wide to narrow", "narrow to wide"])
@pytest.mark.parametrize("bias", [True, False])
def test_no_factors_of_the_rank_lose_less_of_what_comes_out(sizes: tuple[int, int], bias: bool) -> None:
    torch.manual_seed(0)
    linear = nn.Linear(*sizes, bias=bias)
    values = torch.randn(400, sizes[0]) * torch.logspace(0, -1.5, sizes[0]) + torch.randn(sizes[0])
    with torch.inference_mode():
        seen, known = seen_of(linear, values), linear(values)
        found = best_factors(linear.weight, linear.bias, seen, rank=RANK)
        given = nn.functional.linear(values @ found.first.T, found.second, found.bias)
        least = torch.linalg.svdvals(known - known.mean(0) if bias else known)[RANK:].square().sum()
        plain = best_factors(linear.weight, linear.bias, None, rank=RANK)
        worse = nn.functional.linear(values @ plain.first.T, plain.second, plain.bias)
    lost = (given - known).square().sum()
    assert least <= lost * (1 + 1e-4)
    assert lost < 1.05 * least, "but for what is added to directions that were not seen, nothing loses less"
    assert lost < 0.9 * (worse - known).square().sum()
    assert (found.bias is None) is not bias


def test_without_texts_the_largest_singular_values_are_kept() -> None:
    torch.manual_seed(0)
    linear = nn.Linear(12, 24)
    with torch.inference_mode():
        found = best_factors(linear.weight, linear.bias, None, rank=RANK)
        left, values, right = torch.linalg.svd(linear.weight, full_matrices=False)
    kept = (left[:, :RANK] * values[:RANK]) @ right[:RANK]
    assert torch.allclose(found.second @ found.first, kept, atol=1e-5)
    assert found.bias is linear.bias


def test_finalists_of_two_factors_are_trained_and_rounded(small_task: TextClassification, tmp_path: Path) -> None:
    model = build_model("bert")
    setup = Setup.of(model, Importance({}, {}), small_task, precision="fp32")
    spec = FinalistSpec(training=TrainingSpec(epochs=1, batch_size=16, learning_rate=1e-3, precision="fp32"))
    steps = [Step("low_rank", f"layers.{i}", {"rank": 0.25}) for i in range(3)]
    steps += [Step("quantize", f"layers.{i}", {"bits": 8}) for i in range(3)]
    policy, shape = operators.effective(CompressionPolicy(tuple(steps)), anatomy_of(model).shape())
    Recovery(setup, Lessons.of(setup, spec.transfer, seed=0), spec, seed=0)(policy, folder=tmp_path)
    weights, _ = kept_weights(tmp_path / CHECKPOINT)
    deployed = deployed_student(setup, policy, weights)
    assert deployed.shape() == shape
    name = "bert.encoder.layer.0.output.dense.second.0.weight"
    before = setup.origin(policy).copy()
    operators.apply(policy, before, setup.importance)
    assert not torch.equal(weights[name], before.model.state_dict()[name]), "factors are trained"
    assert torch.equal(weights[name], deployed.model.state_dict()[name])
