"""Addresses: paths and URLs as people write them; passwords never shown."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

from autocompress.errors import AutocompressError, HostError, SpecError, StoreError
from autocompress.store import Store, upgrade
from autocompress.store.address import artifact_folder, parse_address, shown

from .conftest import PASSWORD, Server

SECRETS = (PASSWORD, "s3cret")


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("a/studies.db", "sqlite:///a/studies.db"),
        ("/tmp/a b.db", "sqlite:////tmp/a b.db"),
        ("sqlite:///studies.db", "sqlite:///studies.db"),
        ("postgres://me:s3cret@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql://me:s3cret@db/x", "postgresql://me:***@db/x"),
        ("postgresql+psycopg://me@db/x?password=s3cret", "postgresql://me:***@db/x"),
        ("postgresql://me@db/x?sslpassword=s3cret", "postgresql://me@db/x?sslpassword=***"),
    ],
)
def test_an_address_is_understood_and_shown_without_its_secrets(text: str, url: str) -> None:
    assert shown(parse_address(text)) == url


def test_without_an_address_the_environment_decides_then_the_folder(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOCOMPRESS_STORAGE", raising=False)
    assert shown(parse_address(None)) == "sqlite:///autocompress.db"
    monkeypatch.setenv("AUTOCOMPRESS_STORAGE", str(tmp_path / "other.db"))
    with Store.open() as store:
        assert store.url == f"sqlite:///{tmp_path}/other.db"
        assert store.artifacts == tmp_path / "other-artifacts"


def test_the_artifacts_of_a_server_lie_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    url = parse_address("postgresql://me@db/x")
    monkeypatch.delenv("AUTOCOMPRESS_ARTIFACTS", raising=False)
    assert artifact_folder(url) == Path("autocompress-artifacts").absolute()
    monkeypatch.setenv("AUTOCOMPRESS_ARTIFACTS", "/srv/models")
    assert artifact_folder(url) == Path("/srv/models")


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("mysql://me:s3cret@db/x", HostError, "'mysql' is not a database.*allowed: postgresql, sqlite"),
        ("postgresq://me:s3cret@db/x", HostError, "did you mean 'postgresql'"),
        ("postgresql+psycopg2://me:s3cret@db/x", HostError, "did you mean 'postgresql'"),
        ("sqlite://", SpecError, "is no file"),
        ("sqlite:///:memory:", SpecError, "is no file"),
        ("postgresql://me:s3cret@db:port/x", SpecError, "cannot be read; write a file path"),
        ("://s3cret", SpecError, "cannot be read"),
    ],
)
def test_an_address_of_no_use_is_refused(text: str, kind: type[AutocompressError], message: str) -> None:
    with pytest.raises(kind, match=message) as caught:
        Store.open(text)
    _assert_no_secret("".join(traceback.format_exception(caught.value)))


def test_a_server_out_of_reach_is_named_without_the_password() -> None:
    with pytest.raises(StoreError, match=r"//me:\*\*\*@127\.0\.0\.1:1/x: the server cannot be reached") as caught:
        Store.open("postgresql://me:s3cret@127.0.0.1:1/x")
    _assert_no_secret("".join(traceback.format_exception(caught.value)))


def test_the_password_of_a_server_is_nowhere_to_be_seen(server: Server, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    address = server.create("secretive")
    seen = []
    for wrong in (address.replace("/secretive", "/missing"), address.replace("autocompress:s3", "autocompress:xs3")):
        with pytest.raises(StoreError) as caught:
            Store.open(wrong)
        seen.append("".join(traceback.format_exception(caught.value)))
    with Store.open(address) as store:
        seen += [repr(store), store.url, str(store.studies())]
        with pytest.raises(AutocompressError) as missing:
            store.study("nobody")
        seen.append("".join(traceback.format_exception(missing.value)))
    assert upgrade(address) is None
    _assert_no_secret("\n".join([*seen, caplog.text]))


def _assert_no_secret(text: str) -> None:
    # The traceback quotes this file's own source lines, which hold the secret; what the program says does not.
    said = "\n".join(line for line in text.splitlines() if "Store.open(" not in line)
    assert not any(secret in said for secret in SECRETS)
