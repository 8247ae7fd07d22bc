"""Recordings and their labels out of folders."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from autocompress.errors import SpecError
from autocompress.reading.folders import is_recording
from autocompress.reading.media import Medium


def _encoded(cell: Any) -> bytes | None:
    """The bytes of a WAV file of fp32 samples, for a mapping with an `array` and its `sampling_rate`, as the `datasets`
    library has it."""
    if isinstance(cell, np.ndarray):
        raise SpecError(
            "an array of samples says nothing of its sampling rate; give {'array': ..., 'sampling_rate': 16000}"
        )
    if not isinstance(cell, Mapping) or cell.get("array") is None:
        return None
    values, rate = np.asarray(cell["array"]), cell.get("sampling_rate")
    if values.ndim != 1 or values.dtype.kind != "f" or not isinstance(rate, int | np.integer) or not 0 < rate < 2**31:
        raise SpecError(
            f"an array cannot be read as a recording: {values.dtype} {list(values.shape)} with a `sampling_rate` of "
            f"{rate}; give floats [samples], and samples a second"
        )
    content = values.astype("<f4").tobytes()
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 1, int(rate), 4 * int(rate), 4, 32)
    data = struct.pack("<4sI", b"data", len(content)) + content
    return struct.pack("<4sI4s", b"RIFF", 4 + len(form) + len(data), b"WAVE") + form + data


RECORDINGS: Final = Medium("audio", "recording", "speech.wav", is_recording, _encoded)
