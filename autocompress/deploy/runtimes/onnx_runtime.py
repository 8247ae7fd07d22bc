"""ONNX Runtime with one of its execution providers, refused where it silently does something else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import onnxruntime

from autocompress.core.device import Runtime
from autocompress.core.runtimes import RUNTIMES, RuntimeName
from autocompress.deploy.measure import session_entries
from autocompress.errors import HostError, IntegrityError

Providers = Sequence[str]
"""The provider that is to compute, and those that it may hand nodes to which it does not know."""

CPU: Final = ("CPUExecutionProvider",)
CUDA: Final = ("CUDAExecutionProvider", "CPUExecutionProvider")
TENSORRT: Final = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")

EXECUTED: Final = "executed.onnx"
"""The graph that a watched session executes, with the runtime's own fusions."""

_PRODUCTS: Final = frozenset({"MatMul", "Gemm", "FusedMatMul", "FusedGemm", "MatMulInteger", "Attention"})
"""Operators that a model's time is spent in: with a GPU asked for, none of them may run on the CPU."""

_RECORD: Final = "session.record_ep_graph_assignment_info"


def about(name: RuntimeName, providers: Providers) -> Runtime:
    """Raises HostError when this build of ONNX Runtime lacks the provider."""
    _require(name, providers)
    if providers == CPU:
        return Runtime(name, onnxruntime.__version__, {"provider": CPU[0]})
    return Runtime(name, onnxruntime.__version__, {"provider": " ".join(providers), "gpu": _gpus()})


class OnnxRuntimeEngine:
    """A session of ONNX Runtime."""

    def __init__(
        self,
        name: RuntimeName,
        providers: Providers,
        model: Path | bytes,
        threads: int,
        switches: Mapping[str, str],
        watch: Path | None,
    ) -> None:
        """Raises IntegrityError when the model is no valid one, HostError when the provider asked for is not there, was
        silently replaced, or left products to the CPU."""
        _require(name, providers)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        for key, value in session_entries(switches).items():
            options.add_session_config_entry(key, value)
        if providers != CPU:
            options.add_session_config_entry(_RECORD, "1")
        if watch is not None:
            options.enable_profiling = True
            options.profile_file_prefix = str(watch / "profile")
            options.optimized_model_filepath = str(watch / EXECUTED)
        source = str(model) if isinstance(model, Path) else model
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=list(providers))
        except Exception as error:  # the runtime raises a private class for every kind of damage
            raise IntegrityError(
                f"{model if isinstance(model, Path) else 'model'}: not a valid model: {error}"
            ) from error
        refuse_fallback(name, providers, self._session)
        self.sizes = {
            entry.name: tuple(size if isinstance(size, int) else None for size in entry.shape)
            for entry in self._session.get_inputs()
        }
        self.inputs = frozenset(self.sizes)
        self.shared = providers == CPU and watch is None

    def infer(self, feed: Mapping[str, Any]) -> Any:
        (found,) = self._session.run(None, feed)
        return found

    def end_watch(self) -> Path:
        return Path(self._session.end_profiling())


def refuse_fallback(name: RuntimeName, providers: Providers, session: Any) -> None:
    """Raises HostError when a session computes elsewhere than it was asked to: ONNX Runtime warns of a provider that it
    cannot load, and goes on with the CPU; and nodes that a provider does not know go to the next one without a word."""
    got = session.get_providers()[0]
    if got != providers[0]:
        raise HostError(
            f"runtime {name!r}: asked for {providers[0]}, got {got}: the provider could not be loaded (its driver, "
            f"CUDA or TensorRT libraries); {RUNTIMES[name].fix}, or choose another runtime"
        )
    if len(providers) == 1:
        return
    left = sorted(
        {
            node.op_type
            for part in session.get_provider_graph_assignment_info()
            if part.ep_name == CPU[0]
            for node in part.get_nodes()
            if node.op_type in _PRODUCTS
        }
    )
    if left:
        raise HostError(
            f"runtime {name!r}: {providers[0]} leaves {', '.join(left)} to the CPU; it has no kernel for this model's "
            "precision: leave these parts in fp32 (`bits: 32`), or choose another runtime"
        )


def _require(name: RuntimeName, providers: Providers) -> None:
    known = onnxruntime.get_available_providers()
    if providers[0] not in known:
        raise HostError(
            f"runtime {name!r}: this onnxruntime {onnxruntime.__version__} has no {providers[0]} (it has: "
            f"{', '.join(known)}); {RUNTIMES[name].fix}"
        )


def _gpus() -> str:
    """The GPUs' names, as the driver tells them: kernels of another one cost something else."""
    found = []
    for path in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
        found += [line.partition(":")[2].strip() for line in lines if line.startswith("Model:")]
    return ", ".join(found) or "unknown"
