"""How well `devices.fitting` predicts the latencies that HAT published, beside what others reach on the same rows.

    python studies/benchmarks/hat.py --data ../shared/data/hat

Four tables of 2,000 encoder-decoder transformers each (Wang et al., "HAT: Hardware-Aware Transformers", ACL 2020;
mit-han-lab/hardware-aware-transformers, `latency_dataset/`, MIT). Protocol: rows in the order of
numpy.random.default_rng(0).permutation, 80/10/10; fits see the first 1,600 (or a draw of those), the figures are of the
last 200; the 200 between chose nothing here. Latency is that of encoder plus decoder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from record import keep
from scipy import stats
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler

from autocompress.core.device import Accuracy
from autocompress.devices.accuracy import accuracy
from autocompress.devices.fitting import Array, Samples, fit, read_samples

TABLES: Final = {
    "Raspberry Pi 4, WMT En-De": "wmt14ende_cpu_raspberrypi.csv",
    "Xeon E5-2640, WMT En-Fr": "wmt14enfr_cpu_xeon.csv",
    "Titan Xp, WMT En-De": "wmt14ende_gpu_titanxp.csv",
    "Titan Xp, IWSLT De-En": "iwslt14deen_gpu_titanxp.csv",
}
HAT_NETWORK: Final = {
    "Raspberry Pi 4, WMT En-De": (3.80, 93.7, 0.956),
    "Xeon E5-2640, WMT En-Fr": (3.99, 96.0, 0.989),
    "Titan Xp, WMT En-De": (5.91, 84.3, 0.971),
    "Titan Xp, IWSLT De-En": (6.98, 78.5, 0.963),
}
"""MAPE in %, share within 10 % in %, Spearman of HAT's own networks; rows they were trained on are among these. Not
computed here: from the README beside the data."""

TARGET: Final = ("latency_mean_encoder", "latency_mean_decoder")
DROP: Final = ("latency_std_encoder", "latency_std_decoder")
TRAINED: Final = 1600
TESTED: Final = 200
FEWER: Final = (10, 50, 200)
DRAWS: Final = 5

Predict = Callable[[Array], Array]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data/hat"), help="the folder of the four CSV files"
    )
    data: Path = parser.parse_args().data
    if not data.is_dir():
        parser.error(f"--data: {data} is no folder; give the one that holds {', '.join(TABLES.values())}")
    started = time.perf_counter()
    figures = {name: one_table(name, data / file) for name, file in TABLES.items()}
    print(f"{time.perf_counter() - started:.0f} s; kept in {keep('hat', figures)}")


def one_table(name: str, path: Path) -> dict[str, object]:
    samples = read_samples(path, target=TARGET, drop=DROP)
    order = np.random.default_rng(0).permutation(len(samples))
    train, test = samples.take(order[:TRAINED]), samples.take(order[-TESTED:])
    fitted = fit(train)
    ours, theirs = judged(fitted, test), judged(ridge(train), test)
    off = test.milliseconds / fitted(test.features) - 1
    fewer: dict[int, list[float]] = {}
    for count in FEWER:
        draws = [np.random.default_rng(draw).permutation(TRAINED)[:count] for draw in range(DRAWS)]
        fewer[count] = [judged(fit(train.take(rows)), test).mape for rows in draws]
    mape, within, spearman = HAT_NETWORK[name]
    print(f"{name}\n  {'':26}MAPE  median  within 10 %  Spearman")
    for label, found in (("ours, 1,600 samples", ours), ("ridge on squares, 1,600", theirs)):
        print(f"  {label:24}{found.mape:6.2%} {found.median:7.2%} {found.within_10:12.1%} {found.spearman:9.3f}")
    print(f"  {'HAT (saw test rows)':24}{mape:5.2f}% {'':7} {within:11.1f}% {spearman:9.3f}")
    for count, errors in fewer.items():
        print(f"  {f'ours, {count} samples':24}{np.mean(errors):6.2%} (of {DRAWS} draws; worst {max(errors):.2%})")
    return {
        "ours": figures_of(ours),
        "ridge": figures_of(theirs),
        "hat_network_in_percent": {"mape": mape, "within_10": within, "spearman": spearman},
        "mape_with_fewer_samples": {count: {"mean": float(np.mean(x)), "draws": x} for count, x in fewer.items()},
        "spread": fitted.spread,
        "test_rows_within_spread": float(np.mean(np.abs(off) <= fitted.spread)),
        "drift": drift(samples, order, fitted),
    }


def judged(predict: Predict, test: Samples) -> Accuracy:
    return accuracy(predict(test.features), test.milliseconds, f"{len(test)} test rows")


def ridge(train: Samples) -> Predict:
    """The usual regression on all squares and products, its penalty scikit-learn's own."""
    model = make_pipeline(StandardScaler(), PolynomialFeatures(2), Ridge())
    predict: Predict = model.fit(train.features, train.milliseconds).predict
    return predict


def drift(samples: Samples, order: NDArray[np.intp], fitted: Predict) -> float:
    """Rank correlation of the residuals of rows that follow one another in the file, without the test rows: what the
    machine's state explains and no feature can."""
    rows = np.sort(order[:-TESTED])
    residuals = samples.milliseconds[rows] / fitted(samples.features[rows])
    return float(stats.spearmanr(residuals[1:], residuals[:-1]).statistic)


def figures_of(found: Accuracy) -> dict[str, float]:
    return {name: getattr(found, name) for name in ("mape", "median", "within_5", "within_10", "spearman", "kendall")}


if __name__ == "__main__":
    main()
