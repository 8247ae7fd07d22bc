"""How images become what a model reads: one file of settings, read the same way while a study runs and out of an
exported folder. Needs only: pip install pillow numpy

It imports nothing of autocompress: a copy of it travels in every folder of a model that reads images. What it computes
is what transformers' image processors do with Pillow: an image is brought to RGB and upright, resized, cropped,
rescaled and normalised, as `preprocessor_config.json` says.
"""

from __future__ import annotations

import io
import json
import pathlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps

SETTINGS = "preprocessor_config.json"
MOST_PIXELS = 64_000_000
"""Of an image; more is held for a slip, or for an attack on the memory."""


class Unreadable(ValueError):
    """What was given is no image that can be read: why, in words."""


@dataclass(frozen=True)
class Preprocessing:
    """Images are resized to `size` (height, width), or until their shorter side has `shortest` pixels, by Pillow's
    filter number `resample`, and cropped in the middle to `crop`; their values, 0 to 255, are multiplied by `scale`,
    and brought to `mean` 0 and `std` 1 channel by channel."""

    size: tuple[int, int] | None
    shortest: int | None
    crop: tuple[int, int] | None
    resample: int
    scale: float
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def channels(self) -> int:
        return len(self.mean)

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of what comes out; None where they depend on the image."""
        return self.crop or self.size


def preprocessing_in(folder: pathlib.Path) -> Preprocessing:
    """That of an exported folder. Raises Unreadable."""
    try:
        return preprocessing_of(json.loads((folder / SETTINGS).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unreadable(f"{folder / SETTINGS}: how images are read cannot be told from it: {error}") from error


def preprocessing_of(told: dict[str, Any]) -> Preprocessing:
    """Of what an image processor of transformers writes, and `num_channels` of a model that reads other than RGB.
    Raises KeyError, TypeError or ValueError."""
    channels = int(told.get("num_channels") or 3)
    size, crop, shortest = told.get("size"), told.get("crop_size"), None
    if isinstance(size, int):  # of old: the shorter side, or both
        size = {"shortest_edge": size} if told.get("do_center_crop") else {"height": size, "width": size}
    if not told.get("do_resize", True):
        size = {}
    elif isinstance(size, dict) and "shortest_edge" in size:
        if "longest_edge" in size:
            raise ValueError("`size` with a `longest_edge` is not known")
        size, shortest = {}, int(size["shortest_edge"])
    elif not isinstance(size, dict) or not {"height", "width"} <= size.keys():
        raise ValueError(f"`size` must name height and width, or shortest_edge; got {size}")
    if isinstance(crop, int):
        crop = {"height": crop, "width": crop}
    cropped = crop if told.get("do_center_crop") else None
    mean, std = told.get("image_mean", 0.5), told.get("image_std", 0.5)
    if not told.get("do_normalize", True):
        mean, std = 0.0, 1.0
    means, stds = (tuple(map(float, one if isinstance(one, list) else [one] * channels)) for one in (mean, std))
    if len(means) != channels or len(stds) != channels or not all(stds):
        raise ValueError(f"`image_mean` and `image_std` must have {channels} values, none of `image_std` 0")
    return Preprocessing(
        (int(size["height"]), int(size["width"])) if size else None,
        shortest,
        (int(cropped["height"]), int(cropped["width"])) if cropped else None,
        int(told.get("resample", 2)),
        float(told.get("rescale_factor", 1 / 255)) if told.get("do_rescale", True) else 1.0,
        means,
        stds,
    )


def read(images: Sequence[Any], how: Preprocessing) -> np.ndarray:
    """What a model is given for some images: float32 [images, channels, height, width]. Raises Unreadable."""
    found = [pixels(picture(one), how) for one in images]
    if len({one.shape for one in found}) > 1:
        raise Unreadable("images of different sizes cannot be read together, as `size` is none; give one at a time")
    return values(np.stack(found), how)


def picture(given: Any) -> Image.Image:
    """An image, upright: of a path, the bytes of a file, a Pillow image, or an array [height, width] or [height, width,
    channels] of whole numbers from 0 to 255. Raises Unreadable."""
    if isinstance(given, np.ndarray):
        return _of_array(given)
    if isinstance(given, (str, pathlib.Path)):
        where: Any = pathlib.Path(given)
        named = str(given)
    elif isinstance(given, (bytes, bytearray)):
        where, named = io.BytesIO(bytes(given)), "an image"
    elif isinstance(given, Image.Image):
        return _upright(given, "an image")
    else:
        raise Unreadable(f"must be a path, bytes, an array or an image, got {type(given).__name__} {str(given)[:40]!r}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(where) as opened:
                return _upright(opened, named)
    except Unreadable:
        raise
    except FileNotFoundError as error:
        raise Unreadable(f"{named}: no such file") from error
    except Exception as error:  # Pillow's readers raise whatever a damaged file makes them come across
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise Unreadable(f"{named}: no image that can be read, or not whole: {reason}") from error


def pixels(image: Image.Image, how: Preprocessing) -> np.ndarray:
    """uint8 [channels, height, width]: resized and cropped. Raises Unreadable for an image smaller than the crop."""
    if how.channels == 3:
        image = image.convert("RGB")
    elif how.channels == 1:
        image = image.convert("L")
    size = how.size
    if how.shortest is not None:
        width, height = image.size
        short, long = sorted((width, height))
        longer = int(how.shortest * long / short)
        size = (longer, how.shortest) if width <= height else (how.shortest, longer)
    if size is not None:
        image = image.resize((size[1], size[0]), resample=Image.Resampling(how.resample))
    found = np.asarray(image)
    found = found[None] if found.ndim == 2 else np.moveaxis(found, -1, 0)
    if how.crop is None:
        return np.ascontiguousarray(found)
    (height, width), (rows, columns) = found.shape[1:], how.crop
    if height < rows or width < columns:
        raise Unreadable(f"an image of {width} x {height} pixels is smaller than what is cut out, {columns} x {rows}")
    top, left = (height - rows) // 2, (width - columns) // 2
    return np.ascontiguousarray(found[:, top : top + rows, left : left + columns])


def values(found: np.ndarray, how: Preprocessing) -> np.ndarray:
    """uint8 [images, channels, height, width] -> float32 of the same shape."""
    mean, std = (np.asarray(one, np.float32)[:, None, None] for one in (how.mean, how.std))
    scaled: np.ndarray = (found.astype(np.float32) * np.float32(how.scale) - mean) / std
    return scaled


def _upright(image: Image.Image, named: str) -> Image.Image:
    """Loaded whole, turned as its EXIF says, on white where it is transparent. Raises Unreadable."""
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise Unreadable(f"{named}: has {width} x {height} pixels; at most {MOST_PIXELS:,} are read")
    if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # whose further frames are previews
        raise Unreadable(f"{named}: is animated, or has several pages; save the one that is meant")
    image.load()
    turned = ImageOps.exif_transpose(image)
    if turned.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        return _of_wide(np.asarray(turned), named)
    if turned.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in turned.info:
        clear = turned.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear).convert("RGB")
    return turned if turned.mode in ("RGB", "L") else turned.convert("RGB")


def _of_wide(found: np.ndarray, named: str) -> Image.Image:
    """Grey values of more than 8 bits. Raises Unreadable where nobody says what is white."""
    if found.dtype.kind != "f" and found.min() >= 0 and 255 < found.max() <= 65535:
        return Image.fromarray((found.astype(np.uint32) // 257).astype(np.uint8))
    if found.min() >= 0 and found.max() <= 255 and np.array_equal(found, np.rint(found)):
        return Image.fromarray(found.astype(np.uint8))
    raise Unreadable(f"{named}: its values lie between {found.min():.4g} and {found.max():.4g}; save it with 0 to 255")


def _of_array(found: np.ndarray) -> Image.Image:
    if found.ndim == 3 and found.shape[-1] == 1:
        found = found[..., 0]
    if found.ndim not in (2, 3) or (found.ndim == 3 and found.shape[-1] not in (3, 4)) or not found.size:
        raise Unreadable(f"an array must be [height, width] or [height, width, 3], got {list(found.shape)}")
    if found.dtype != np.uint8:
        if found.dtype.kind not in "iu" or found.min() < 0 or found.max() > 255:
            raise Unreadable(f"an array must hold whole numbers from 0 to 255 (uint8), got {found.dtype}")
        found = found.astype(np.uint8)
    return _upright(Image.fromarray(np.ascontiguousarray(found)), "an array")
