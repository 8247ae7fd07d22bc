"""What the cache holds is what was put there, or is made anew with a word."""

from __future__ import annotations

import logging
import os
import random
from pathlib import Path

import pytest

from autocompress.assets import cache_folder, check_cache, find_entry, new_entry
from autocompress.errors import HostError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))


def a_file() -> Path:
    path = cache_folder() / "elastic" / "one.safetensors"
    with new_entry(path) as part:
        part.write_bytes(bytes(range(256)) * 4)
    return path


def a_folder() -> Path:
    path = cache_folder() / "teachers" / "one"
    with new_entry(path) as part:
        part.mkdir()
        (part / "config.json").write_text("{}")
        (part / "model.safetensors").write_bytes(bytes(range(256)))
    return path


def test_an_entry_is_found_as_it_was_made() -> None:
    assert not find_entry(cache_folder() / "elastic" / "one.safetensors")
    assert find_entry(a_file())
    assert find_entry(a_folder())
    assert sorted(path.name for path in cache_folder().iterdir()) == ["digests", "elastic", "teachers"]


def test_a_hundred_flipped_bytes_are_found_and_the_entry_is_gone_with_a_word(caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(0)
    for _ in range(50):
        for path in (a_file(), a_folder() / "model.safetensors"):
            content = bytearray(path.read_bytes())
            content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
            path.write_bytes(content)
            entry = path.parent if path.name == "model.safetensors" else path
            caplog.clear()
            with caplog.at_level(logging.WARNING):
                assert not find_entry(entry)
            assert "was changed or damaged since it was made; it is made anew" in caplog.text
            assert not entry.exists()


@pytest.mark.parametrize("harm", ["emptied", "cut", "added to", "taken from"])
def test_other_harm_is_found_too(harm: str) -> None:
    file, folder = a_file(), a_folder()
    if harm == "emptied":
        file.write_bytes(b"")
        (folder / "config.json").write_bytes(b"")
    elif harm == "cut":
        os.truncate(file, 100)
        os.truncate(folder / "model.safetensors", 100)
    elif harm == "added to":
        file.write_bytes(file.read_bytes() + b"\0")
        (folder / "more.json").write_text("{}")
    else:
        file.unlink()
        (folder / "config.json").unlink()
    assert not find_entry(file)
    assert not find_entry(folder)


def test_what_was_made_before_there_were_digests_is_taken_and_from_then_on_held_to_it() -> None:
    path = cache_folder() / "profiles" / "old.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("a: 1")
    assert find_entry(path)
    path.write_text("a: 2")
    assert not find_entry(path)


def test_an_entry_whose_making_failed_is_not_there() -> None:
    path = cache_folder() / "teachers" / "one"
    with pytest.raises(FileNotFoundError), new_entry(path) as part:
        (part / "config.json").write_text("{}")
    assert not path.exists()
    assert list(path.parent.iterdir()) == []


def test_a_cache_that_cannot_be_written_is_said_at_once(tmp_path: Path) -> None:
    check_cache()
    (tmp_path / "cache").rmdir()
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(HostError, match="cache: cannot be written: a file stands where a folder must be"):
        check_cache()
