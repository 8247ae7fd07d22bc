"""Starting points by integer programming, held against all points of small tables."""

import itertools
import math
import random
from collections.abc import Iterator

import pytest

from autocompress.errors import ExhaustedError, SpecError
from autocompress.pricing.solver import Library, Solution, Variant


def table(seed: int, parts: int = 5, variants: int = 4) -> Library:
    """Random losses, and costs that fall with them more or less."""
    generator = random.Random(seed)

    def one(value: int) -> Variant:
        return Variant(
            value,
            generator.uniform(0, 0.3) * value**2,
            {"latency_ms": generator.uniform(0.5, 1) * (variants - value), "size_mb": generator.uniform(1, 9)},
        )

    return Library({f"layers.{part}": [one(value) for value in range(variants)] for part in range(parts)})


def points(library: Library) -> Iterator[tuple[float, dict[str, float]]]:
    """The loss and the costs of every point."""
    for chosen in itertools.product(*library.parts.values()):
        costs = {cost: math.fsum(one.costs[cost] for one in chosen) for cost in library.costs}
        yield math.fsum(one.loss for one in chosen), costs


@pytest.mark.parametrize("seed", range(4))
def test_no_point_within_the_bounds_loses_less(seed: int) -> None:
    library = table(seed)
    for latency, size in ((5.0, 30.0), (8.0, 25.0), (12.0, 99.0)):
        bounds = {"latency_ms": latency, "size_mb": size}
        found = library.solve(bounds)
        assert all(found.costs[cost] <= limit for cost, limit in bounds.items())
        least = min(loss for loss, costs in points(library) if all(costs[c] <= bounds[c] for c in bounds))
        assert found.loss == pytest.approx(least, abs=1e-9)


def test_of_points_that_lose_as_much_the_cheapest_is_taken() -> None:
    free = [Variant("fp32", 0.0, {"size_mb": 4.0}), Variant("int8", 0.0, {"size_mb": 1.0})]
    library = Library({"embeddings": free, "layers.0": free})
    assert library.solve({}) == Solution({"embeddings": "int8", "layers.0": "int8"}, 0.0, {"size_mb": 2.0})


def test_a_bound_that_is_met_to_the_last_digit_is_kept() -> None:
    library = table(1)
    for cost in library.costs:
        low, high = library.ends(cost)
        assert library.solve({cost: low}).costs[cost] == pytest.approx(low)
        assert library.solve({cost: high}).loss == pytest.approx(min(loss for loss, _ in points(library)))


def test_a_millionth_above_the_bound_is_above_it() -> None:
    steps = [Variant(0, 0.0, {"latency_ms": 1.0 + 1e-7}), Variant(1, 1.0, {"latency_ms": 0.5})]
    assert Library({"layers.0": steps}).solve({"latency_ms": 1.0}).values == {"layers.0": 1}


def test_a_bound_that_no_point_keeps_is_told_with_the_one_that_would_do() -> None:
    library = table(2)
    low, _ = library.ends("latency_ms")
    with pytest.raises(ExhaustedError, match=rf"no point has latency_ms at most 0.1: .* at least {low:.6g}; raise"):
        library.solve({"latency_ms": 0.1})
    assert library.solve({"latency_ms": low + 1e-6})


def test_bounds_that_fight_each_other_are_told_with_what_each_would_have_to_be() -> None:
    fast_or_small = [Variant(0, 0.0, {"ms": 1.0, "mb": 4.0}), Variant(1, 0.0, {"ms": 3.0, "mb": 1.0})]
    library = Library({"a": fast_or_small, "b": fast_or_small})
    bounds = {"ms": 4.0, "mb": 4.0}
    with pytest.raises(ExhaustedError, match=r"at most 4, mb at most 4 together; raise ms to 6 or mb to 5, and keep"):
        library.solve(bounds)
    assert library.solve({**bounds, "mb": 5.0}).costs == {"ms": 4.0, "mb": 5.0}


def test_a_ladder_goes_from_the_cheapest_to_the_best_and_holds_no_point_twice() -> None:
    library = table(3)
    ladder = library.ladder("latency_ms", 12)
    losses = [one.loss for one in ladder]
    latencies = [one.costs["latency_ms"] for one in ladder]
    assert len(ladder) > 4
    assert losses == sorted(losses, reverse=True)
    assert latencies == sorted(latencies)
    assert latencies[0] == pytest.approx(library.ends("latency_ms")[0])
    assert losses[-1] == pytest.approx(min(loss for loss, _ in points(library)))
    small = library.ladder("latency_ms", 12, {"size_mb": 20.0})
    assert all(one.costs["size_mb"] <= 20 for one in small)
    assert library.ladder("latency_ms", 12) == ladder


def test_a_space_that_nobody_could_walk_through_is_solved() -> None:
    library = table(0, parts=24, variants=7)  # 10^20 points
    low, high = library.ends("latency_ms")
    assert library.solve({"latency_ms": (low + high) / 2}).costs["latency_ms"] <= (low + high) / 2


def test_tables_that_say_too_little_are_refused() -> None:
    whole, half = Variant(0, 0.0, {"ms": 1.0, "mb": 1.0}), Variant(1, 0.0, {"ms": 1.0})
    with pytest.raises(SpecError, match="holds no part; give at least one"):
        Library({})
    with pytest.raises(SpecError, match=r"part 'a' has no variant; give at least the one that it is in"):
        Library({"a": []})
    with pytest.raises(SpecError, match=r"variant 1 of part 'a' has no mb, which others have; give every variant"):
        Library({"a": [whole, half]})
    with pytest.raises(SpecError, match=r"variant 2 of part 'a' has a loss or a cost that is no number; leave out"):
        Library({"a": [Variant(2, math.nan, {})]})
    library = Library({"a": [whole, Variant(1, 0.5, {"ms": 0.0, "mb": 0.0})]})
    with pytest.raises(SpecError, match=r"nothing is known of 'mj' \(allowed: ms, mb\)"):
        library.solve({"mj": 1.0})
    with pytest.raises(SpecError, match="1 make no ladder; ask for at least 2"):
        library.ladder("ms", 1)
    with pytest.raises(SpecError, match="ms can be 0, and a ladder needs costs above 0; add what never goes"):
        library.ladder("ms", 3)
