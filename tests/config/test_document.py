from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.config.document import parse_document, read_document
from autocompress.config.problems import Problems
from autocompress.errors import HostError, NotFoundError, SpecError


def values_of(text: str) -> dict[str, object]:
    document = parse_document(text, source="x.yaml")
    Problems(document).raise_any()
    return document.value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-2.5E+3", -2500.0),
        ("010", 10),
        ("1", 1),
        ("1.", 1.0),
        ("true", True),
        ("False", False),
        ("no", "no"),
        ("on", "on"),
        ("Yes", "Yes"),
        ("~", None),
        ("", None),
        ("2026-11-22", "2026-11-22"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0x10", "0x10"),
        ("'1'", "1"),
        ("50%", "50%"),
        ("'né 🙂'", "né 🙂"),
        ("{b: [1, two]}", {"b": [1, "two"]}),
    ],
)
def test_scalars_mean_what_they_look_like(text: str, value: object) -> None:
    read = values_of(f"a: {text}\n")["a"]
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", r"x\.yaml: the file is empty"),
        ("# only a comment\n", "the file is empty"),
        ("- a\n- b\n", r"x\.yaml:1: the top must be a mapping \(lines of `key: value`\), got a list"),
        ("\njust text\n", r"x\.yaml:2: the top must be a mapping .*, got a single value"),
        ("a: 1\nb: 2\na: 3\n", r"x\.yaml:1: a: is given twice, on lines 1 and 3; keep one"),
        ("a:\n\tb: 1\n", r"x\.yaml:2: a tab stands where YAML wants spaces"),
        ("a: 1\n---\nb: 2\n", r"x\.yaml:2: the file holds more than one document"),
        ("a: [1, 2\n", r"x\.yaml:2: not YAML: expected ',' or '\]'"),
        ("a: *b\n", r"x\.yaml:1: not YAML: found undefined alias"),
        ("a: 1\nb: \0\n", r"x\.yaml:2: character #x0000 is not allowed in YAML"),
        ('a: "\\UFFFFFFFF"\n', r"x\.yaml: not YAML: "),
        ('a: "\\ud800"\n', "a: holds half of a surrogate pair"),
        ('? "\\ud800"\n: 1\n', r"x\.yaml:1: keys must be plain text"),
        ("? [a, b]\n: 1\n", "keys must be plain text"),
        ("a: .nan\n", r"x\.yaml:1: a: must be a finite number of usual size, got \.nan"),
        ("a: {b: [1, -.inf]}\n", r"a\.b\[1\]: must be a finite number of usual size, got -\.inf"),
        ("a: 1e999\n", "a: must be a finite number"),
        ("a: 99999999999999999999\n", "a: must be a finite number of usual size"),
        ("a: !!python/object/apply:os.system ['touch /tmp/owned']\n", "a: the tag '.*os.system' is refused"),
        ("a: !!python/name:os.system\n", "a: the tag '.*' is refused; write plain values"),
        ("a: !!set {b, c}\n", "a: the tag '.*set' is refused"),
        ("a: !!int many\n", "a: 'many' is no int"),
        ("a: " + "[" * 1000 + "]" * 1000, r"x\.yaml:1: not YAML: nested deeper than 32 levels"),
        ("a: " + "[" * 40 + "]" * 40, r"x\.yaml:1: nested deeper than 32 levels"),
        ("a: &a [*a]\n", "nested deeper than 32 levels"),
        ("a: [" + "1, " * 10_001 + "]", r"x\.yaml:1: more than 10,000 values, aliases counted"),
        ("a: [" + "1, " * 30_000 + "]", r"x\.yaml:1: not YAML: more than 10,000 values"),
    ],
)
def test_text_that_is_no_mapping_of_plain_values_is_refused_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        values_of(text)


def test_an_alias_bomb_costs_nothing() -> None:
    layers = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    layers += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 9)]
    started = time.monotonic()
    with pytest.raises(SpecError, match="more than 10,000 values, aliases counted"):
        values_of("\n".join(layers))
    assert time.monotonic() - started < 2


def test_anchors_in_moderation_are_fine() -> None:
    assert values_of("a: &sizes [1, 2]\nb: *sizes\n") == {"a": [1, 2], "b": [1, 2]}


def test_files_that_cannot_be_text_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"a: 1\nb: caf\xe9\n")
    with pytest.raises(SpecError, match=r"x\.yaml:2: the file is not UTF-8 text; save it as UTF-8"):
        read_document(path)
    path.write_bytes(b"a: " + b"x" * 2**20)
    with pytest.raises(SpecError, match="the file is larger than 1 MiB"):
        read_document(path)
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_document(path).value == {"a": 1}
    with pytest.raises(NotFoundError, match="no such file"):
        read_document(tmp_path)


def test_a_file_that_cannot_be_read_is_a_problem_of_the_host() -> None:
    with pytest.raises(HostError, match="/proc/self/mem: cannot be read: "):  # refused even to root
        read_document(Path("/proc/self/mem"))


def test_what_is_absent_stands_on_the_line_of_what_encloses_it() -> None:
    document = parse_document("a: 1\nb:\n  c:\n    - d\n    - e\n", source="x.yaml")
    assert [document.line(place) for place in [(), ("b", "c", 1), ("b", "x"), ("nowhere",)]] == [1, 5, 2, 1]


def test_keys_cannot_carry_escape_codes_into_a_terminal() -> None:
    with pytest.raises(SpecError, match=r"'\\x1b\[31mred': is given twice") as caught:
        values_of('"\\e[31mred": 1\n"\\e[31mred": 2\n')
    assert "\x1b" not in str(caught.value)


@given(st.text(alphabet=st.sampled_from("ab:- \n\t[]{}&*!|>'\"%#?,.~0eéx\\<=@`\u2028\x00\ud800"), max_size=60))
def test_any_text_is_a_mapping_or_a_spec_error(text: str) -> None:
    with contextlib.suppress(SpecError):  # anything else fails the test
        assert isinstance(values_of(text), dict)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_mapping_or_a_spec_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with contextlib.suppress(SpecError):
        assert isinstance(read_document(path).value, dict)
