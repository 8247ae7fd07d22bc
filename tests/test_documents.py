"""The documents are the first thing a user reads: their study is in order, their commands exist, their links lead
somewhere, their figures were measured."""

import re
import runpy
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from autocompress.config import check_file
from autocompress.operators import OPERATORS
from tests.commands import command
from tests.fresh import FRESH

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


def blocks(path: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)


def commands(path: Path) -> Iterator[tuple[str, list[str]]]:
    """(command, its options), as blocks and the text itself show them."""
    shown = "\n".join([*blocks(path, "console"), *re.findall(r"`([^`\n]+)`", path.read_text(encoding="utf-8"))])
    for name, rest in re.findall(r"(?:^|[ /])autocompress ((?:db )?[a-z][a-z-]*[a-z])([^\n#`|]*)", shown, re.MULTILINE):
        yield name, re.findall(r"--[a-z][a-z-]*", rest)


@cache
def usage(name: str) -> str:
    """What `--help` says of a command; nothing where there is none."""
    done = command(ROOT, *name.split(), "--help")
    return done.stdout if done.returncode == 0 else ""


def anchors(path: Path) -> set[str]:
    """The places inside of a document that a link may name."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_readme_is_one_that_is_read_to_its_end() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


def test_the_study_it_shows_is_in_order(tmp_path: Path) -> None:
    (block,) = blocks(README, "yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(block, encoding="utf-8")
    assert check_file(path, operators=OPERATORS) == []


def test_the_readme_shows_the_main_commands() -> None:
    shown = {name for name, _ in commands(README)}
    assert {"run", "resume", "pareto", "report", "pick", "compare", "explain", "verify"} <= shown


@pytest.mark.expectation(35)
@pytest.mark.parametrize("name", NAMES)
def test_every_command_that_is_shown_exists_with_its_options(name: str) -> None:
    for called, options in commands(ROOT / name):
        assert usage(called), f"{name} shows `autocompress {called}`, which is none"
        for option in options:
            assert option in usage(called), f"{name}: `autocompress {called}` has no {option}"


@pytest.mark.expectation(35)
@pytest.mark.parametrize("name", NAMES)
def test_python_that_is_shown_compiles(name: str) -> None:
    for block in blocks(ROOT / name, "python"):
        assert compile(block, name, "exec")


@pytest.mark.parametrize("name", NAMES)
def test_every_relative_link_leads_somewhere(name: str) -> None:
    path = ROOT / name
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        file = path.parent / place if place else path
        assert file.exists(), f"{name} links to {target}, which is not there"
        assert not anchor or anchor in anchors(file), f"{name} links to {target}: {file.name} has no such heading"


@pytest.mark.parametrize("name", NAMES)
def test_every_file_of_the_project_that_is_named_exists(name: str) -> None:
    for path in re.findall(
        r"`((?:studies|docs|tests|search_spaces|hardware_profiles)/[\w/.-]*)", (ROOT / name).read_text()
    ):
        if not path.startswith("studies/data"):  # what users put there, git leaves alone
            assert (ROOT / path).exists(), f"{name} names {path}, which is not there"


def test_every_document_is_reached_from_the_readme() -> None:
    linked = {
        (ROOT / target).resolve() for target in re.findall(r"\]\(([^)#:]+)\)", README.read_text(encoding="utf-8"))
    }
    assert set(DOCUMENTS) - {README} <= linked


def told_whether_in_step(told: Path) -> None:
    """Runs in a process of its own, which has imported what the documents are made from."""
    script = ROOT / "studies" / "benchmarks" / "documents.py"
    sys.path.insert(0, str(script.parent))
    sys.argv[:] = [str(script), "--check"]
    try:
        runpy.run_path(str(script), run_name="__main__")
    except SystemExit as error:
        told.write_text(str(error), encoding="utf-8")
    else:
        told.write_text("in step", encoding="utf-8")


def test_what_is_generated_is_in_step(tmp_path: Path) -> None:
    """Figures with what benchmarks kept, keys with the schema, and the notes that figures are old with the history."""
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout, so nobody knows what changed since the figures were taken")
    process = FRESH.Process(target=told_whether_in_step, args=(tmp_path / "told",))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert (tmp_path / "told").read_text(encoding="utf-8") == "in step"
