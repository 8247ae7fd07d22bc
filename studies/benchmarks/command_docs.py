"""The commands as Markdown, from the command line's own registry and from `tests/cli/examples.txt`.

Every command, argument and option has an example there, and every example is run by the tests: most of them in
`tests/cli/test_examples.py`, one after the other over one small stored study, and those that would take long by the
test that they name.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from autocompress.cli.app import EXIT_CODES, command

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "tests" / "cli" / "examples.txt"

_LINE: Final = re.compile(
    r"autocompress (?P<rest>.+?)  +# (?P<words>.+?)"
    r"(?: \[exit (?P<code>\d+)\])?(?: \[(?P<test>tests/[\w/]+\.py::\w+)\])?"
)
_SHARED: Final = ("quiet", "verbose", "debug")
"""Options of every command: told once."""
_DEFAULT: Final = re.compile(r" ?\[default: (?P<value>.+)\]$")
FORM: Final = (
    "a line of tests/cli/examples.txt is `autocompress COMMAND ...  # what it does`, with two spaces before the #; "
    "` [exit 3]` behind it where it does not end with 0, and ` [tests/FILE.py::TEST]` where that test runs it"
)


@dataclass(frozen=True, slots=True)
class Example:
    """`code` is how it ends; `test` is `FILE::NAME` where the line is too long for a test of all lines."""

    line: str
    words: str
    code: int = 0
    test: str = ""

    @property
    def arguments(self) -> list[str]:
        """What follows the program's name."""
        return shlex.split(self.line)[1:]


