"""ONNX Runtime's static int8 in QDQ form, calibrated on training texts: with its defaults, and with the unsigned
activations that its documentation advises for x86."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from contract import Clock, Deployed, Job, peer_main
from ort_quantization import Texts, without_shapes


def make(job: Job) -> list[Deployed]:
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(Texts, CalibrationDataReader):  # type: ignore[misc]
        """The runtime checks the class of its reader."""

    session = onnxruntime.InferenceSession(job.reference, providers=["CPUExecutionProvider"])
    names = {entry.name for entry in session.get_inputs()}
    shared, found = Clock(), []
    with shared.running():
        plain = without_shapes(Path(job.reference), job.folder / "plain.onnx")
        prepared = job.folder / "prepared.onnx"
        quant_pre_process(str(plain), str(prepared), skip_symbolic_shape=True)
    variants: dict[str, dict[str, Any]] = {
        "defaults": {},
        "U8S8, products only": {"activation_type": QuantType.QUInt8, "op_types_to_quantize": ["MatMul", "Gemm"]},
    }
    for place, (name, options) in enumerate(variants.items()):
        clock, target = Clock(shared.seconds), job.folder / f"model{place}.onnx"
        with clock.running():
            quantize_static(str(prepared), str(target), Reader(job.calibration_rows(), names), **options)
        found.append(Deployed(f"ONNX Runtime static int8 ({name})", "onnxruntime", target.name, clock.seconds))
    plain.unlink()
    prepared.unlink()
    return found


if __name__ == "__main__":
    peer_main(make, packages=("onnxruntime", "onnx"))
