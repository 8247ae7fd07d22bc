"""Generated passwords: no part of one stands in anything that is said, whichever way its URL is read."""

from __future__ import annotations

import logging
import random
import re
import string
import tempfile
import traceback
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from autocompress.cli import main
from autocompress.core.secrets import masked, secrets_in, secrets_of, shows_part
from autocompress.errors import AutocompressError, SpecError
from autocompress.store import Store
from autocompress.store.address import parse_address, shown, url_secrets

from .conftest import PASSWORD, Server

SPECIAL = [
    "@",
    "/",
    ":",
    "%",
    "#",
    " ",
    "?",
    "&",
    "=",
    "+",
    "ü",
    "日",
    "\\",
    "'",
    '"',
    "%41",
    "%zz",
    "://",
    "[",
    "]",
    ";",
]


def passwords(many: int) -> list[str]:
    """Words that stand nowhere else, with special characters between them, and some at the ends."""
    chance = random.Random(0)
    found = []
    for _ in range(many):
        words = ["".join(chance.choices(string.ascii_lowercase, k=6)) for _ in range(chance.randint(1, 4))]
        between = [chance.choice(SPECIAL) for _ in words]
        text = "".join(one for pair in zip(words, between, strict=True) for one in pair)
        found.append(text if chance.random() < 0.5 else text[: -len(between[-1])])
    return found


def parts(password: str) -> list[str]:
    return re.findall(r"[a-z]{6}", password)


def assert_unseen(password: str, *said: str) -> None:
    for text in said:
        assert not [part for part in parts(password) if part in text], text


FORMS = [
    "postgresql://me:{raw}@db/x",
    "postgresql://me:{raw}@db:5432/x?sslmode=require",
    "postgresql://:{raw}@db/x",
    "postgresql://me:{coded}@db/x",
    "postgresql://me@db/x?password={raw}",
    "postgresql://me@db/x?password={coded}&sslmode=require",
    "postgresql://db:5432/x?user=me&password={raw}",
    "postgresql://me@db/x?sslpassword={raw}",
    "postgresql://me:{coded}@db/x?sslpassword={coded}&passfile=/x",
    "postgresql://me@/x?service=s&password={raw}",
    "postgresql://me@db/x?nonsense={raw}",
    "postgres:/me:{raw}@db/x",
    "postgresql:me:{raw}@db/x",
    "POSTGRESQL://me:{raw}@db/x",
    "mysql://me:{raw}@db/x",
    "sqlite://me:{raw}@db/x",
    "me:{raw}@db/x",
    "host=db user=me password={raw} dbname=x",
]


@pytest.mark.parametrize("form", FORMS)
def test_no_reading_of_a_url_shows_a_part_of_its_password(form: str, caplog: pytest.LogCaptureFixture) -> None:
    understood = 0
    for password in passwords(60):
        text = form.format(raw=password, coded=quote(password, safe=""))
        try:
            url = parse_address(text)
        except AutocompressError as error:
            assert_unseen(password, "".join(traceback.format_exception(error)).replace("parse_address(text)", ""))
            assert "{coded}" not in form, text  # what is encoded is read in one way
        else:
            understood += 1
            assert_unseen(password, shown(url))
            assert password in url_secrets(url) or "{raw}" in form
        assert_unseen(password, masked(f"it is {text!r} or {text}", secrets_in(text)), caplog.text)
    assert understood == 60 or "{coded}" not in form


def test_a_raw_password_is_read_where_there_is_one_reading() -> None:
    for text, password in {
        "postgresql://me:p@ss@db/x": "p@ss",
        "postgresql://me:p@ss/w:rd@db/x": "p@ss/w:rd",
        "postgresql://me:5432/x@db/y": "5432/x",
        "postgresql://me:a#b c@db/x": "a#b c",
        "postgresql://me@db/x?password=a@b": "a@b",
        "postgresql://me@[::1]:5432/x?password=a%26b": "a&b",
    }.items():
        url = parse_address(text)
        assert (url.username, url.password) == ("me", password)
    for text in (
        "postgresql://me:abc@db/x?application_name=a@b",  # db, or a password that ends before b
        "postgresql://db:5432/x?password=abc@b",
        "postgresql://me:one@db/x?password=two",
        "postgresql://me@db/x?password=one&password=two",
        "postgresql://me@db/x?password=one&two",
    ):
        with pytest.raises(SpecError, match=r"cannot be read|can be read in two ways; write .*percent-encoded"):
            parse_address(text)


