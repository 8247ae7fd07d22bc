"""The front as files: any number at once, each whole, none in the place of something else; and what JSON documents are
said to hold."""

from __future__ import annotations

import copy
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pandas
import pytest

from autocompress.errors import SpecError
from autocompress.report import as_csv, front_report
from autocompress.report.files import FORMS, check_files, write_files
from autocompress.report.json_forms import DOCUMENTS
from autocompress.store import Store
from autocompress.study.study import Study

from . import given

SUFFIXES = {"html": "html", "png": "png", "csv": "csv", "parquet": "parquet", "markdown": "md", "json": "json"}


@pytest.mark.expectation(27)
def test_all_forms_are_written_at_once_and_written_anew(store: Store, tmp_path: Path) -> None:
    files = {form: tmp_path / f"front.{SUFFIXES[form]}" for form in FORMS}
    study = Study(store, "quickstart")
    for _ in range(2):
        assert study.report(**files) == list(files.values())
    assert files["json"].read_text() == f"{json.dumps(study.pareto().to_json(), indent=2)}\n"
    assert files["csv"].read_text() == as_csv(study.pareto())
    assert files["markdown"].read_text().partition("\n")[2].startswith("## quickstart")
    assert files["png"].read_bytes().startswith(b"\x89PNG")
    assert files["html"].stat().st_size < 1_000_000


def test_parquet_has_the_rows_and_columns_of_the_csv_with_their_types(store: Store, tmp_path: Path) -> None:
    report = front_report(store, "quickstart")
    write_files(report, {"parquet": tmp_path / "front.parquet"})
    typed, text = pandas.read_parquet(tmp_path / "front.parquet"), pandas.read_csv(io.StringIO(as_csv(report)))
    assert list(typed.columns) == list(text.columns)
    assert typed["digest"].tolist() == text["digest"].tolist()
    assert typed["latency_ms"].tolist() == pytest.approx(text["latency_ms"].tolist())
    assert typed["knee"].sum() == 1
    assert typed["on_front"].isna().tolist() == [True, *[False] * len(report.members)]  # of the baseline nobody asks


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_report_of_ours_is_left_alone(form: Any, store: Store, tmp_path: Path) -> None:
    place = tmp_path / f"mine.{SUFFIXES[form]}"
    if form == "parquet":
        pandas.DataFrame({"years": [1, 2]}).to_parquet(place)
    else:
        place.write_text("years of work")
    before = place.read_bytes()
    with pytest.raises(SpecError, match=r"exists and is not a.* of autocompress, so it is left as it is"):
        check_files({form: place})
    assert place.read_bytes() == before


def test_a_file_is_named_for_one_form(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"front.csv: a parquet file is written, not a csv file; name it front.parquet"):
        check_files({"parquet": tmp_path / "front.csv"})
    with pytest.raises(SpecError, match="--csv and --markdown: both are to be written to .*; name two files"):
        check_files({"csv": tmp_path / "front", "markdown": tmp_path / "front"})


@pytest.mark.expectation(9)
@pytest.mark.parametrize(
    ("command", "name"),
    [
        ("pareto quickstart", "front"),
        ("pick quickstart --minimize latency_ms", "pick"),
        ("compare quickstart 0 2", "comparison-of-candidates"),
        ("compare quickstart 16 17", "comparison-of-candidates"),
        ("compare quickstart again", "comparison-of-studies"),
        ("trials quickstart", "trials"),
        ("show quickstart 2", "candidate"),
        ("show quickstart 17", "candidate"),
        ("studies", "studies"),
    ],
)
def test_a_document_has_the_keys_that_are_told_of_it_and_no_others(
    command: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from autocompress.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AUTOCOMPRESS_STORAGE", raising=False)
    given.write_finished(tmp_path / "autocompress.db")
    if "again" in command:
        with Store.open() as store:
            given.finished(store, "again")
    assert main([*command.split(), "--json"]) == 0
    tree = json.loads(capsys.readouterr().out)
    jsonschema.validate(tree, DOCUMENTS[name])
    jsonschema.validate(tree, closed(DOCUMENTS[name]))


def test_a_document_without_a_key_that_stays_is_refused() -> None:
    with pytest.raises(jsonschema.ValidationError, match="'studies' is a required property"):
        jsonschema.validate({"schema": "autocompress.studies/1"}, DOCUMENTS["studies"])


def closed(schema: Any) -> Any:
    """The same, where other keys than those told are a mistake."""
    found = copy.deepcopy(schema)
    for part in objects(found):
        part.setdefault("additionalProperties", False)
    return found


def objects(tree: Any) -> Iterator[dict[str, Any]]:
    if isinstance(tree, dict):
        if tree.get("type") == "object" and "properties" in tree:
            yield tree
        for value in tree.values():
            yield from objects(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from objects(value)
