"""DistilBERT's recipe (Sanh et al. 2019): every other layer stays, then it is distilled from the teacher's answers."""

from __future__ import annotations

from contract import Clock, Deployed, Job, peer_main


def make(job: Job) -> list[Deployed]:
    from distilled import School, deployed_twice

    from autocompress.core.policy import CompressionPolicy, Step
    from autocompress.finalists.recovery import trainable_student

    clock = Clock()
    with clock.running():
        school = School.of(job)
        layers = range(len(school.setup.teacher().layers))
        policy = CompressionPolicy(tuple(Step("remove_layer", f"layers.{index}") for index in layers if index % 2))
        student = trainable_student(school.setup, policy)
        school.teach(student)
    return deployed_twice(job, student.model, "every other layer, distilled", "model", clock)


if __name__ == "__main__":
    peer_main(make, packages=("torch", "transformers", "onnxruntime"))
