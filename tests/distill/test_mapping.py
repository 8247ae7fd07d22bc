import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.distill import layer_map


@pytest.mark.parametrize(
    ("kept", "depth", "how", "pairs"),
    [
        ([0, 2, 5], 6, "kept", [(0, 0), (1, 2), (2, 5)]),
        ([0, 2, 5], 6, "uniform", [(0, 1), (1, 3), (2, 5)]),
        ([1, 2, 3, 4, 5], 6, "uniform", [(0, 0), (1, 1), (2, 2), (3, 3), (4, 5)]),
        ([3], 6, "uniform", [(0, 5)]),
        ([0, 2], 6, "last", [(1, 5)]),
        ([0, 2], 3, "learned", [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]),
    ],
)
def test_each_way_of_mapping_layers(kept: list[int], depth: int, how: str, pairs: list[tuple[int, int]]) -> None:
    assert layer_map(kept, depth, how) == pairs


@given(st.integers(1, 24).flatmap(lambda depth: st.tuples(st.integers(1, depth), st.just(depth))))
def test_a_uniform_map_is_in_order_and_ends_with_the_last(sizes: tuple[int, int]) -> None:
    students, depth = sizes
    layers = [layer for _, layer in layer_map(range(students), depth, "uniform")]
    assert layers == sorted(set(layers))
    assert len(layers) == students
    assert layers[-1] == depth - 1
    assert min(layers) >= 0


@pytest.mark.parametrize(
    ("kept", "depth", "how", "message"),
    [
        ([0, 1, 2], 2, "uniform", "a student of 3 layers cannot learn from a teacher of 2"),
        ([], 2, "kept", "a student of 0 layers"),
        (
            [0, 7],
            4,
            "kept",
            "layer 7 of the student was not cut from this teacher, which has 4; choose `layer_map: uni",
        ),
        ([0], 2, "kep", "no layer map is called 'kep'; did you mean 'kept'?"),
    ],
)
def test_what_cannot_be_mapped_is_refused(kept: list[int], depth: int, how: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        layer_map(kept, depth, how)
