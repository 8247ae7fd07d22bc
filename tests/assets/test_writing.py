from __future__ import annotations

import os
from pathlib import Path

import pytest
from safetensors import SafetensorError
from safetensors.numpy import load_file

from autocompress.assets import atomic_folder, file_digest, host_errors, write_atomically
from autocompress.errors import HostError, NotFoundError, SpecError


def test_a_written_file_holds_the_new_content_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "file.txt"
    write_atomically(target, "old")
    write_atomically(target, "né".encode())
    assert target.read_text(encoding="utf-8") == "né"
    assert os.listdir(target.parent) == ["file.txt"]


def test_writing_over_a_link_replaces_the_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    secret, link = tmp_path / "secret", tmp_path / "link"
    secret.write_text("kept")
    link.symlink_to(secret)
    write_atomically(link, "new")
    assert (secret.read_text(), link.read_text(), link.is_symlink()) == ("kept", "new", False)


def test_a_file_that_cannot_be_written_is_a_problem_of_the_host() -> None:
    with pytest.raises(HostError, match=r"cannot be written: .*choose another folder"):
        write_atomically(Path("/sys/autocompress-test"), "x")  # not even for root


def test_a_folder_appears_when_its_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "export"
    with atomic_folder(target) as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "a").write_text("1")
        assert not target.exists()
    assert (target / "inner" / "a").read_text() == "1"
    assert os.listdir(tmp_path) == ["export"]


def test_a_folder_whose_block_fails_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with atomic_folder(tmp_path / "export") as folder:
            (folder / "a").write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_said_in_words_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(HostError, match="the disk is full; free some space"), atomic_folder(tmp_path / "export"):
        Path("/dev/full").write_bytes(b"x" * 10_000)
    assert os.listdir(tmp_path) == []


def test_a_full_disk_is_said_of_tensors_too(tmp_path: Path) -> None:
    """Their library tells of it in a text of its own; this one was seen on a full disk."""
    seen = "Error while serializing: I/O error: No space left on device (os error 28)"
    with (
        pytest.raises(HostError, match=r"weights: cannot be written: the disk is full"),
        host_errors(tmp_path / "weights"),
    ):
        raise SafetensorError(seen)
    with pytest.raises(SafetensorError, match="header"), host_errors(tmp_path):
        load_file(__file__)


def test_other_errors_of_the_operating_system_pass(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_folder(tmp_path / "export") as folder:
        (folder / "absent").read_text()


def test_a_folder_that_holds_something_is_kept_unless_it_may_be_replaced(tmp_path: Path) -> None:
    target = tmp_path / "export"
    target.mkdir()
    with atomic_folder(target) as folder:  # an empty one may be filled
        (folder / "old").touch()
    with pytest.raises(SpecError, match="exists and is not empty; choose another folder"), atomic_folder(target):
        pass
    with atomic_folder(target, replace=True) as folder:
        (folder / "new").touch()
    assert os.listdir(target) == ["new"]
    assert os.listdir(tmp_path) == ["export"]


def test_a_failed_replacement_keeps_the_old_folder(tmp_path: Path) -> None:
    target = tmp_path / "export"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(ZeroDivisionError), atomic_folder(target, replace=True):
        raise ZeroDivisionError
    assert os.listdir(target) == ["old"]


def test_links_and_files_are_no_targets_for_a_folder(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "file").touch()
    with pytest.raises(SpecError, match="is a link; name the folder itself"), atomic_folder(tmp_path / "link"):
        pass
    with pytest.raises(SpecError, match="is a file; name a folder"), atomic_folder(tmp_path / "file"):
        pass


def test_a_digest_is_about_content_and_relative_names(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "a").write_text("1")
    assert file_digest(tmp_path / "one") == file_digest(tmp_path / "two")
    (tmp_path / "two" / "sub" / "a").write_text("2")
    assert file_digest(tmp_path / "one") != file_digest(tmp_path / "two")
    (tmp_path / "two" / "sub" / "a").write_text("1")
    (tmp_path / "two" / "sub" / "a").rename(tmp_path / "two" / "a")
    assert file_digest(tmp_path / "one") != file_digest(tmp_path / "two")


def test_the_digest_of_a_file_is_its_sha256(tmp_path: Path) -> None:
    (tmp_path / "abc").write_text("abc")
    assert file_digest(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    with pytest.raises(NotFoundError, match="absent: no such file or folder"):
        file_digest(tmp_path / "absent")
