"""What people expect of a command line, an interface and a report, and the tests that hold it.

A test says which of them it is about: `@pytest.mark.expectation(9, 30)`. The marks are read out of the files of tests,
nothing is run.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"


@dataclass(frozen=True)
class Expectation:
    """In a few words; `missing` is what does not hold of it."""

    words: str
    missing: str = ""


GROUPS: Mapping[str, range] = {
    "Finding out, and the first minutes": range(1, 8),
    "While it runs": range(8, 21),
    "Choosing and taking a model away": range(21, 30),
    "Trust, and when something is wrong": range(30, 36),
}

EXPECTATIONS: Mapping[int, Expectation] = {
    1: Expectation("help comes at once, without loading torch; the versions of all libraries at work are told"),
    2: Expectation("few commands from install to a first result"),
    3: Expectation("a first study file, with comments, is written; editors get a JSON Schema"),
    4: Expectation(
        "a file is checked without loading much: all mistakes at once, with line, path and the nearest name"
    ),
    5: Expectation("the machine is looked at: processor, memory, disk, database, Ray"),
    6: Expectation("the shell completes commands, studies, candidates, devices and metrics"),
    7: Expectation("a dry run says how large the search is, how long it takes and what is measured"),
    8: Expectation("progress is seen live, and as plain lines where nobody watches; colours and noise can be put off"),
    9: Expectation(
        "results go to stdout, the rest to stderr; reading commands have JSON with a version and a document"
    ),
    10: Expectation("exit codes mean something, and stand in the help"),
    11: Expectation("Ctrl-C ends what runs and says how to go on; a second one leaves at once, and nothing is lost"),
    12: Expectation("a stopped study goes on by its name alone"),
    13: Expectation(
        "a taken name, or a changed space under it, is refused and the difference shown; a changed study takes over "
        "what still holds"
    ),
    14: Expectation("failures are counted by cause, a line each; the traceback is one command away"),
    15: Expectation("too many failures end a search, and its commonest cause is named"),
    16: Expectation("a candidate has a limit of time and of memory"),
    17: Expectation("nothing is sent to anybody"),
    18: Expectation("a budget may be candidates or time"),
    19: Expectation("the uncompressed model is candidate 0, and in every table and picture"),
    20: Expectation("nothing is judged twice"),
    21: Expectation("the front is a sorted table with its knee, bounds, differences and where each number is from"),
    22: Expectation("a model is picked by bounds and a rule, and the choice explained"),
    23: Expectation("a candidate is told layer by layer, with what each step bought"),
    24: Expectation("two candidates, or two studies, stand beside each other, fronts inside one reference point"),
    25: Expectation("an export is checked against torch, measured again, listed by digests, and whole or not there"),
    26: Expectation("the exported folder has a model card and a short example that runs"),
    27: Expectation("the report is one page that loads nothing, and CSV, JSON and Markdown"),
    28: Expectation("all candidates as CSV, JSON and parquet"),
    29: Expectation("numbers carry intervals and counts of readings; ties are called ties"),
    30: Expectation("errors say what, where, why and what to do; tracebacks only when asked for"),
    31: Expectation("what was measured can be measured again: an exported model, a candidate of the search, a device"),
    32: Expectation("studies are listed with their state; deleting asks; what lies around is listed first"),
    33: Expectation("Python does what the command line does, typed, and prints nothing"),
    34: Expectation("an old database is named with its version and upgraded on request, with a backup"),
    35: Expectation("every option is documented by an example that runs"),
}


def table() -> str:
    """Raises SystemExit where a row has neither a test nor what is missing, or a test names no row."""
    marked: dict[int, list[tuple[str, str]]] = {}
    for path in sorted(TESTS.rglob("test_*.py")):
        for name, numbers in _marks(path):
            for number in numbers:
                marked.setdefault(number, []).append((path.relative_to(ROOT).as_posix(), name))
    if unknown := sorted(marked.keys() - EXPECTATIONS.keys()):
        raise SystemExit(f"tests name expectations that are none: {unknown}")
    lines = []
    for group, places in GROUPS.items():
        lines += [f"## {group}", "", "| | expected | | tests |", "|---:|---|---|---|"]
        for number in places:
            one, tests = EXPECTATIONS[number], marked.get(number, [])
            if not tests and not one.missing:
                raise SystemExit(f"expectation {number} has no test, and nobody says what is missing")
            state = "no" if not tests else "in part" if one.missing else "yes"
            told = f"{one.words}. Missing: {one.missing}" if one.missing else one.words
            lines.append(f"| {number} | {told} | {state} | {'<br>'.join(_link(*test) for test in tests)} |")
        lines.append("")
    held = sum(bool(marked.get(number)) and not one.missing for number, one in EXPECTATIONS.items())
    part = sum(bool(marked.get(number)) and bool(one.missing) for number, one in EXPECTATIONS.items())
    head = f"Of {len(EXPECTATIONS)}, {held} hold, {part} hold in part, {len(EXPECTATIONS) - held - part} do not."
    return "\n".join([head, "", *lines]).rstrip()


def _link(file: str, name: str) -> str:
    return f"[{name.removeprefix('test_').replace('_', ' ')}](../{file})"


def _marks(path: Path) -> Iterator[tuple[str, list[int]]]:
    """Tests of a file with the expectations that they are about."""
    text = path.read_text(encoding="utf-8")
    if "mark.expectation" not in text:
        return
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            found = [
                number.value
                for one in node.decorator_list
                if isinstance(one, ast.Call) and ast.unparse(one.func) == "pytest.mark.expectation"
                for number in one.args
                if isinstance(number, ast.Constant) and isinstance(number.value, int)
            ]
            if found:
                yield node.name, found
