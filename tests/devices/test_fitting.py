from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from autocompress.devices.accuracy import accuracy
from autocompress.devices.energy_constants import default_energy
from autocompress.devices.fitting import Samples, cross_validate, fit, read_samples
from autocompress.errors import NotFoundError, SpecError

TARGET = ("encoder_ms", "decoder_ms")
GOOD = "layers,width,encoder_ms,decoder_ms,std\n" + "".join(f"{n},{64 * n},{n}.5,{n + 1},x\n" for n in range(1, 7))


def written(folder: Path, text: str) -> Path:
    path = folder / "latencies.csv"
    path.write_text(text, encoding="utf-8")
    return path


def law(count: int, *, seed: int, noise: float = 0.0, slow: float = 0.0) -> Samples:
    """Layers that cost a fixed time and a product each; `noise` is a share, `slow` the share of rows 25 % slower. One
    column never changes, one does not matter and one may be zero."""
    draw = np.random.default_rng(seed)
    layers, hidden, width = draw.integers(1, 7, count), draw.choice([256, 384, 512], count), draw.integers(2, 25, count)
    milliseconds = 2.0 + layers * (1.5 + hidden * 64.0 * width / 1e5)
    milliseconds = milliseconds * np.exp(noise * draw.normal(size=count)) * np.where(draw.random(count) < slow, 1.25, 1)
    columns = (layers, hidden, 64 * width, np.full(count, 12), draw.integers(2, 9, count), draw.integers(0, 2, count))
    features = np.stack(columns, axis=1).astype(np.float64)
    return Samples(("layers", "hidden", "width", "same", "any", "flag"), features, milliseconds)


# -- Reading


def test_a_table_is_read_and_its_targets_are_summed(tmp_path: Path) -> None:
    samples = read_samples(written(tmp_path, "\ufeff" + GOOD + "\n"), target=TARGET, drop=["std"])
    assert samples.names == ("layers", "width")
    assert samples.features[1].tolist() == [2, 128]
    assert samples.milliseconds.tolist() == [n + 0.5 + n + 1 for n in range(1, 7)]


def test_every_mistake_of_a_table_is_told_with_its_line_and_column(tmp_path: Path) -> None:
    lines = GOOD.splitlines()
    lines[1] = "1,wide,1.5,2,x"
    lines[2] = "2,128,nan,3,x"
    lines[3] = "inf,192,-3.5,4,x"
    lines[4] = "4,256,4.5"
    lines[5] = "5,1_0,0,0,x"
    path = written(tmp_path, "\n".join(lines))
    with pytest.raises(SpecError) as caught:
        read_samples(path, target=TARGET, drop=["std"])
    allowed = (
        "allowed: a finite number of usual size; mend the value, or remove the line or the column (`drop`)",
        "allowed: milliseconds > 0; mend the value or remove the line",
    )
    assert list(caught.value.problems) == [
        f"{path}:2: column 'width': got 'wide'; {allowed[0]}",
        f"{path}:3: column 'encoder_ms': got 'nan'; {allowed[0]}",
        f"{path}:4: column 'layers': got 'inf'; {allowed[0]}",
        f"{path}:4: column 'encoder_ms': got -3.5; {allowed[1]}",
        f"{path}:5: got 3 values; the header names 5 columns",
        f"{path}:6: column 'width': got '1_0'; {allowed[0]}",
    ]
    zero = GOOD.replace("5,320,5.5,6,x", "5,320,0,0,x")
    with pytest.raises(SpecError, match=r"csv:6: column encoder_ms \+ decoder_ms: got 0; allowed: milliseconds > 0"):
        read_samples(written(tmp_path, zero), target=TARGET, drop=["std"])


def test_of_many_mistakes_ten_are_told_and_the_rest_counted(tmp_path: Path) -> None:
    path = written(tmp_path, "layers,encoder_ms\n" + "one,1\n" * 25)
    with pytest.raises(SpecError, match=r"csv:11: column 'layers'.*\nand 15 more$"):
        read_samples(path, target=["encoder_ms"])


