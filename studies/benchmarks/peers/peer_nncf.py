"""NNCF's int8 post-training quantization on OpenVINO, served with dynamic and with fixed shapes.

It is one file: a fixed shape is set when the model is loaded, for each length that is served, so that 32 tokens never
run through a graph of 128. Answers of the fixed shape are judged on texts padded to the longest.
"""

from __future__ import annotations

from contract import Clock, Deployed, Job, peer_main
from openvino_models import files_of, tensors


def make(job: Job) -> list[Deployed]:
    import nncf
    import openvino

    rows, clock, xml = job.calibration_rows(), Clock(), "model.xml"
    with clock.running():
        model = openvino.convert_model(job.reference)
        names = {entry.get_any_name() for entry in model.inputs}
        data = nncf.Dataset([tensors(row["ids"], names) for row in rows])
        quantized = nncf.quantize(model, data, model_type=nncf.ModelType.TRANSFORMER, subset_size=len(rows))
        openvino.save_model(quantized, str(job.folder / xml))
    return [
        Deployed(
            f"NNCF int8 on OpenVINO, {shape} shape", "openvino", xml, clock.seconds, files=files_of(xml),
            settings={"fixed": shape == "fixed"},
        )
        for shape in ("dynamic", "fixed")
    ]  # fmt: skip


if __name__ == "__main__":
    peer_main(make, packages=("nncf", "openvino"))
