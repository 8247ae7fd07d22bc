"""Rows of images, as a study's files hold them: read, brought to the size that a model reads, and split."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from autocompress.anatomy.inputs import image_positions, image_sides, patch_sides
from autocompress.core.data_spec import TaskSpec
from autocompress.errors import SpecError
from autocompress.inputs.image_reading import SETTINGS, Preprocessing, Unreadable, picture, pixels, preprocessing_of
from autocompress.inputs.pictures import Pictures
from autocompress.inputs.row_files import ImageFiles
from autocompress.reading import Labelled
from autocompress.tasks.loading import Loaded, Numbers
from autocompress.tasks.splitting import Pool, split

_SHOWN: Final = 5
PLAIN: Final[Mapping[str, Any]] = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "resample": 2,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.5, 0.5, 0.5],
    "image_std": [0.5, 0.5, 0.5],
}
"""What transformers takes where a checkpoint says nothing of it."""


def loaded_images(
    spec: TaskSpec, data: Labelled, folder: Path, numbers: Numbers, *, classes: Sequence[str], config: Any
) -> Loaded:
    """Reads and splits, class by class; of images that come out the same no two stand in different splits. `config` is
    the model's. Raises SpecError as `Task.load`."""
    files, notes = image_files(folder, config, spec.image_size)
    how = files.opened()
    pools, read = {}, {}
    for name, part in data.parts.items():
        read[name] = pictures(part.texts, numbers(part.labels), how, files.positions, where=part.where)
        keys = tuple(hashlib.blake2b(one.tobytes(), digest_size=16).digest() for one in read[name].pixels)
        pools[name] = Pool(part, read[name].labels, keys)
    splits = split(spec.data, pools, classes)
    examples = {name: read[part].take(places) for name, (part, places) in splits.places.items()}
    return Loaded(examples, files, (*data.notes, *notes, *splits.notes))


def pictures(given: Sequence[Any], labels: NDArray[Any], how: Preprocessing, positions: int, *, where: str) -> Pictures:
    """Raises SpecError naming the images that cannot be read."""
    found, problems = [], []
    for one in given:
        try:
            found.append(pixels(picture(one), how))
        except Unreadable as error:
            problems.append(str(error))
    if problems:
        more = f"; and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise SpecError(
            f"{where}: {len(problems)} of {len(given)} images cannot be read; remove or mend them: "
            f"{'; '.join(problems[:_SHOWN])}{more}"
        )
    stacked = np.stack(found)
    if (stacked[:, :1] == stacked).all():  # grey: a third of the memory
        stacked = np.ascontiguousarray(stacked[:, :1])
    return Pictures(tuple(given), stacked, labels, how, positions)


def image_files(folder: Path, config: Any, asked: int | None) -> tuple[ImageFiles, tuple[str, ...]]:
    """How a checkpoint's images are read, at the size that is `asked` for, and what there is to say of that. Raises
    SpecError where its files do not agree, or the size is none that the model can read."""
    channels, (rows, columns) = int(config.num_channels), patch_sides(config)
    if channels not in (1, 3):
        raise SpecError(f"{folder / 'config.json'}: `num_channels` must be 1 (grey) or 3 (RGB), got {channels}")
    height, width = (asked, asked) if asked else image_sides(config)
    if height % rows or width % columns:
        near = [size for size in (height // rows * rows, -(-height // rows) * rows) if size]
        raise SpecError(
            f"task.image_size: must be a multiple of the model's patches of {rows} x {columns} pixels, got {height}; "
            f"{' or '.join(map(str, near))} would do"
        )
    settings, notes = _settings(folder, height, width)
    try:
        how = preprocessing_of({**settings, "num_channels": channels})
    except (KeyError, TypeError, ValueError) as error:
        raise SpecError(f"{folder / SETTINGS}: cannot be read as how images are prepared: {error}") from error
    if asked and how.sides != (height, width):
        settings = _resized(settings, how, asked)
        how = preprocessing_of({**settings, "num_channels": channels})
    if how.sides != (height, width):
        told = "none" if how.sides is None else f"{how.sides[1]} x {how.sides[0]}"
        raise SpecError(
            f"{folder}: {SETTINGS} brings images to {told} pixels, and config.json reads {width} x {height}; say which "
            "with `task.image_size`"
        )
    return ImageFiles({**settings, "num_channels": channels}, image_positions(config, (height, width))), notes


def _settings(folder: Path, height: int, width: int) -> tuple[dict[str, Any], tuple[str, ...]]:
    path = folder / SETTINGS
    if not path.is_file():
        mean = PLAIN["image_mean"][0]
        note = (
            f"{folder}: no {SETTINGS}; images are resized to {width} x {height} and normalised with mean and deviation "
            f"{mean}, as transformers does where nothing is said"
        )
        return {**PLAIN, "size": {"height": height, "width": width}}, (note,)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SpecError(f"{path}: cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise SpecError(f"{path}: must be one object of settings, got {type(found).__name__}")
    return found, ()


def _resized(settings: Mapping[str, Any], how: Preprocessing, asked: int) -> dict[str, Any]:
    """The settings for images of other sides; what is cut off stays the same share."""
    both = {"height": asked, "width": asked}
    if how.crop is None or not settings.get("do_resize", True):
        return {**settings, "do_resize": True, "do_center_crop": False, "size": both}
    before = how.shortest or min(how.size or how.crop)
    larger = round(before * asked / min(how.crop))
    size = {"shortest_edge": larger} if how.shortest else {"height": larger, "width": larger}
    return {**settings, "size": size, "crop_size": both}
