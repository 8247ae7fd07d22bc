"""What models of images call their inputs."""

from typing import Final

PIXELS: Final = "pixel_values"
"""Colours, normalised: [images, channels, height, width]."""
