"""ONNX Runtime's own quantization, as its users call it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def without_shapes(source: Path, target: Path) -> Path:
    """A copy without the intermediate shapes that torch's exporter writes: quantization refuses to merge them with
    those that it infers itself."""
    import onnx

    model = onnx.load(str(source))
    del model.graph.value_info[:]
    onnx.save(model, str(target))
    return target


def dynamic_int8(source: Path, target: Path) -> None:
    """`quantize_dynamic` with nothing but its defaults."""
    from onnxruntime.quantization import quantize_dynamic

    plain = without_shapes(source, target.with_suffix(".plain.onnx"))
    quantize_dynamic(str(plain), str(target))
    plain.unlink()


class Texts:
    """Calibration texts, one a time, as the runtime's reader wants them."""

    def __init__(self, rows: list[dict[str, Any]], names: set[str]) -> None:
        self._rows, self._names = iter(rows), names

    def get_next(self) -> dict[str, Any] | None:
        import numpy as np

        row = next(self._rows, None)
        if row is None:
            return None
        ids = np.asarray([row["ids"]], dtype=np.int64)
        fed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return {name: array for name, array in fed.items() if name in self._names}
