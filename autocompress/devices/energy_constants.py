"""The energy model of a host that no meter can be read on: constants of its kind of core, and where they are from."""

from __future__ import annotations

from typing import Final

from autocompress.core.device import EnergyModel

PJ_PER_MAC_FP32: Final = 4.6
"""Multiply 3.7 pJ + add 0.9 pJ at 45 nm (Horowitz, "Computing's energy problem", ISSCC 2014, table of figure 1.1.9)."""

PJ_PER_MAC_INT8: Final = 0.3
"""Multiply in 8 bits 0.2 pJ + add in 32 bits 0.1 pJ (the same table)."""

PJ_PER_BYTE: Final = 250.0
"""From DRAM: 1.3 to 2.6 nJ a 64-bit access (the same table); the middle, 2.0 nJ, over 8 bytes."""

OPERATIONS: Final = (
    "pJ per operation: Horowitz, ISSCC 2014, 45 nm table (fp32 multiply 3.7 + add 0.9, int8 multiply 0.2 + int32 add "
    "0.1, DRAM 1.3 to 2.6 nJ a 64-bit access, taken as 2.0)"
)
"""The source of the three constants above, in words."""


_SERVER: Final = (
    "no meter on this host: a server core, from the TDP of a Xeon E5-2640 v4 (90 W for 10 cores: 9 W a busy core) "
    "and a third of that at rest",
    3.0,
    9.0,
)
_ARM: Final = (
    "no meter on this host: an ARM core, from the Raspberry Pi 4 board (2.7 W at rest, 6.4 W with four busy cores)",
    2.7 / 4,
    6.4 / 4,
)
"""(where the watts are from, watts of a core at rest, watts of a busy core)."""


def default_energy(machine: str, cores: int) -> EnergyModel:
    """What a core of this kind draws, for a host without a meter.

    `machine` is what `platform.machine()` says; whatever is no 64-bit ARM counts as a server core. `cores` is how many
    cores this process may use: the watts are theirs, not the whole socket's. A class of machines shares one guess here,
    hence the spread of 50 %.
    """
    kind, idle, active = _ARM if machine.lower() in ("aarch64", "arm64") else _SERVER
    return EnergyModel(
        idle_watts=idle * cores,
        active_watts=active * cores,
        cores=cores,
        pj_per_mac_fp32=PJ_PER_MAC_FP32,
        pj_per_mac_int8=PJ_PER_MAC_INT8,
        pj_per_byte=PJ_PER_BYTE,
        source=f"{kind}; {OPERATIONS}",
        spread=0.5,
    )