@functools.cache
def examples() -> tuple[Example, ...]:
    """All of them, in the order in which they are run. Raises SystemExit for a line of another form."""
    found = []
    for number, line in enumerate(EXAMPLES.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None:
            raise SystemExit(f"{EXAMPLES.relative_to(ROOT)}:{number}: {line!r} is no example; {FORM}")
        code = int(match["code"] or 0)
        found.append(Example(f"autocompress {match['rest']}", match["words"], code, match["test"] or ""))
    return tuple(found)


@functools.cache
def registry() -> Mapping[str, Any]:
    """Every command by the words that name it, as click commands; the program itself is the empty name."""
    program = command()
    found = {"": program}
    for name, one in program.commands.items():
        found |= (
            {f"{name} {sub}": each for sub, each in one.commands.items()} if hasattr(one, "commands") else {name: one}
        )
    for name, one in found.items():
        if name:
            one.read()
    return found


def name_of(example: Example) -> str:
    """The command that it shows. Raises SystemExit where there is none."""
    words = example.arguments
    for name in (" ".join(words[:2]), words[0]):
        if name in registry():
            return name
    if words[0].startswith("-"):
        return ""
    raise SystemExit(f"{EXAMPLES.relative_to(ROOT)}: `{example.line}`: there is no such command; {FORM}")


def shown(example: Example) -> set[str]:
    """The parameters that it gives, as `parameters` calls them. Raises SystemExit for a line that click refuses."""
    name = name_of(example)
    one, rest = registry()[name], example.arguments[len(name.split()) :]
    if not name:
        return {option for option in rest if option.startswith("-")}
    try:
        context = one.make_context(name, list(rest))
    except Exception as error:
        raise SystemExit(f"{EXAMPLES.relative_to(ROOT)}: `{example.line}`: {error}") from error
    given = [each for each in one.params if str(context.get_parameter_source(each.name)).endswith("COMMANDLINE")]
    return {word for each in given for word in _words(each) if not getattr(each, "secondary_opts", ()) or word in rest}


def parameters(name: str) -> list[str]:
    """What has to be shown of a command: arguments by their names, options by their long forms."""
    return [word for one in registry()[name].params if one.name not in _SHARED for word in _words(one)]


def without_example() -> list[str]:
    """What no line shows."""
    seen: dict[str, set[str]] = {}
    for example in examples():
        seen.setdefault(name_of(example), set()).update(shown(example))
    problems = []
    for name in registry():
        program = f"autocompress {name}".strip()
        if name and name not in seen:
            problems.append(f"`{program}` has no example")
        elif missing := [word for word in parameters(name) if word not in seen.get(name, set())]:
            problems.append(f"`{program}`: no example shows {', '.join(missing)}")
    everywhere = set().union(*seen.values())
    problems += [f"no example shows --{word}" for word in _SHARED if f"--{word}" not in everywhere]
    return problems


def sections() -> str:
    """A section for every command. Raises SystemExit where one has something that no example shows."""
    if problems := without_example():
        raise SystemExit("\n".join([*problems, FORM]))
    by_name: dict[str, list[Example]] = {name: [] for name in registry()}
    for example in examples():
        by_name[name_of(example)].append(example)
    return "\n\n".join(_section(name, by_name[name]) for name in registry() if name)


def listed() -> str:
    """Every command in a line."""
    rows = [f"| [`{name}`](#{name.replace(' ', '-')}) | {_told(one)[0]} |" for name, one in registry().items() if name]
    return "\n".join(["| command | |", "|---|---|", *rows])


def of_all() -> str:
    """Options of every command, and those of the program itself."""
    program, first = registry()[""], registry()["studies"]
    rows = [*_rows(each for each in first.params if each.name in _SHARED), *_rows(program.params)]
    help_row = "| `--help`, `-h` | What a command does, and its options. | |"
    found = [one for one in examples() if name_of(one) == "" or {f"--{word}" for word in _SHARED} & shown(one)]
    return "\n".join([*_HEAD, help_row, *rows, "", *_block(found)])


def exit_codes() -> str:
    return "\n".join(["| exit code | |", "|---:|---|", *(f"| {code} | {what} |" for code, what in EXIT_CODES.items())])


_HEAD: Final = ("| | what it is | default |", "|---|---|---|")


def _section(name: str, found: Sequence[Example]) -> str:
    one = registry()[name]
    rows = list(_rows(each for each in one.params if each.name not in _SHARED))
    lines = [f"### {name}", "", *("\n\n".join(_told(one)).splitlines()), ""]
    lines += [*_HEAD, *rows, ""] if rows else []
    return "\n".join([*lines, *_block(found)])


def _told(one: Any) -> list[str]:
    """The help of a command, a paragraph each."""
    return [" ".join(part.split()) for part in (one.help or "").split("\n\n") if part.strip()]


def _rows(found: Any) -> Iterator[str]:
    for one in found:
        text = one.help or ""
        told, value = _DEFAULT.sub("", text), _DEFAULT.search(text)
        default = value["value"] if value else _plain_default(one)
        words = ", ".join(f"`{word}`" for word in _names(one))
        yield f"| {words} | {told} | {'required' if one.required else default} |".replace("  ", " ")


def _names(one: Any) -> list[str]:
    if one.param_type_name == "argument":
        return [one.metavar or one.name.upper()]
    value = "" if one.is_flag or one.count or not one.metavar else f" {one.metavar}"
    return [f"{word}{value}" for word in (*one.opts, *one.secondary_opts)]


def _words(one: Any) -> list[str]:
    if one.param_type_name == "argument":
        return [str(one.metavar or one.name.upper()).strip("[]").removesuffix("...")]
    return [word for word in (*one.opts, *one.secondary_opts) if word.startswith("--")]


def _plain_default(one: Any) -> str:
    if one.default is None or isinstance(one.default, bool) or getattr(one, "count", False):
        return ""
    return f"{one.default:g}" if isinstance(one.default, float) else str(one.default)


def _block(found: Sequence[Example]) -> list[str]:
    """The examples, each below what it does; and the tests that run those which are run by themselves."""
    lines = ["```console"]
    for one in found:
        lines += [f"# {one.words}" + (f" (exit code {one.code})" if one.code else ""), one.line]
    lines.append("```")
    if tests := list(dict.fromkeys(one.test for one in found if one.test)):
        links = [f"[{name.removeprefix('test_').replace('_', ' ')}](../{file})" for file, name in _parted(tests)]
        lines += ["", f"In tests of their own: {'; '.join(links)}."]
    return lines


def _parted(tests: Sequence[str]) -> Iterator[tuple[str, str]]:
    for test in tests:
        file, _, name = test.partition("::")
        yield file, name
