"""What a candidate costs, from its shape alone: counted, predicted, modelled, and held against the study's bounds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from autocompress import operators
from autocompress.core.cost import activation_bytes, macs, parameters, passes, unpacked, weight_bytes
from autocompress.core.device import DeviceProfile, EnergyModel, Estimate
from autocompress.core.metrics import METRICS
from autocompress.core.outcome import Measurement, Measurements, Priced, Source
from autocompress.core.parts import ModelParts
from autocompress.core.policy import CompressionPolicy
from autocompress.core.prediction import Predictor, predictor_of
from autocompress.core.runtimes import DEFAULT_RUNTIME
from autocompress.core.spec import Bound, StudySpec
from autocompress.core.workload import Workload
from autocompress.errors import CandidateError, SpecError


@dataclass(frozen=True, slots=True)
class Pricing:
    """Rung 0: everything that follows from a policy's shape. Microseconds a call.

    `wanted` are the metrics that the study names, beside those that every candidate has.
    """

    shape: ModelParts
    workload: Workload
    predictor: Predictor
    constraints: Mapping[str, Bound]
    energy: EnergyModel | None = None
    wanted: frozenset[str] = frozenset()

    @staticmethod
    def of(
        profile: DeviceProfile,
        shape: ModelParts,
        *,
        workload: Workload,
        objectives: Iterable[str],
        constraints: Mapping[str, Bound],
        runtimes: Sequence[str] = (DEFAULT_RUNTIME,),
    ) -> Pricing:
        """Prices for one device. Raises SpecError for a workload, a runtime or a metric that the profile knows nothing
        of."""
        wanted = frozenset((*objectives, *constraints))
        if "energy_mj" in wanted and profile.energy is None:
            raise SpecError(
                f"device {profile.name!r} has no energy model, so energy_mj cannot be known; add `energy:` to its "
                "profile, or leave energy_mj out of the study"
            )
        try:
            predictor = predictor_of(profile, hidden=shape.width, head_size=shape.head_size, workload=workload)
            for runtime in runtimes:
                predictor(replace(shape, runtime=runtime))
        except ValueError as error:
            raise SpecError(f"{error}; {_to_measure(workload, runtimes)}, or write `device: host`") from error
        return Pricing(shape, workload, predictor, constraints, profile.energy, wanted)

    @staticmethod
    def for_study(spec: StudySpec, profile: DeviceProfile, shape: ModelParts) -> Pricing:
        """What its candidates cost on a device, and which of its bounds they break. Raises SpecError as `of` does."""
        return Pricing.of(
            profile,
            shape,
            workload=spec.workload,
            objectives=spec.objectives,
            constraints=spec.constraints,
            runtimes=spec.runtimes,
        )

    def __call__(self, policy: CompressionPolicy) -> Priced:
        try:
            kept, shape = operators.effective(policy, self.shape)
        except CandidateError as error:
            return Priced(policy, (), str(error))
        known = self.count(shape)
        for measurement in known:
            bound = self.constraints.get(measurement.metric)
            if bound and bound.violation(measurement.value) > 0:
                return Priced(kept, known, f"{measurement.metric} {bound}")
        return Priced(kept, known)

    def count(self, shape: ModelParts) -> Measurements:
        """Counted, predicted and modelled metrics of a shape. Raises SpecError outside of what the profile knows."""
        try:
            load, latency = self.workload, self.predictor(shape)
        except ValueError as error:
            raise SpecError(f"device: {error}") from error
        size = weight_bytes(shape)
        found = [
            _estimated("latency_ms", latency, "predicted"),
            Measurement("size_mb", size / 1e6, METRICS["size_mb"].unit, "counted"),
            Measurement("parameters", parameters(shape), "count", "counted"),
            Measurement("macs", self._macs(shape), "count", "counted"),
        ]
        if self.energy is not None:
            found.append(_estimated("energy_mj", self.energy(shape, load, latency), "modelled"))
        if "throughput" in self.wanted:
            found.append(_estimated("throughput", throughput(latency, load), "predicted"))
        if "peak_memory_mib" in self.wanted:
            held = weight_bytes(unpacked(shape)) + peak_bytes(shape, load)
            found.append(Measurement("peak_memory_mib", held / 2**20, METRICS["peak_memory_mib"].unit, "counted"))
        return tuple(found)

    def _macs(self, shape: ModelParts) -> int:
        return macs(shape, passes(shape, self.workload.typical))


def _to_measure(workload: Workload, runtimes: Sequence[str]) -> str:
    """The command that measures what a workload needs, in each runtime."""
    lengths = dict.fromkeys((min(one.length for one in workload.batches), workload.longest.length))
    options = "".join(f" --length {length}" for length in lengths)
    if set(runtimes) != {DEFAULT_RUNTIME}:
        options += "".join(f" --runtime {runtime}" for runtime in runtimes)
    return f"profile it with `autocompress profile --batch {workload.batch} --threads {workload.threads}{options}`"


def peak_bytes(shape: ModelParts, load: Workload) -> int:
    """Bytes of the activations that are alive at once, under the longest batch of a workload."""
    return max(activation_bytes(shape, one) for one in passes(shape, load.longest))


def throughput(latency: Estimate, workload: Workload) -> Estimate:
    """Sequences a second of one batch after another."""
    per_batch = 1e3 * workload.batch
    longest, shortest = latency.high, latency.low or latency.value
    return Estimate(per_batch / latency.value, per_batch / longest, per_batch / shortest)


def _estimated(metric: str, found: Estimate, source: Source) -> Measurement:
    return Measurement(metric, found.value, METRICS[metric].unit, source, interval=(found.low, found.high))
