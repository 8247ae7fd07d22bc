"""How images become what a model reads: as transformers' processors do it, whatever they are stored as; or a
refusal."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from autocompress.anatomy.heads import at_size
from autocompress.anatomy.inputs import image_positions
from autocompress.core.data_spec import Asset, DataSpec, TaskSpec, TextSpec
from autocompress.core.training_spec import TransferSpec
from autocompress.core.workload import Workload
from autocompress.errors import SpecError
from autocompress.inputs.image_reading import Unreadable, picture, pixels, preprocessing_of, read
from autocompress.inputs.pictures import Pictures
from autocompress.tasks import batches, task_named
from autocompress.tasks.image_loading import image_files
from tests.families.given import answers, inputs, live
from tests.tasks.given_images import SETTINGS, coloured, write_images, write_vit

CROPPED = {"do_center_crop": True, "crop_size": {"height": 20, "width": 20}, "resample": 3}
FORMS: dict[str, dict[str, Any]] = {
    "ViTImageProcessorPil": SETTINGS,
    "DeiTImageProcessorPil": {**SETTINGS, **CROPPED, "size": {"height": 26, "width": 26}},
    "BitImageProcessorPil": {**SETTINGS, **CROPPED, "size": {"shortest_edge": 26}, "do_convert_rgb": True},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [(40, 30), (23, 61), (24, 24)])
def test_values_are_those_of_transformers_processors(form: str, size: tuple[int, int]) -> None:
    import transformers

    processor = getattr(transformers, form)(**FORMS[form])
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (*size, 3)).astype(np.uint8))
    expected = np.asarray(processor(image, return_tensors="np")["pixel_values"])
    found = read([image], preprocessing_of({**FORMS[form], **json.loads(processor.to_json_string())}))
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() < 1e-6, "in fp32; the pixels themselves are equal"


def stored(image: Image.Image, form: str, **options: Any) -> bytes:
    written = io.BytesIO()
    image.save(written, form, **options)
    return written.getvalue()


def test_images_are_brought_to_rgb_upright_and_on_white() -> None:
    _, image = coloured(4)
    grey = np.asarray(image.convert("L"))
    assert np.array_equal(picture(stored(image.convert("L"), "png")).convert("RGB"), np.stack([grey] * 3, axis=-1))
    wide = Image.fromarray(grey.astype(np.uint16) * 257)
    assert np.array_equal(picture(stored(wide, "png")), grey), "of 16 bits the upper 8 count"
    turned = stored(ImageOps.mirror(image), "png", exif=_orientation(2))
    assert np.array_equal(picture(turned), image)
    clear = image.copy()
    clear.putalpha(0)
    assert np.asarray(picture(stored(clear, "png"))).min() == 255
    cmyk = picture(stored(image.convert("CMYK"), "jpeg"))
    assert (cmyk.mode, cmyk.size) == ("RGB", image.size)
    assert picture(stored(image.quantize(8), "gif")).mode == "RGB"


def _orientation(value: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = value
    return exif


def test_what_is_no_single_whole_image_is_refused() -> None:
    _, image = coloured(5)
    frames = stored(image, "gif", save_all=True, append_images=[coloured(6)[1]])
    cases = {
        "an image: is animated, or has several pages; save the one that is meant": frames,
        "an image: no image that can be read, or not whole": stored(image, "png")[:400],
        "no image that can be read": b"a text",
        "must be a path, bytes, an array or an image, got int '7'": 7,
        r"an array must be \[height, width\] or \[height, width, 3\], got \[2, 3, 4, 5\]": np.zeros(
            (2, 3, 4, 5), np.uint8
        ),
        r"an array must hold whole numbers from 0 to 255 \(uint8\), got float32": np.zeros((3, 3), np.float32),
        "nothing.png: no such file": "nothing.png",
    }
    for told, given in cases.items():
        with pytest.raises(Unreadable, match=told):
            picture(given)
    how = preprocessing_of({**SETTINGS, **CROPPED, "do_resize": False})
    with pytest.raises(Unreadable, match="an image of 40 x 10 pixels is smaller than what is cut out, 20 x 20"):
        pixels(Image.new("RGB", (40, 10)), how)


def loaded(folder: Path, **settings: Any) -> Any:
    from transformers import AutoConfig

    spec = TaskSpec(DataSpec(Asset(path="images")), kind="image-classification", **settings)
    config = AutoConfig.from_pretrained(str(folder / "model"))
    return task_named(spec.kind).load(spec, {"all": folder / "images"}, folder / "model", config=config)


def test_images_that_a_model_cannot_tell_apart_stand_in_one_split(tmp_path: Path) -> None:
    write_images(tmp_path / "images", rows=60)
    write_vit(tmp_path / "model")
    for number in range(0, 60, 2):  # the same pixels in other files
        name, image = coloured(number)
        image.save(tmp_path / "images" / name / f"again-{number}.bmp")
    task = loaded(tmp_path)
    seen = {name: {one.tobytes() for one in part.pixels} for name, part in task.splits.items()}
    assert not seen["train"] & (seen["validation"] | seen["test"])
    assert not seen["validation"] & seen["test"]
    assert any("as the model cannot tell them from images of" in note for note in task.notes)
    batch = task.examples("train").batch(np.arange(3))
    assert batch.inputs["pixel_values"].shape == (3, 3, 24, 24)
    assert batch.mask.shape == (3, 10)


def test_images_that_cannot_be_read_are_named_before_anything_is_trained(tmp_path: Path) -> None:
    write_images(tmp_path / "images", rows=12)
    write_vit(tmp_path / "model")
    (tmp_path / "images" / "red" / "000.png").write_bytes(b"\x89PNG")
    with pytest.raises(
        SpecError, match=r"1 of 12 images cannot be read; remove or mend them: .*red/000\.png: no image"
    ):
        loaded(tmp_path)


def test_grey_images_take_a_third_of_the_memory_and_mean_the_same() -> None:
    values = np.random.default_rng(0).integers(0, 256, (2, 1, 24, 24)).astype(np.uint8)
    how, labels = preprocessing_of(SETTINGS), np.zeros(2, np.int64)
    one, three = (Pictures(("", ""), found, labels, how, 10) for found in (values, np.repeat(values, 3, axis=1)))
    rows = np.arange(2)
    assert torch.equal(one.batch(rows).inputs["pixel_values"], three.batch(rows).inputs["pixel_values"])


def test_a_workload_of_images_is_as_long_as_their_patches() -> None:
    some = Pictures(("",), np.zeros((1, 1, 24, 24), np.uint8), np.zeros(1, np.int64), preprocessing_of(SETTINGS), 10)
    assert some.served(Workload(4)) == Workload(4, 10)
    with pytest.raises(SpecError, match=r"workload\.length: an image takes 10 positions of this model, got 64"):
        some.served(Workload(1, 64))


@pytest.mark.parametrize(
    "form", ["ViTForImageClassification", "DeiTForImageClassification", "Dinov2ForImageClassification"]
)
def test_positions_are_interpolated_to_another_size(form: str) -> None:
    model = live(form, num_labels=3)
    larger = at_size(model, 40)
    assert at_size(model, 24) is model
    assert image_positions(larger.config) == image_positions(model.config) + 16
    given = inputs(larger)
    if "DeiT" in form or "Dinov2" in form:
        assert answers(larger, given).shape == (2, 3)
    with torch.no_grad():
        usual = {} if "Dinov2" in form else {"interpolate_pos_encoding": True}
        expected = model(**given, **usual).logits
    assert (answers(larger, given) - expected).abs().max() < 1e-5


def test_sizes_that_do_not_fit_a_checkpoint_are_refused(tmp_path: Path) -> None:
    config = live("ViTForImageClassification").config
    write_vit(tmp_path / "other", size=32)
    with pytest.raises(SpecError, match="brings images to 24 x 24 pixels, and config.json reads 32 x 32; say which"):
        image_files(tmp_path / "other", live("ViTForImageClassification", image_size=32).config, None)
    with pytest.raises(SpecError, match=r"multiple of the model's patches of 8 x 8 pixels, got 30; 24 or 32 would do"):
        image_files(tmp_path / "other", config, 30)
    files, notes = image_files(tmp_path, config, None)
    assert files.opened().sides == (24, 24)
    assert "no preprocessor_config.json; images are resized to 24 x 24 and normalised" in notes[0]
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**SETTINGS, "size": {"longest_edge": 3}}))
    with pytest.raises(SpecError, match="cannot be read as how images are prepared: `size` must name height and width"):
        image_files(tmp_path, config, None)
    cropped = {**SETTINGS, "size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": 224}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(cropped))
    asked = image_files(tmp_path, config, 112 // 8 * 8)[0].opened()
    assert (asked.shortest, asked.crop) == (128, (112, 112)), "the same share is cut off"


def test_settings_of_texts_are_refused_of_images_and_the_other_way_round() -> None:
    with pytest.raises(
        ValueError, match=r"task\.max_length: counts tokens of texts, and image-classification reads images"
    ):
        TaskSpec(kind="image-classification", max_length=64)
    with pytest.raises(ValueError, match=r"task\.image_size: is that of images, and text-classification reads texts"):
        TaskSpec(image_size=64)


def test_a_model_that_cannot_read_what_the_task_gives_it_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    from autocompress import config
    from autocompress.operators import OPERATORS
    from autocompress.study.preflight import problems_of
    from autocompress.teacher.checkpoints import read_checkpoint
    from tests.given_study import write_data, write_model, write_study
    from tests.tasks.given_images import write_image_study

    write_images(tmp_path / "images", rows=12)
    write_data(tmp_path / "texts.csv", rows=20)
    write_model(tmp_path / "model", head=True)
    images = config.load_study(write_image_study(tmp_path), operators=OPERATORS)
    told = r"a bert reads texts, and task\.kind image-classification gives it images; take a model of images"
    assert any(told.replace("\\", "") in line for line in problems_of(images))
    with pytest.raises(
        SpecError, match="a bert reads texts, and image-classification gives it images; take a model of"
    ):
        read_checkpoint(tmp_path / "model").check_modality("image-classification")
    for transfer in ({"recombined": 1}, {"texts": TextSpec(Asset(path="more.txt"))}):
        with pytest.raises(ValueError, match=rf"finalists\.transfer\.{next(iter(transfer))}: of texts, and image"):
            replace(images, finalists=replace(images.finalists, transfer=TransferSpec(**transfer)))
    with pytest.raises(ValueError, match=r"workload\.lengths: of texts, and image-classification reads none; leave"):
        replace(images, workload=Workload(lengths="real"))
    write_vit(tmp_path / "model")
    texts = config.load_study(write_study(tmp_path, name="texts"), operators=OPERATORS)
    assert any(
        "a vit reads images, and task.kind text-classification gives it texts" in one for one in problems_of(texts)
    )
    assert problems_of(images) == []
    odd = config.load_study(write_image_study(tmp_path, image_size=30), operators=OPERATORS)
    assert any("must be a multiple of the model's patches of 8 x 8 pixels, got 30" in one for one in problems_of(odd))


def test_variations_are_moved_and_mirrored_and_the_same_every_time() -> None:
    values = np.random.default_rng(0).integers(0, 256, (3, 1, 24, 24)).astype(np.uint8)
    own = Pictures(("a", "b", "c"), values, np.array([2, 0, 1]), preprocessing_of(SETTINGS), 10)
    made = own.varied(4, seed=0)
    assert (len(made), made.given[:4]) == (12, ("a", "b", "c", "a"))
    assert np.array_equal(made.labels, np.tile(own.labels, 4))
    assert np.array_equal(made.pixels, own.varied(4, seed=0).pixels)
    for place, one in enumerate(made.pixels[:, 0]):
        middle, whole = one[3:-3, 3:-3], values[place % 3, 0]
        found = [np.roll(form, moved, (0, 1)) for form in (whole, whole[:, ::-1]) for moved in np.ndindex(7, 7)]
        shifted = (np.roll(form, (-3, -3), (0, 1))[3:-3, 3:-3] for form in found)
        assert any(np.array_equal(middle, form) for form in shifted), "it is an image that was moved by 3 at most"
    both = own.joined(made)
    assert (len(both), both.given[:3]) == (15, own.given)


def test_batches_of_images_are_made_as_they_are_asked_for() -> None:
    values = np.random.default_rng(0).integers(0, 256, (7, 3, 24, 24)).astype(np.uint8)
    found = batches(Pictures(("",) * 7, values, np.arange(7), preprocessing_of(SETTINGS), 10), 3, shuffle=1)
    assert (len(found), not isinstance(found, list)) == (3, True)
    assert sorted(int(row) for batch in found for row in batch.rows) == list(range(7))
    assert [torch.equal(one.targets, torch.from_numpy(one.rows)) for one in found[1:]] == [True] * 2
    assert torch.equal(found[0].inputs["pixel_values"], found[0].inputs["pixel_values"])
