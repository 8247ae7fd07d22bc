"""Who this machine is."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import psutil

from autocompress.core.device import DeviceProfile
from autocompress.core.policy import content_digest

_FLAGS: Final = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8", "asimddp", "i8mm")
"""Instruction sets that change what a kernel costs."""


def fingerprint() -> dict[str, str]:
    """What a measurement depends on and a reader needs to know: CPU, instruction sets, cores, memory, system."""
    info = _cpuinfo()
    flags = set(f"{info.get('flags', '')} {info.get('Features', '')}".split())
    return {
        "cpu": info.get("model name") or platform.processor() or platform.machine(),
        "isa": " ".join(flag for flag in _FLAGS if flag in flags),
        "machine": platform.machine(),
        "cores": str(psutil.cpu_count(logical=True) or 1),
        "memory_gib": f"{psutil.virtual_memory().total / 2**30:.0f}",
        "system": platform.system(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unreadable",
    }


def fingerprint_digest(found: Mapping[str, str]) -> str:
    """A short name for a machine."""
    return content_digest(dict(found))


def is_this_machine(profile: DeviceProfile) -> bool:
    """Whether a profile was measured on a machine like this one: what changes a kernel's cost is the same."""
    return profile.source == "measured" and is_like_this(profile.fingerprint)


def is_like_this(other: Mapping[str, str]) -> bool:
    """Whether a machine's fingerprint is that of this one in all that changes a kernel's cost."""
    found = fingerprint()
    return all(other.get(name) == found[name] for name in ("cpu", "isa", "machine", "cores", "system"))


def about(profile: DeviceProfile) -> dict[str, object]:
    """What a study remembers of its device, and whether it is `here`."""
    return {
        "name": profile.name,
        "source": profile.source,
        "measured_on": profile.measured_on,
        "here": is_this_machine(profile),
        "fingerprint": dict(profile.fingerprint),
    }


def _cpuinfo() -> dict[str, str]:
    found: dict[str, str] = {}
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    return found


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return ""
