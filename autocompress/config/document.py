"""YAML text as plain values that remember their lines.

A stricter YAML than PyYAML's `safe_load`, because its surprises end up in studies: duplicate keys are refused rather
than silently dropped, `1e-3` is a number, `no` and `on` are text (YAML 1.2), tags are refused, and size, nesting and
aliases are bounded before they can cost anything.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from autocompress.errors import HostError, NotFoundError, SpecError

Place = tuple[str | int, ...]
"""Where a value stands: ("steps", 1, "knobs", "bits")."""

MAX_BYTES = 2**20
MAX_NODES = 10_000
MAX_DEPTH = 32

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?[0-9]+")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_NULL = re.compile(r"~|null|Null|NULL|")

PLAIN_SCALARS: dict[str, tuple[re.Pattern[str], list[str | None]]] = {
    f"{_TAG}bool": (_BOOLEAN, list("tTfF")),
    f"{_TAG}int": (_INTEGER, list("-+0123456789")),
    f"{_TAG}float": (_REAL, list("-+.0123456789")),
    f"{_TAG}null": (_NULL, ["~", "n", "N", ""]),
}
"""Tag -> what an unquoted text must look like to get it, and the characters it may start with. Order counts: `1` is
both a whole and a real number. Everything else, dates included, stays text."""


@dataclass(frozen=True, slots=True)
class Document:
    """A mapping read from `source`, the line of every place in it, and what was wrong with the text itself."""

    source: str
    value: dict[str, Any]
    lines: Mapping[Place, int] = field(default_factory=dict)
    flaws: tuple[tuple[Place, str], ...] = ()

    def line(self, place: Place) -> int | None:
        """The line of a place or, where it is absent, of what encloses it."""
        for end in range(len(place), -1, -1):
            if place[:end] in self.lines:
                return self.lines[place[:end]]
        return None


def read_document(path: Path) -> Document:
    """A YAML file. Raises NotFoundError, HostError when it cannot be read, SpecError when it is no YAML mapping."""
    if not path.is_file():
        raise NotFoundError(f"{path}: no such file")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise HostError(f"{path}: cannot be read: {error.strerror}") from error
    if len(content) > MAX_BYTES:
        raise SpecError(f"{path}: the file is larger than 1 MiB; a study, space or profile is a few kilobytes")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise SpecError(f"{path}:{line}: the file is not UTF-8 text; save it as UTF-8") from error
    return parse_document(text, source=str(path))


def parse_document(text: str, *, source: str) -> Document:
    """YAML text; `source` is what messages call it. Raises SpecError when the text is no YAML mapping."""
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise SpecError(_syntax_problem(error, source)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise SpecError(f"{source}:{line}: character #x{error.character:04x} is not allowed in YAML") from error
    except (ValueError, OverflowError) as error:  # PyYAML on escapes beyond Unicode, such as "\\UFFFFFFFF"
        raise SpecError(f"{source}: not YAML: {error}") from error
    if root is None:
        raise SpecError(f"{source}: the file is empty")
    if not isinstance(root, yaml.MappingNode):
        kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
        raise SpecError(f"{source}:{_line(root)}: the top must be a mapping (lines of `key: value`), got {kind}")
    builder = _Builder(source)
    value = builder.build(root, ())
    return Document(source, value, builder.lines, tuple(builder.flaws))


class _Loader(yaml.SafeLoader):
    """PyYAML's parser with the plain scalars above and a bound on nesting, which it would otherwise recurse into."""

    yaml_implicit_resolvers: dict[str | None, list[tuple[str, re.Pattern[str]]]] = {}

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = 0
        self._nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self._nodes += 1
        self._depth += 1
        if self._depth > 2 * MAX_DEPTH:  # the builder reports the exact depth; here it is the stack that counts
            raise yaml.MarkedYAMLError(problem=f"nested deeper than {MAX_DEPTH} levels", problem_mark=self.get_mark())
        if self._nodes > 2 * MAX_NODES:
            raise yaml.MarkedYAMLError(problem=f"more than {MAX_NODES:,} values", problem_mark=self.get_mark())
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


