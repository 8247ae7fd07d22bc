"""What models of recordings call their inputs."""

from typing import Final

SPECTRUM: Final = "input_features"
"""A log-mel spectrogram: [recordings, bands, frames]."""

SOUND: Final = "input_values"
"""A wave, [recordings, samples], or the log of a bank of filters, [recordings, frames, bands]."""

SAMPLES: Final = "audio_samples"
"""What a config of ours calls the samples of a wave that its model reads; its makers' say nothing of it."""
