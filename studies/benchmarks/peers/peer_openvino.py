"""OpenVINO without quantization: fp32, and what it does by itself, half the file and bf16 where the CPU has it."""

from __future__ import annotations

from contract import Clock, Deployed, Job, peer_main
from openvino_models import files_of


def make(job: Job) -> list[Deployed]:
    import openvino

    found = []
    for name, compress, hint in (("fp32", False, "f32"), ("bf16", True, "bf16")):
        clock, xml = Clock(), f"{name}.xml"
        with clock.running():
            model = openvino.convert_model(job.reference)
            openvino.save_model(model, str(job.folder / xml), compress_to_fp16=compress)
        settings = {"precision": hint}
        found.append(
            Deployed(f"OpenVINO {name}", "openvino", xml, clock.seconds, files=files_of(xml), settings=settings)
        )
    return found


if __name__ == "__main__":
    peer_main(make, packages=("openvino",))
