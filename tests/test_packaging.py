"""What is published: built from this checkout, and looked into."""

import ast
import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from autocompress.core.names import FOLDERS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel and the source distribution."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-d", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built: Path) -> list[str]:
    (path,) = built.glob("*.whl")
    return zipfile.ZipFile(path).namelist()


def test_the_wheel_holds_every_yaml_that_comes_along(wheel: list[str]) -> None:
    shipped = {f"autocompress/_yaml/{path.relative_to(ROOT)}" for kind in FOLDERS.values() for path in yaml_of(kind)}
    assert {name for name in wheel if name.startswith("autocompress/_yaml/")} == shipped


def test_the_wheel_holds_the_package_and_nothing_else(wheel: list[str]) -> None:
    assert {re.sub(r"-\d.*\.dist-info", "", name.split("/")[0]) for name in wheel} == {"autocompress"}
    assert "autocompress/py.typed" in wheel
    assert not [name for name in wheel if "benchmarks" in name or name.endswith((".png", ".json"))]


def test_an_installed_wheel_finds_what_came_along(built: Path, tmp_path: Path) -> None:
    (path,) = built.glob("*.whl")
    zipfile.ZipFile(path).extractall(tmp_path / "site")
    (tmp_path / "elsewhere").mkdir()
    done = subprocess.run(
        [sys.executable, "-m", "autocompress", "spaces"],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert {path.stem for path in yaml_of("search_spaces")} <= set(re.findall(r"[\w-]+", done.stdout))


def test_the_source_distribution_holds_the_files_of_the_project_alone(built: Path) -> None:
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    kept = set(subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False).stdout.splitlines())
    if not kept:
        pytest.skip("no checkout")
    assert names - {"PKG-INFO"} <= kept
    assert {name for name in kept if name.endswith((".py", ".yaml", ".md"))} <= names


def test_every_package_that_is_imported_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    asked = [*project["dependencies"], *(one for extra in project["optional-dependencies"].values() for one in extra)]
    declared = {re.split(r"[\[><= ]", one)[0].replace("-", "_").lower() for one in asked}
    foreign = {name for path in (ROOT / "autocompress").rglob("*.py") for name in imports(path)}
    foreign -= {*sys.stdlib_module_names, "autocompress"}
    comes_with = {
        "PIL": "pillow",
        "sklearn": "scikit_learn",
        "yaml": "pyyaml",
        "pydantic_core": "pydantic",
        "IPython": "ipykernel",  # which a notebook runs in; nobody else needs it
    }
    assert {comes_with.get(name, name) for name in foreign} <= declared


def imports(path: Path) -> set[str]:
    """The packages that a file names, wherever in it it does."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
    return found


def yaml_of(kind: str) -> list[Path]:
    """The files of a kind that a user names; the benchmarks' own are none of them."""
    return [path for path in (ROOT / kind).glob("*.yaml") if path.is_file()]