for _tag, (_pattern, _starts) in PLAIN_SCALARS.items():
    _Loader.add_implicit_resolver(_tag, re.compile(f"(?:{_pattern.pattern})$"), _starts)


class _Builder:
    """Turns nodes into values. An alias is built again each time, so that what it costs is counted."""

    def __init__(self, source: str) -> None:
        self.lines: dict[Place, int] = {}
        self.flaws: list[tuple[Place, str]] = []
        self._source = source
        self._nodes = 0

    def build(self, node: yaml.Node, place: Place) -> Any:
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise SpecError(f"{self._source}:{_line(node)}: more than {MAX_NODES:,} values, aliases counted")
        if len(place) > MAX_DEPTH:
            raise SpecError(f"{self._source}:{_line(node)}: nested deeper than {MAX_DEPTH} levels")
        self.lines.setdefault(place, _line(node))
        if isinstance(node, yaml.MappingNode) and node.tag == f"{_TAG}map":
            return self._mapping(node, place)
        if isinstance(node, yaml.SequenceNode) and node.tag == f"{_TAG}seq":
            return [self.build(item, (*place, position)) for position, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, place)
        return self._flaw(place, f"the tag {node.tag!r} is refused; write plain values")

    def _mapping(self, node: yaml.MappingNode, place: Place) -> dict[str, Any]:
        built: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or not _encodable(key_node.value):
                self._flaw(place, "keys must be plain text")
                continue
            key = key_node.value
            inside = (*place, key)
            if key in built:
                self._flaw(inside, f"is given twice, on lines {self.lines[inside]} and {_line(key_node)}; keep one")
                continue
            self.lines[inside] = _line(key_node)
            built[key] = self.build(value_node, inside)
        return built

    def _scalar(self, node: yaml.ScalarNode, place: Place) -> Any:
        text, kind = node.value, node.tag.removeprefix(_TAG)
        if kind == "str":
            return text if _encodable(text) else self._flaw(place, "holds half of a surrogate pair, which is no text")
        if node.tag not in _CONVERT:
            return self._flaw(place, f"the tag {node.tag!r} is refused; write plain values")
        if not PLAIN_SCALARS[node.tag][0].fullmatch(text):
            return self._flaw(place, f"{text[:40]!r} is no {kind}")
        value = _CONVERT[node.tag](text)
        if value is _NOT_FINITE:
            return self._flaw(place, f"must be a finite number of usual size, got {text[:40]}")
        return value

    def _flaw(self, place: Place, message: str) -> None:
        self.flaws.append((place, message))


_NOT_FINITE = object()


def _real(text: str) -> object:
    value = float(text) if text[-1] in "0123456789." else math.nan  # `.inf` and `.nan` are all that ends otherwise
    return value if math.isfinite(value) else _NOT_FINITE


def _integer(text: str) -> object:
    # Beyond 64 bits a number is a mistake, and beyond 4,300 digits Python refuses to read it.
    return int(text) if len(text) <= 19 and abs(int(text)) < 2**63 else _NOT_FINITE


_CONVERT: dict[str, Callable[[str], object]] = {
    f"{_TAG}null": lambda _: None,
    f"{_TAG}bool": lambda text: text.lower() == "true",
    f"{_TAG}int": _integer,
    f"{_TAG}float": _real,
}


def _encodable(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _syntax_problem(error: yaml.MarkedYAMLError, source: str) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"{source}:{mark.line + 1}" if mark else source
    problem = error.problem or error.context or "no reason given"
    if "'\\t'" in problem:
        return f"{where}: a tab stands where YAML wants spaces; indent with spaces"
    if "expected a single document" in (error.context or ""):
        return f"{where}: the file holds more than one document; keep what stands before `---`"
    return f"{where}: not YAML: {problem}"
