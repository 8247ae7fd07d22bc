"""What one inference is: a text or a batch, of one length or of the lengths that texts have."""

from typing import Any

import pytest

from autocompress.core.device import CostModel, DeviceProfile, KernelTable, Runtime
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.prediction import RooflinePredictor, predictor_of
from autocompress.core.workload import Workload

REAL = Workload(8, 128, 2, "real", (10, 14, 20))
LAYERS = [encoder_layer(i, 64, heads=4, head_size=16, channels=256) for i in range(2)]
SHAPE = encoder(64, LAYERS, words=100, others=10, head=(64, 2))


def test_padded_texts_make_one_batch_and_real_ones_several() -> None:
    padded = Workload(8, 128, 2)
    assert padded.batches == (padded,)
    assert padded.typical == padded.longest == padded
    assert REAL.batches == (Workload(8, 10, 2), Workload(8, 14, 2), Workload(8, 20, 2))
    assert REAL.typical == Workload(8, 15, 2)
    assert REAL.longest == Workload(8, 20, 2)


def test_lengths_that_nobody_read_yet_are_asked_for() -> None:
    with pytest.raises(ValueError, match="`lengths: real` need the task's texts, which were not read yet"):
        Workload(8, 128, 1, "real").batches  # noqa: B018 - the question is the test


def test_a_workload_says_what_it_is() -> None:
    assert str(Workload()) == "batch 1, length 128, 1 thread"
    assert str(REAL) == "batch 8, real lengths, 10 to 20 tokens, 2 threads"
    assert str(Workload(8, 64, 1, "sorted")) == "batch 8, sorted lengths, at most 64 tokens, 1 thread"


@pytest.mark.parametrize("load", [Workload(), Workload(32, 64, 4), REAL])
def test_a_workload_survives_being_written(load: Workload) -> None:
    assert Workload.of(load.to_json()) == load
    assert set(Workload(2, 3, 4).to_json()) == {"batch", "length", "threads"}, "as it was before there were others"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"batch": 0}, "`batch >= 1` must hold, got batch=0"),
        ({"threads": 0}, "`threads >= 1` must hold"),
        ({"tokens": (3,)}, "`tokens` belong to `lengths: real`"),
        ({"lengths": "real", "length": 16, "tokens": (8, 17)}, "between 1 and `length`, 16, got 17"),
        ({"lengths": "sorted", "tokens": (0,)}, "between 1 and `length`, 128, got 0"),
    ],
)
def test_a_workload_that_cannot_be_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Workload(**given)


def test_a_kernel_table_has_one_length() -> None:
    with pytest.raises(ValueError, match="of a kernel table must be padded"):
        KernelTable(64, 16, REAL, ())


def test_the_latency_of_real_lengths_is_the_mean_of_their_batches() -> None:
    cost = CostModel(gmacs_fp32=10, gbytes_per_second=5, spread=0.3, threads=2)
    board = DeviceProfile("board", 1, "datasheet", "", {}, Runtime("r", "1"), "2026-11-22", cost=cost)
    ends = [RooflinePredictor(cost, one)(SHAPE).value for one in REAL.batches]
    found = predictor_of(board, hidden=64, head_size=16, workload=REAL)(SHAPE)
    assert found.value == pytest.approx(sum(ends) / 3)
    assert found.spread == pytest.approx(0.3)
