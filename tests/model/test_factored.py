"""Products held as two factors, in models like BERT."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from autocompress.anatomy import Anatomy, anatomy_of
from autocompress.anatomy.factored import Factored, Factors
from autocompress.anatomy.moments import Moments
from autocompress.core.cost import macs, parameters, part_bytes, passes
from autocompress.core.parts import Matrix, Part
from autocompress.core.signature import signature
from autocompress.core.storage import Storage
from autocompress.core.stored_parts import parts_from_json, parts_to_json
from autocompress.core.workload import Workload
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from tests.conftest import build_model

RANK = 5


def few(weight: Tensor, bias: Tensor | None, _: Moments | None) -> Factors:
    left, values, right = torch.linalg.svd(weight, full_matrices=False)
    return Factors(right[:RANK], left[:, :RANK] * values[:RANK], bias)


def factored(anatomy: Anatomy) -> Anatomy:
    anatomy.factor([slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)], few)
    return anatomy


def texts() -> dict[str, Tensor]:
    ids = torch.randint(5, 90, (1, 11), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def difference(anatomy: Anatomy) -> float:
    """Between its graph and itself."""
    given = texts()
    with torch.inference_mode():
        known = anatomy.model(**given).logits.numpy()
    session = Session(write_graph(anatomy.weights()).SerializeToString())
    ids, mask = (one.numpy() for one in given.values())
    return float(np.abs(session.run(session.feed(ids, mask)) - known).max())


def test_a_matrix_of_two_factors_is_counted_as_two() -> None:
    one = Matrix("up", 384, 1536, rank=96)
    assert one.factors == ((384, 96), (96, 1536))
    matrices = (one, Matrix("down", 1536, 384, rank=96))
    part = Part("layers.0.feed_forward", "feed_forward", matrices, stack="layers", layer=0)
    scales_and_biases = 4 * (96 + 1536 + 96 + 384 + 1536 + 384)
    assert part_bytes(part.with_storage(Storage(8))) == 2 * (384 * 96 + 96 * 1536) + scales_and_biases
    assert (signature(part)[0].rank, signature(part)[1]) == (96, 1536)
    mixed = Part(part.name, part.kind, (one, Matrix("down", 1536, 384)), stack="layers", layer=0)
    with pytest.raises(ValueError, match="several ranks \\(up 96, down whole\\), which was not measured"):
        signature(mixed)
    with pytest.raises(ValueError, match="`rank >= 1` must hold, got 0 of matrix 'up'"):
        Matrix("up", 384, 1536, rank=0)


@pytest.mark.parametrize("bits", [32, 8, 4])
def test_two_factors_are_found_counted_stored_and_deployed(bits: int) -> None:
    anatomy = anatomy_of(build_model("bert"), texts=[texts()])
    whole = anatomy.shape()
    factored(anatomy)
    shape = anatomy.shape()
    assert {one.rank for part in shape.blocks() for one in part.matrices} == {RANK}
    assert parameters(shape) == sum(one.numel() for one in anatomy.model.parameters()) < parameters(whole)
    (load,) = passes(shape, Workload(1, 16, 1))
    assert macs(shape, [load]) < macs(whole, [load])
    assert parts_from_json(parts_to_json(shape)) == shape
    assert "rank" not in str(parts_to_json(whole))
    if bits != 32:
        slots = [slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)]
        anatomy.quantize(slots, bits=bits)  # type: ignore[arg-type]
        assert {one.storage for part in anatomy.shape().blocks() for one in part.matrices} == {Storage(bits)}  # type: ignore[arg-type]
    assert difference(anatomy) < (1e-5 if bits == 32 else 1e-3)
    copied = anatomy.own_copy()
    assert copied.shape() == anatomy.shape()
    assert isinstance(copied.layers[0].of_feed_forward.up.module, Factored)


def test_ranges_between_factors_are_calibrated_too() -> None:
    anatomy = factored(anatomy_of(build_model("bert"), texts=[texts()]))
    slots = [slot for layer in anatomy.layers for slot in (*layer.attention, *layer.feed_forward)]
    anatomy.quantize(slots, calibration="min-max", smoothing=0.5)
    assert len([name for name in anatomy.settled() if name.endswith("second.0.limits")]) == len(slots)
    assert difference(anatomy) < 1e-3


def test_what_is_seen_of_a_product_is_its_mean_and_covariance_over_real_tokens() -> None:
    ids = torch.randint(5, 90, (4, 9), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1:, 6:] = 0
    anatomy = anatomy_of(build_model("bert"), texts=[{"input_ids": ids, "attention_mask": mask}])
    inner, last = anatomy.layers[0].of_feed_forward, anatomy.layers[-1].of_feed_forward
    seen: dict[str, Tensor] = {}

    def watch(name: str) -> Callable[..., None]:
        return lambda _, given, found: seen.update({name: given[0], f"{name}.out": found})

    for name, slot in (("up", inner.up), ("down", inner.down), ("last", last.up)):
        slot.module.register_forward_hook(watch(name))
    told: list[Moments | None] = []

    def look(weight: Tensor, bias: Tensor | None, known: Moments | None) -> None:
        told.append(known)

    anatomy.factor([inner.up, inner.down, last.up], look)
    assert not isinstance(inner.up.module, Factored)
    real = mask.bool()
    for known, values, counted in (
        (told[0], seen["up"][real], seen["up"][real]),
        (told[1], seen["down"][real], seen["down.out"][real]),
        (told[2], seen["last"][:, 0], seen["last"][:, 0]),
    ):
        assert known is not None
        assert torch.allclose(known.mean, values.mean(0), atol=1e-5)
        assert torch.allclose(known.covariance, torch.cov(counted.T, correction=0), atol=1e-4)
    assert [one.of_outputs for one in told if one] == [False, True, False]