def test_what_a_database_says_is_left_out_where_it_shows_a_part() -> None:
    assert shows_part('could not translate host name "ssword@db"', {"pa@ssword"})
    assert not shows_part("connection refused", {"pa@ssword"})
    assert masked("a 12 b :12@ c", secrets_in("postgresql://me:12@db/x")) == "a 12 b *** c"


def test_the_command_line_shows_no_password_whatever_goes_wrong(
    server: Server, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))  # reports of crashes
    monkeypatch.setenv("HF_TOKEN", "hf_AbCdEfGhIjKlMnOp")
    server.create("quiet")
    said: list[str] = []
    for number, password in enumerate(passwords(4)):
        user = f"user{number}"
        _add_user(server, user, password)
        coded = quote(password, safe="")
        good = f"postgresql://{user}:{coded}@/quiet?host={server.folder}"
        if number == 0:
            assert main(["studies", "--storage", _made(server)]) == 0
        for text in (
            good,
            good.replace("/quiet", "/missing"),
            good.replace(f":{coded}@", f":x{coded}@"),
            good.replace("?host=", "?hostt="),
            f"postgresql://{user}:{password}@/quiet?host={server.folder}",
            f"postgresql://{user}@/quiet?host={server.folder}&password={coded}",
            f"postgresql://{user}:{password}@127.0.0.1:1/quiet?connect_timeout=1",
        ):
            monkeypatch.setenv("AUTOCOMPRESS_STORAGE", text)
            codes = [main(command) for command in (["studies", "-vv"], ["pareto", text, "--debug"], ["list", text])]
            assert 1 not in codes
            said += capsys.readouterr()
        assert_unseen(password, *said)
    assert "hf_AbCd" not in "".join(said)
    assert not list(tmp_path.iterdir())
    assert any("postgresql://user3:***@/quiet" in text for text in said)


def test_a_crash_report_masks_what_was_given(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from autocompress.cli.entry import _unexpected
    from autocompress.cli.session import Session

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    text = "postgresql://me:wonder@ful/word@db/x"
    secrets = secrets_of(["run", f"--storage={text}"], {"HF_TOKEN": "hf_AbCdEfGhIjKlMnOp"})
    assert _unexpected(Session(), RuntimeError(f"{text!r} and hf_AbCdEfGhIjKlMnOp"), secrets) == 1
    (report,) = tmp_path.iterdir()
    for one in ("wonder", "ful/word", "hf_AbCd"):
        assert one not in report.read_text()


def test_a_password_that_a_service_file_holds_is_unseen_and_works(
    server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server.create("served")
    service = tmp_path / "services"
    service.write_text(f"[mine]\nhost={server.folder}\nuser=autocompress\ndbname=served\npassword={PASSWORD}\n")
    monkeypatch.setenv("PGSERVICEFILE", str(service))
    with Store.open("postgresql://?service=mine") as store:
        seen = [store.url, repr(store)]
    service.write_text(service.read_text().replace("password=", "password=wrong"))
    with pytest.raises(AutocompressError) as caught:
        Store.open("postgresql://?service=mine")
    seen += ["".join(traceback.format_exception(caught.value)), caplog.text]
    assert "s3cret" not in "".join(seen)


def _made(server: Server) -> str:
    """The database with its tables, open to every user."""
    address = server.address("quiet")
    Store.open(address).close()
    with _connected(server, "quiet") as connection:
        connection.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC")
    return address


def _add_user(server: Server, user: str, password: str) -> None:
    with _connected(server, "postgres") as connection:
        connection.execute(
            psycopg.sql.SQL("CREATE USER {} PASSWORD {}").format(
                psycopg.sql.Identifier(user), psycopg.sql.Literal(password)
            )
        )


def _connected(server: Server, database: str) -> psycopg.Connection:
    return psycopg.connect(
        host=str(server.folder), user="autocompress", password=PASSWORD, dbname=database, autocommit=True
    )
