"""The main job on images: searched, trained, traced, picked, verified, asked."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas
import pytest
from PIL import Image

import autocompress
from autocompress.errors import SpecError
from autocompress.exported.folder_check import verify_folder
from autocompress.store import Store
from autocompress.study.given import Given, settled
from autocompress.study.study import Study
from tests.tasks.given_images import COLOURS, coloured, write_image_study, write_images, write_vit

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study]:
    """A study of images of 32 x 32 pixels, for which the model has positions for 24 x 24."""
    place = tmp_path_factory.mktemp("images")
    write_images(place / "images")
    write_vit(place / "model")
    spec = write_image_study(place, image_size=32)
    study = autocompress.run(spec, storage=str(place / "autocompress.db"), workers=0)
    study.pick(maximize="quality", out=place / "picked")
    return place, study


def test_a_picked_model_of_images_is_what_was_measured(studied: tuple[Path, Study]) -> None:
    place, study = studied
    (member,) = (one for one in study.pareto().to_json()["members"] if one["verified"])
    assert member["metrics"]["parity"]["value"] < 1e-4
    report = verify_folder(place / "picked", rounds=3)
    assert report.ok, report.problems
    assert report.texts == 12
    assert report.agreement == 1
    assert "(12 images put in)" in "\n".join(report.lines)
    about = json.loads((place / "picked" / "manifest.json").read_text())
    assert about["baseline"]["quality"]["value"] > 0.9, "colours are told apart"
    assert about["workload"]["length"] == 17 == about["task"]["positions"], "16 patches and one token before them"


def test_it_answers_paths_bytes_arrays_and_images_alike(studied: tuple[Path, Study]) -> None:
    place, _ = studied
    model, path = autocompress.load(place / "picked"), place / "images" / "red" / "000.png"
    image = Image.open(path)
    answer = model(path)
    assert set(answer.shares) == set(COLOURS)
    assert model([str(path), path.read_bytes(), image, np.asarray(image)]) == [answer] * 4
    with pytest.raises(SpecError, match=r"image 1: .*none\.png: no such file"):
        model([path, place / "none.png"])
    with pytest.raises(SpecError, match="this model reads images, which have no tokens"):
        model.tokens(["red"])


def test_its_example_needs_nothing_of_autocompress(studied: tuple[Path, Study]) -> None:
    place, _ = studied
    path = place / "images" / "green" / "001.png"
    code = (
        "import runpy, sys; sys.modules['autocompress'] = sys.modules['torch'] = sys.modules['transformers'] = None; "
    )
    code += "sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rpartition('/')[0]); "
    code += "runpy.run_path(sys.argv[0], run_name='__main__')"
    asked = [sys.executable, "-c", code, str(place / "picked" / "example.py")]
    done = subprocess.run([*asked, str(path)], capture_output=True, text=True, check=True, cwd="/")
    answer = autocompress.load(place / "picked")(path)
    assert done.stdout == f"{answer.label}  {answer.shares[answer.label]:.3f}  {path}\n"
    refused = subprocess.run([*asked, __file__], capture_output=True, text=True, cwd="/")
    assert refused.stderr.startswith(f"{__file__}: no image that can be read")
    assert not (place / "picked" / "__pycache__").exists()


def test_its_folder_is_measured_and_its_torch_form_answers_the_same(studied: tuple[Path, Study]) -> None:
    from autocompress.deploy.measure import measure

    place, _ = studied
    (readings,) = measure(place / "picked", rounds=5)["models"].values()
    assert readings["median_ms"] > 0
    model, torch_form = autocompress.load(place / "picked"), autocompress.load_torch(place / "picked")
    import torch

    images = model.reader.read([coloured(7)[1], coloured(8)[1]])
    with torch.inference_mode():
        ours = torch_form(pixel_values=torch.from_numpy(images)).logits.numpy()
    alone = np.concatenate([model.logits(coloured(number)[1]) for number in (7, 8)])
    assert np.abs(ours - alone).max() < 0.05 * np.abs(alone).max()


def test_what_mattered_is_explained_without_maps_of_words(studied: tuple[Path, Study]) -> None:
    _, study = studied
    told = study.explain()
    assert any("maps of attention are shown of texts alone" in note for note in told.notes)
    with pytest.raises(SpecError, match="--text: image-classification reads images; leave it out"):
        study.explain(text="red")


def test_a_study_of_images_in_memory_is_guessed_whatever_they_are_held_in(tmp_path: Path) -> None:
    write_vit(tmp_path / "model")
    made = [coloured(number) for number in range(24)]
    labels, images = [label for label, _ in made], [image for _, image in made]
    arrays = [np.asarray(image) for image in images]
    forms: dict[str, Any] = {
        "photo": pandas.DataFrame({"photo": images, "kind of": labels}),
        "image": list(zip(arrays, labels, strict=True)),
        "img": datasets.Dataset.from_list(
            [{"img": image, "label": label} for image, label in zip(images, labels, strict=True)],
            features=datasets.Features({"img": datasets.Image(), "label": datasets.Value("string")}),
        ),
    }
    asked: dict[str, Any] = {"model": str(tmp_path / "model"), "device": "raspberry-pi-5"}
    with Store.open(str(tmp_path / "guessed.db")) as store:
        kept = []
        for name, data in forms.items():
            said: list[str] = []
            spec, _ = settled(asked, Given(data=data), store, name="mine", note=said.append)
            assert spec.task.kind == "image-classification"
            assert f"image: {name!r}, holds images or recordings" in said
            kept.append(spec.task.data)
        assert kept[0] == kept[1], "the same images, whatever held them"
        two = pandas.DataFrame({"a": images, "b": images[::-1], "label": labels})
        message = r"^data: several columns could hold the images \('a' .*, 'b' .*--set task\.data\.image=COLUMN"
        with pytest.raises(SpecError, match=message):
            settled(asked, Given(data=two), store, name="mine", note=print)
        with pytest.raises(SpecError, match=r"task\.data\.image: data has no column 'c'"):
            settled(asked | {"task": {"data": {"image": "c"}}}, Given(data=two), store, name="mine", note=print)
        spec, _ = settled(asked | {"task": {"data": {"image": "a"}}}, Given(data=two), store, name="mine", note=print)
        assert spec.task.data == kept[0]
        floats = {"train": pandas.DataFrame({"x": [one / 255 for one in arrays], "label": labels})}
        message = (
            r"^data\['train'\]: no column could hold the images \('x' holds arrays float64 \[30, 40, 3\]; images are"
        )
        with pytest.raises(SpecError, match=message):
            settled(asked, Given(data=floats), store, name="mine", note=print)


def test_images_are_given_from_python(tmp_path: Path) -> None:
    from autocompress.core.data_spec import DataSpec
    from autocompress.reading import kept, read_labelled, rows_given

    buffer = io.BytesIO()
    coloured(0)[1].save(buffer, "png")
    rows: list[dict[str, Any]] = [
        {"image": coloured(1)[1], "label": "green"},
        {"image": {"bytes": buffer.getvalue(), "path": None}, "label": "red"},
        {"image": np.asarray(coloured(2)[1]), "label": "blue"},
    ]
    lines = rows_given(DataSpec(), rows, "class", "image")["all"]
    (tmp_path / "rows.jsonl").write_bytes(lines)
    spec = kept(DataSpec(), {"all": "0" * 64 + ".jsonl"})
    read = read_labelled(spec, {"all": tmp_path / "rows.jsonl"}, "class", "image").parts["all"]
    assert read.labels == ("green", "red", "blue")
    assert read.texts[1] == buffer.getvalue()
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(read.texts[2]))), np.asarray(coloured(2)[1]))