@pytest.mark.parametrize(
    ("text", "target", "drop", "message"),
    [
        ("", TARGET, (), "the file is empty; its first line must name the columns"),
        (GOOD, ["encoder"], (), "csv:1: `target`: no column 'encoder'; did you mean 'encoder_ms'"),
        (GOOD, TARGET, ["stdd"], "csv:1: `drop`: no column 'stdd'; did you mean 'std'"),
        (GOOD.replace("width", "layers"), TARGET, ["std"], "csv:1: column 'layers' is named 2 times; name every"),
        (GOOD, TARGET, ["std", "layers", "width"], "csv:1: no column is left as a feature; drop fewer"),
        (GOOD, [], (), "csv:1: `target` names no column; give the columns of milliseconds"),
        (GOOD, TARGET, ["encoder_ms"], "csv:1: column 'encoder_ms' is both `target` and `drop`"),
        (GOOD, ["encoder_ms", "encoder_ms"], (), "csv:1: `target` names 'encoder_ms' twice"),
        ("layers,encoder_ms\n1,2\n", ["encoder_ms"], (), "got 1 rows; a fit needs at least 5: add measured models"),
        ('layers,encoder_ms\n1,"2\n', ["encoder_ms"], (), "csv:2: not CSV: "),
    ],
)
def test_a_table_that_cannot_be_fitted_is_refused(
    tmp_path: Path, text: str, target: list[str], drop: list[str], message: str
) -> None:
    with pytest.raises(SpecError) as caught:
        read_samples(written(tmp_path, text), target=target, drop=drop)
    assert message in str(caught.value)


def test_a_file_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none\.csv: no such file"):
        read_samples(tmp_path / "none.csv", target=TARGET)
    (tmp_path / "latin.csv").write_bytes(b"layers,ms\n\xe4,1\n")
    with pytest.raises(SpecError, match="not UTF-8 text; save it as UTF-8"):
        read_samples(tmp_path / "latin.csv", target=["ms"])


# -- Fitting


@pytest.mark.parametrize(("count", "most"), [(10, 0.15), (50, 0.02), (200, 0.005)])
def test_a_law_is_found_from_few_samples(count: int, most: float) -> None:
    unseen = law(300, seed=9)
    errors = [accuracy(fit(law(count, seed=seed))(unseen.features), unseen.milliseconds, "").mape for seed in range(3)]
    assert np.mean(errors) < most


def test_rows_from_a_slow_minute_do_not_move_the_fit() -> None:
    unseen = law(300, seed=9)
    fitted = fit(law(200, seed=0, noise=0.01, slow=0.15))
    assert accuracy(fitted(unseen.features), unseen.milliseconds, "").median < 0.01


@pytest.mark.parametrize(
    ("count", "draws", "least"),
    [
        pytest.param(10, 12, 0.85, marks=pytest.mark.long),
        pytest.param(60, 6, 0.91, marks=pytest.mark.long),
        (300, 1, 0.92),
    ],
)
def test_the_spread_covers_what_it_says(count: int, draws: int, least: float) -> None:
    covered, unseen = [], law(1000, seed=99, noise=0.05)
    for seed in range(draws):
        fitted = fit(law(count, seed=seed, noise=0.05))
        off = np.abs(unseen.milliseconds / fitted(unseen.features) - 1)
        covered.append(np.mean(off <= fitted.spread))
    assert least < np.mean(covered)
    assert count < 300 or np.mean(covered) < 0.98


def test_a_fit_is_the_same_every_time() -> None:
    samples = law(60, seed=0, noise=0.05)
    again = fit(samples, seed=3)(samples.features)
    assert (fit(samples, seed=3)(samples.features) == again).all()


def test_samples_that_tell_nothing_still_give_their_latency() -> None:
    samples = Samples(("same",), np.full((8, 1), 3.0), np.full(8, 20.0))
    fitted = fit(samples)
    assert fitted(np.array([[3.0]])) == pytest.approx([20.0], rel=1e-6)


