"""Folders of recordings and tables of them: read with their labels, or refused in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from autocompress.core.data_spec import Asset, DataSpec
from autocompress.errors import SpecError
from autocompress.inputs.audio_reading import sound
from autocompress.reading import Labelled, kept, read_labelled, rows_given
from tests.tasks.given_audio import tone, wav

SOUND = wav(tone(0)[1], 8000)


def put(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(SOUND)
    return folder


def read(path: Path, **settings: Any) -> Labelled:
    spec = DataSpec(source=Asset(path=str(path)), **settings)
    return read_labelled(spec, dict.fromkeys(spec.parts, path), "class", "audio")


def test_a_folder_for_each_class_is_read_below_splits_or_not(tmp_path: Path) -> None:
    put(tmp_path / "all", "yes/1.wav", "yes/2.WAV", "no/1.flac", "no/cover.png")
    found = read(tmp_path / "all")
    assert found.parts["all"].labels == ("no", "yes", "yes")
    assert any("files that are no recordings and are not read: no/cover.png" in note for note in found.notes)
    put(tmp_path / "split", "train/yes/1.wav", "train/no/2.wav", "test/yes/3.wav", "test/no/4.wav")
    assert {name: part.labels for name, part in read(tmp_path / "split").parts.items()} == {
        "train": ("no", "yes"),
        "test": ("no", "yes"),
    }


def test_a_table_names_the_files_beside_it_and_parquet_holds_them(tmp_path: Path) -> None:
    put(tmp_path / "table", "1.wav", "2.wav")
    (tmp_path / "table" / "metadata.csv").write_text("file_name,word\n1.wav,yes\n2.wav,no\n")
    (rows,) = read(tmp_path / "table", audio="file_name", label="word").parts.values()
    assert rows.labels == ("yes", "no")
    assert Path(rows.texts[1]).read_bytes() == SOUND
    cells = [{"bytes": SOUND, "path": None}, {"bytes": SOUND, "path": "x.wav"}]
    features = {"audio": {"_type": "Audio"}, "label": {"names": ["no", "yes"], "_type": "ClassLabel"}}
    about = {"huggingface": json.dumps({"info": {"features": features}})}
    table = pyarrow.table({"audio": cells, "label": [1, 0]}).replace_schema_metadata(about)
    parquet.write_table(table, tmp_path / "rows.parquet")
    (rows,) = read(tmp_path / "rows.parquet", distinct=False).parts.values()
    assert (rows.texts, rows.labels) == ((SOUND, SOUND), ("yes", "no"))


def test_recordings_are_given_from_python(tmp_path: Path) -> None:
    values = (tone(1)[1] / 32768).astype(np.float32)
    rows = [
        {"audio": {"array": values, "sampling_rate": 8000}, "label": "yes"},
        {"audio": {"bytes": SOUND, "path": None}, "label": "no"},
    ]
    (tmp_path / "rows.jsonl").write_bytes(rows_given(DataSpec(), rows, "class", "audio")["all"])
    spec = kept(DataSpec(), {"all": "0" * 64 + ".jsonl"})
    found = read_labelled(spec, {"all": tmp_path / "rows.jsonl"}, "class", "audio").parts["all"]
    assert found.labels == ("yes", "no")
    heard = sound(found.texts[0], 16_000)
    assert (heard.rate, found.texts[1]) == (8000, SOUND)
    assert np.array_equal(heard.samples, values)
    with pytest.raises(
        SpecError, match=r"an array of samples says nothing of its sampling rate; give \{'array': \.\.\."
    ):
        rows_given(DataSpec(), [{"audio": values, "label": "yes"}], "class", "audio")


def test_what_is_no_data_of_recordings_is_refused_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"a folder without recordings \(it holds a/1\.png\); give a folder with a fol"):
        read(put(tmp_path / "pictures", "a/1.png"))
    with pytest.raises(
        SpecError, match=r"lies in no folder of a class; recordings are read from CLASS/speech\.wav, or"
    ):
        read(put(tmp_path / "flat", "1.wav"))
    with pytest.raises(SpecError, match="classification needs at least two classes, found"):
        read(put(tmp_path / "one", "yes/1.wav", "yes/2.wav"))
    (tmp_path / "table").mkdir()
    (tmp_path / "table" / "rows.csv").write_text("audio,label\nhttps://x.example/2.wav,yes\n3.wav,no\n")
    with pytest.raises(SpecError) as refused:
        read(tmp_path / "table")
    assert [line.partition(": ")[2] for line in str(refused.value).splitlines()] == [
        "addresses of recordings, which are not fetched; put the files beside the table, in 'audio' (line 2)",
        "files that are not there in 'audio' (line 3)",
    ]
    spec = DataSpec(source=Asset(path=str(put(tmp_path / "texts", "yes/1.wav"))))
    with pytest.raises(SpecError, match=r"it holds yes/1\.wav.*; recordings are read by `task.kind: audio-classificat"):
        read_labelled(spec, {"all": tmp_path / "texts"})
