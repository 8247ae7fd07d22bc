"""Folders of images, tables of them and idx files: read with their labels, or refused in words."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from autocompress.core.data_spec import Asset, DataSpec, PartSpec
from autocompress.errors import SpecError
from autocompress.reading import Labelled, read_labelled


def png(value: int = 0) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (4, 4), (value, 0, 0)).save(written, "png")
    return written.getvalue()


def put(folder: Path, *names: str) -> Path:
    for place, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(png(place))
    return folder


def read(path: Path, **settings: Any) -> Labelled:
    spec = DataSpec(source=Asset(path=str(path)), **settings)
    return read_labelled(spec, dict.fromkeys(spec.parts, path), "class", "image")


def test_a_folder_for_each_class_is_read(tmp_path: Path) -> None:
    put(tmp_path, "cat/1.png", "cat/2.JPG", "dog/1.webp", ".hidden/cat/3.png")
    (tmp_path / "notes.txt").write_text("mine")
    found = read(tmp_path)
    (rows,) = found.parts.values()
    assert found.classes == ("cat", "dog")
    assert rows.labels == ("cat", "cat", "dog")
    assert [Path(one).name for one in rows.texts] == ["1.png", "2.JPG", "1.webp"]
    assert any("files that are no images and are not read: notes.txt" in note for note in found.notes)


def test_folders_of_splits_are_read_as_what_their_names_say(tmp_path: Path) -> None:
    put(tmp_path, "train/cat/1.png", "train/dog/2.png", "val/cat/3.png", "val/dog/4.png")
    assert {name: part.labels for name, part in read(tmp_path).parts.items()} == {
        "train": ("cat", "dog"),
        "validation": ("cat", "dog"),
    }


def test_a_table_names_the_files_beside_it(tmp_path: Path) -> None:
    put(tmp_path, "pictures/1.png", "pictures/2.png")
    (tmp_path / "metadata.csv").write_text("file_name,kind\npictures/1.png,cat\npictures/2.png,dog\n")
    (rows,) = read(tmp_path, image="file_name", label="kind").parts.values()
    assert rows.labels == ("cat", "dog")
    assert Path(rows.texts[1]).read_bytes() == png(1)


def test_parquet_holds_images_as_the_datasets_library_keeps_them(tmp_path: Path) -> None:
    cells = [{"bytes": png(0), "path": None}, {"bytes": png(1), "path": "x.png"}]
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table({"image": cells, "label": [1, 0]}).replace_schema_metadata(about)
    parquet.write_table(table, tmp_path / "rows.parquet")
    (rows,) = read(tmp_path / "rows.parquet").parts.values()
    assert (rows.texts, rows.labels) == ((png(0), png(1)), ("dog", "cat"))


def write_idx(path: Path, array: np.ndarray) -> None:
    content = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def test_idx_files_are_read_and_some_of_them_are_drawn(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 5, 5)).astype(np.uint8)
    for part in ("train", "t10k"):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte", (np.arange(20) % 2).astype(np.uint8))
    source = Asset(path=str(tmp_path))
    spec = DataSpec(train=PartSpec(source, most=12), test=PartSpec(source))
    found = read_labelled(spec, {"train": tmp_path, "test": tmp_path}, "class", "image")
    assert {name: len(part) for name, part in found.parts.items()} == {"train": 12, "test": 20}
    assert any("12 of 20 images are used (`most`)" in note for note in found.notes)
    seen = [np.asarray(Image.open(io.BytesIO(one))) for one in found.parts["test"].texts]
    assert np.array_equal(seen, images)
    (tmp_path / "train-labels-idx1-ubyte").unlink()
    with pytest.raises(SpecError, match="idx files of train without labels"):
        read(tmp_path)


def test_what_is_no_data_of_images_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "a.md").write_text("x")
    with pytest.raises(SpecError, match=r"a folder without images \(it holds a\.md\); give a folder with a folder of"):
        read(tmp_path / "none")
    with pytest.raises(SpecError, match=r"1\.png: lies in no folder of a class; images are read from CLASS/image\.png"):
        read(put(tmp_path / "flat", "1.png"))
    table = tmp_path / "rows" / "rows.csv"
    put(tmp_path / "rows", "1.png")
    table.write_text("image,label\n1.png,cat\nhttps://x.example/2.png,dog\n3.png,dog\n,cat\n../1.png,cat\n")
    with pytest.raises(SpecError) as refused:
        read(tmp_path / "rows")
    assert [line.partition(": ")[2] for line in str(refused.value).splitlines()] == [
        "addresses of images, which are not fetched; put the files beside the table, in 'image' (line 3)",
        "files that are not there in 'image' (line 4)",
        "no image in 'image' (line 5)",
        "paths that lead out of the table's folder; put the images beside it, in 'image' (line 6)",
    ]
    with pytest.raises(SpecError, match="paths of images; name the folder that holds the table and its images"):
        read(table)
    table.write_text("file,label\n1.png,cat\n")
    with pytest.raises(SpecError, match="no image column 'image'; .*set `task.data.image`"):
        read(tmp_path / "rows")


def test_a_text_task_says_who_reads_a_folder_of_images(tmp_path: Path) -> None:
    spec = DataSpec(source=Asset(path=str(put(tmp_path, "cat/1.png"))))
    with pytest.raises(SpecError, match="it holds cat/1.png.*; images are read by `task.kind: image-classification`"):
        read_labelled(spec, {"all": tmp_path})
