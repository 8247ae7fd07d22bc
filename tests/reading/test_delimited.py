"""csv and tsv: whatever a program writes is read as it was meant, and what was not meant is told with its line."""

import bz2
import csv
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import pytest

from autocompress.errors import SpecError
from tests.reading.given import PAIRS, pairs, read

TABLE = pandas.DataFrame(PAIRS, columns=["text", "label"])


def as_csv(**how: Any) -> str:
    return TABLE.to_csv(index=False, **how)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("x.csv", as_csv().encode()),
        ("x.csv", as_csv().encode("utf-8-sig")),  # Excel's "CSV UTF-8"
        ("x.csv", as_csv(sep=";").encode()),  # Excel's where a comma is a decimal point
        ("x.csv", as_csv(sep="|").encode()),
        ("x.csv", as_csv(sep="\t").encode()),
        ("x.csv", as_csv(lineterminator="\r\n").encode()),
        ("x.csv", as_csv(lineterminator="\r").encode()),
        ("x.csv", as_csv(quoting=csv.QUOTE_ALL).encode()),
        ("x.csv", as_csv(sep="\t").encode("utf-16")),  # Excel's "Unicode text"
        ("x.csv", as_csv().encode("utf-32")),
        ("x.csv", TABLE.to_csv().encode()),  # with pandas' own index
        ("x.csv", as_csv().replace("\n", ",\n").encode()),  # one delimiter too many on every line
        ("x.csv", as_csv().replace("text,label", "text , label").replace("\n", "\n\n").encode()),
        ("x.tsv", as_csv(sep="\t").encode()),
        ("x.tsv", as_csv().encode()),
        ("x.tsv", as_csv(sep="\t", quoting=csv.QUOTE_ALL).encode()),
        ("x.tsv", as_csv(sep="\t", quoting=csv.QUOTE_NONE).encode()),
        ("x.csv.gz", gzip.compress(as_csv().encode(), mtime=0)),  # the hour would stand in the test's name
        ("x.csv.bz2", bz2.compress(as_csv().encode())),
        ("x.tsv.xz", lzma.compress(as_csv(sep="\t").encode())),
    ],
)
def test_a_table_is_read_however_it_was_written(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert pairs(tmp_path / name) == PAIRS


def test_packed_tables_are_read(tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "x.csv.zip", index=False)
    assert pairs(tmp_path / "x.csv.zip") == PAIRS
    import pyarrow

    with pyarrow.output_stream(str(tmp_path / "x.csv.zst"), compression="zstd") as stream:
        stream.write(as_csv().encode())
    assert pairs(tmp_path / "x.csv.zst") == PAIRS
    with zipfile.ZipFile(tmp_path / "two.csv.zip", "w") as archive:
        archive.writestr("a.csv", "")
        archive.writestr("b.csv", "")
    with pytest.raises(SpecError, match="two.csv.zip: holds 2 files; unpack it"):
        read(tmp_path / "two.csv.zip")
    (tmp_path / "y.csv.gz").write_bytes(gzip.compress(as_csv().encode())[:-9])
    with pytest.raises(SpecError, match="y.csv.gz: not packed as its name says, or not whole"):
        read(tmp_path / "y.csv.gz")


def test_another_encoding_is_read_where_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(as_csv().encode("latin-1"))
    assert pairs(tmp_path / "x.csv", encoding="latin-1") == PAIRS
    with pytest.raises(SpecError, match=r"x.csv:4: not readable as utf-8: byte 0xef .*set `task.data.encoding`"):
        read(tmp_path / "x.csv")
    with pytest.raises(SpecError, match="no encoding is called 'latin-x'"):
        read(tmp_path / "x.csv", encoding="latin-x")
    (tmp_path / "y.csv").write_bytes(as_csv().encode("utf-16-le"))
    with pytest.raises(SpecError, match="holds a NUL character"):
        read(tmp_path / "y.csv", encoding="latin-1")
    assert pairs(tmp_path / "y.csv", encoding="utf-16-le") == PAIRS


def test_texts_may_have_lines_and_be_long(tmp_path: Path) -> None:
    given = [("first\nsecond, third\r\n\n fourth", "a"), ("word " * 60_000, "b"), ("goal\nmatch", "a"), ("c", "b")]
    pandas.DataFrame(given, columns=["text", "label"]).to_csv(tmp_path / "x.csv", index=False)
    assert pairs(tmp_path / "x.csv") == [(text.strip(), label) for text, label in given]


@pytest.mark.parametrize("sep", [",", ";", "\t"])
def test_a_table_without_names_has_them_given(sep: str, tmp_path: Path) -> None:
    TABLE.to_csv(tmp_path / "x.csv", index=False, header=False, sep=sep)
    assert pairs(tmp_path / "x.csv", columns=("text", "label")) == PAIRS
    with pytest.raises(SpecError, match="no text column 'text'.*if line 1 is a row already, name all columns with"):
        read(tmp_path / "x.csv")
    with pytest.raises(SpecError, match=r"x.csv:1: 2 fields, and `task.data.columns` names 3; name them all"):
        read(tmp_path / "x.csv", columns=("id", "text", "label"))
    TABLE.to_csv(tmp_path / "y.csv", index=False, sep=sep)
    assert pairs(tmp_path / "y.csv", columns=("text", "label")) == PAIRS, "the names are there after all"


ROWS = [f"text {number} of many,{'ab'[number % 2]}" for number in range(200)]


def changed(**lines: Callable[[str], str]) -> str:
    """A table in which some lines, by their numbers, are something else."""
    rows = ["text,label", *ROWS]
    for number, change in lines.items():
        rows[int(number[1:]) - 1] = change(rows[int(number[1:]) - 1])
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (changed(l61=lambda row: '"' + row), r"x.csv:61: a quotation mark opens a field that is never closed"),
        (
            changed(l61=lambda row: '"' + row, l161=lambda row: row.replace(",", '",')),
            r"x.csv:61: a quotation mark opens a text here that is closed on line 161, and the 100 line ends between "
            "look like ends of rows",
        ),
        (
            changed(l61=lambda row: '"' + row, l62=lambda row: row.replace(",", '",')),
            r"x.csv:61: .* closed on line 62, and the 1 line ends between",
        ),
        (
            changed(l11=lambda row: '"' + row, l21=lambda row: '"' + row),
            r"x.csv:11: a quotation mark opens a text here that is closed on line 21",
        ),
        (changed(l5=lambda row: f"well, {row}"), r"1 rows have more fields than the 2 columns \(lines 5\)"),
        (changed(l5=lambda row: "alone"), r"1 row has no label \(line 5\)"),
        (changed(l1=lambda row: "text,label,text"), r"2 columns are called 'text'; give them different names"),
        (changed(l1=lambda row: "label,label"), r"no text column 'text'"),
        ("", "the file is empty"),
        ("\n \n", "the file is empty"),
    ],
)
def test_what_is_wrong_with_a_table_is_told_with_its_line(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text(content)
    with pytest.raises(SpecError, match=message):
        read(tmp_path / "x.csv")


def test_rows_are_swallowed_wherever_the_text_stands(tmp_path: Path) -> None:
    for order in (["label", "text"], ["id", "text", "label"], ["id", "label", "text"]):
        table = pandas.DataFrame([{"id": i, "text": f"text {i}", "label": "ab"[i % 2]} for i in range(40)])[order]
        buffer = io.StringIO()
        table.to_csv(buffer, index=False)
        content = buffer.getvalue().replace("text 9", '"text 9').replace("text 19", 'text 19"')
        (tmp_path / "x.csv").write_text(content)
        with pytest.raises(SpecError, match=r"x.csv:11: .* closed on line 21"):
            read(tmp_path / "x.csv")


def test_quotation_marks_may_be_said_to_be_characters(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('text,label\n"a,x\nb",y\n"c",x\n')
    assert pairs(tmp_path / "x.csv", quoted=False) == [('"a', "x"), ('b"', "y"), ('"c"', "x")]


def test_a_tsv_is_quoted_or_not_as_all_of_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "x.tsv"
    path.write_text('text\tlabel\n"Great" she said\tx\nb\ty\n')
    assert pairs(path) == [('"Great" she said', "x"), ("b", "y")]
    assert "quotation marks are read as characters of the texts" in read(path).notes[0]
    path.write_text('text\tlabel\n"a\tx\nb\ty\nc"\tx\nd\ty\n')
    assert pairs(path) == [('"a', "x"), ("b", "y"), ('c"', "x"), ("d", "y")], "no row is swallowed"
    path.write_text('text\tlabel\n"a ""b""\tc"\tx\nb\ty\n')
    assert pairs(path) == [('a "b"\tc', "x"), ("b", "y")]
    assert read(path).notes == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"version https://git-lfs.github.com/spec/v1\n",
            "a Git LFS pointer, not the file; fetch it with",
        ),
        (b"PAR1....", "a parquet file; set `task.data.format: parquet`"),
        (b"PK\x03\x04....", "a zip archive or an Excel workbook"),
        (b"\x1f\x8b....", "packed with gzip; name it .gz"),
        (b"<!DOCTYPE html>", "a web page; download the file itself"),
    ],
)
def test_what_is_no_table_is_told(content: bytes, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(SpecError, match=message):
        read(tmp_path / "x.csv")


def test_a_name_that_says_no_format_is_asked_about(tmp_path: Path) -> None:
    (tmp_path / "texts.data").write_text(as_csv())
    with pytest.raises(SpecError, match="its name does not say its format; set `task.data.format`"):
        read(tmp_path / "texts.data")
    assert pairs(tmp_path / "texts.data", format="csv") == PAIRS
    (tmp_path / "texts.xlsx").write_bytes(b"PK\x03\x04")
    with pytest.raises(SpecError, match="this is a workbook; save its sheet as `CSV UTF-8`"):
        read(tmp_path / "texts.xlsx")
