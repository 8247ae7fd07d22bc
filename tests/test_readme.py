"""The README is the first thing a user runs: its study is in order, its commands exist, its figures were measured."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from autocompress.config import check_file
from autocompress.operators import OPERATORS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_study_it_shows_is_in_order(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    path = tmp_path / "mine.yaml"
    path.write_text(block, encoding="utf-8")
    assert check_file(path, operators=OPERATORS) == []


def test_every_command_it_shows_exists_with_its_options() -> None:
    commands = re.findall(
        r"autocompress ([a-z][a-z-]*[a-z])((?: +(?:--[a-z-]+|[^\s#`|]+))*)", "\n".join(blocks("console"))
    )
    assert {"run", "resume", "pareto", "pick", "verify"} <= {name for name, _ in commands}
    for name, arguments in commands:
        done = subprocess.run(
            [sys.executable, "-m", "autocompress.cli", name, "--help"], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, name
        for option in re.findall(r"--[a-z-]+", arguments):
            assert option in done.stdout, f"{name} has no {option}"


def test_its_python_compiles() -> None:
    for block in blocks("python"):
        assert compile(block, "README.md", "exec")


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)|`(studies/[\w/.-]+)`", README))
def test_every_file_it_names_exists(path: tuple[str, str]) -> None:
    assert (ROOT / (path[0] or path[1])).exists()


def test_its_figures_are_the_kept_ones() -> None:
    script = ROOT / "studies" / "benchmarks" / "readme.py"
    assert subprocess.run([sys.executable, str(script), "--check"], check=False).returncode == 0