def test_cross_validation_predicts_every_sample_unseen() -> None:
    samples = law(60, seed=0, noise=0.05)
    found = cross_validate(samples, folds=5, seed=0)
    assert (found.n, found.how) == (60, "5-fold cross-validation of 60 models")
    assert 0.03 < found.mape < 0.10  # noise of 5 % cannot be predicted: less than 4 % would be samples already seen
    with pytest.raises(ValueError, match=r"`2 <= folds <= 60` \(the samples\) must hold, got folds=1"):
        cross_validate(samples, folds=1, seed=0)


def test_what_cannot_be_fitted_or_predicted_is_refused() -> None:
    samples = law(20, seed=0)
    with pytest.raises(ValueError, match="a fit needs at least 5 samples, got 4"):
        fit(samples.take(slice(4)))
    with pytest.raises(ValueError, match="`milliseconds > 0` must hold, got 0"):
        fit(Samples(samples.names, samples.features, 0 * samples.milliseconds))
    with pytest.raises(ValueError, match="`features` and `milliseconds` must be finite numbers"):
        fit(Samples(samples.names, samples.features * np.nan, samples.milliseconds))
    with pytest.raises(ValueError, match=r"`features` must be \[20, 1\], got \[20, 6\]"):
        Samples(("layers",), samples.features, samples.milliseconds)
    fitted = fit(samples)
    with pytest.raises(ValueError, match=r"`features` must be \[m, 6\] \(layers, hidden, width, same, any, flag\)"):
        fitted(samples.features[:, :2])
    with pytest.raises(ValueError, match="`hidden > 0` must hold, as it did in every sample"):
        fitted(samples.features * [1, 0, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="`features` must be finite numbers"):
        fitted(np.full_like(samples.features, np.inf))


# -- The figures


def test_an_accuracy_is_what_can_be_counted_by_hand() -> None:
    found = accuracy([104.0, 92.0, 300.0, 480.0], [100.0, 100.0, 300.0, 400.0], "by hand")
    assert (found.n, found.how) == (4, "by hand")
    assert found.mape == pytest.approx((0.04 + 0.08 + 0.0 + 0.20) / 4)
    assert found.median == pytest.approx(0.06)
    assert (found.within_5, found.within_10) == (0.5, 0.75)
    swapped = accuracy([2.0, 1.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], "")
    assert swapped.spearman == pytest.approx(1 - 6 * 2 / (4 * 15))  # 1 - 6 sum d^2 / (n (n^2 - 1))
    assert swapped.kendall == pytest.approx((5 - 1) / 6)  # of six pairs one is turned round


def test_a_constant_prediction_has_no_order() -> None:
    found = accuracy([5.0, 5.0], [4.0, 6.0], "")
    assert (found.spearman, found.kendall) == (0.0, 0.0)


@pytest.mark.parametrize(
    ("predicted", "measured", "message"),
    [
        ([1.0], [1.0], "at least 2 models, got 1"),
        ([1.0, 2.0], [1.0], r"lists of one length, got \(2,\), \(1,\)"),
        ([1.0, np.nan], [1.0, 2.0], "must be finite numbers"),
        ([1.0, 1.0], [1.0, 0.0], "`measured > 0` must hold, got 0.0"),
    ],
)
def test_figures_that_mean_nothing_are_refused(predicted: list[float], measured: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        accuracy(predicted, measured, "")


@pytest.mark.parametrize(("machine", "watts"), [("x86_64", 9.0), ("aarch64", 1.6), ("arm64", 1.6)])
def test_a_host_without_a_meter_is_given_the_watts_of_its_kind_of_core(machine: str, watts: float) -> None:
    model = default_energy(machine, 2)
    assert (model.active_watts, model.cores, model.spread) == (pytest.approx(2 * watts), 2, 0.5)
    assert "Horowitz" in model.source
