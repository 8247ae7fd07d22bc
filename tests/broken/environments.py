"""Machines and environments that lack something: a home, a folder to write to, a terminal, a hub. Where modes are what
is lacking, the process is nobody's: root needs none."""

from __future__ import annotations

from pathlib import Path

from tests.broken.given import changed, written
from tests.broken.table import Broken, nothing

NOBODY, NAMELESS = 65534, 54321
"""A user for whom modes hold; one whom the system does not know, as containers have them."""


def shell(words: str) -> tuple[str, ...]:
    """Runs the command as `"$@"` of some shell words."""
    return ("sh", "-c", words, "sh")


def closed(name: str, mode: int = 0) -> object:
    """A file or folder that nobody may read."""

    def build(folder: Path) -> None:
        (folder / name).chmod(mode)

    return build


def _as_nobody(title: str, build: object, command: str, code: int, *says: str, given: str = "project") -> Broken:
    return Broken(title, build, command, code, says, given=given, user=NOBODY)  # type: ignore[arg-type]


HUB = changed(model={"hub": "someone/model", "revision": "0" * 40})
WHEEL = changed(model={"wheel": "nobody-has-this==1", "member": "m", "sha256": "0" * 64})
ROWS = (
    Broken(
        "a user that is not there",
        changed(model={"path": "~nosuchuser/model"}),
        "check mine.yaml",
        2,
        ("~nosuchuser/model", "there is no user 'nosuchuser' here; write the folder itself"),
    ),
    Broken("a study of a user that is not there", nothing, "run ~nosuchuser/mine.yaml", 2, ("~nosuchuser",)),
    Broken("a database of a user that is not there", nothing, "list --storage ~nosuchuser/x.db", 2, ("~nosuchuser",)),
    Broken(
        "no home for a path",
        nothing,
        "list --storage '~/x.db'",
        2,
        ("$HOME is not set and this user has none",),
        user=NAMELESS,
    ),
    Broken(
        "a cache that is a file",
        written("cache", "x"),
        "run mine.yaml --workers 0",
        4,
        ("cache", "a file stands where a folder must be"),
        environment={"AUTOCOMPRESS_CACHE": "cache"},
    ),
    Broken(
        "a hub out of reach",
        HUB,
        "run mine.yaml --workers 0",
        4,
        ("the Hugging Face hub is out of reach", "HF_HUB_OFFLINE", "hf download someone/model"),
        prefix=("env",),
    ),
    Broken(
        "a package index out of reach",
        WHEEL,
        "run mine.yaml --workers 0",
        4,
        ("nobody-has-this",),
        environment={"PIP_NO_INDEX": "1"},
    ),
    Broken(
        "a dialect in the environment",
        nothing,
        "list",
        4,
        ("'mysql' is not a database",),
        environment={"AUTOCOMPRESS_STORAGE": "mysql://x@y/z"},
    ),
    Broken(
        "no database where the environment says",
        nothing,
        "list",
        3,
        ("nowhere.db",),
        environment={"AUTOCOMPRESS_STORAGE": "nowhere.db"},
    ),
    Broken(
        "a folder that was removed",
        nothing,
        "run mine.yaml",
        4,
        ("the current folder is gone",),
        prefix=shell('mkdir gone; cd gone; rmdir ../gone; exec "$@"'),
    ),
    Broken(
        "a full device for the output",
        nothing,
        "pareto quickstart",
        4,
        ("stdout: cannot be written", "No space left"),
        given="stored",
        prefix=shell('exec "$@" >/dev/full'),
    ),
    Broken(
        "a full device for a document",
        nothing,
        "pareto quickstart --json",
        4,
        ("stdout: cannot be written", "No space left"),
        given="stored",
        prefix=shell('exec "$@" >/dev/full'),
    ),
    _as_nobody(
        "a folder of somebody else", closed(".", 0o555), "run mine.yaml", 5, "autocompress.db", "cannot be created"
    ),
    _as_nobody("a study of somebody else", closed("mine.yaml"), "run mine.yaml", 4, "mine.yaml: cannot be read"),
    _as_nobody("a database of somebody else", closed("autocompress.db"), "list", 5, "autocompress.db", given="stored"),
    _as_nobody(
        "a profile of somebody else",
        written("search_spaces/x/mine.yaml", "x: 1"),
        "check search_spaces/y",
        3,
        "search_spaces/y: no such file",
    ),
    _as_nobody(
        "a page into a folder of somebody else",
        closed(".", 0o555),
        "pareto quickstart --html x.html",
        4,
        "x.html: cannot be written",
        given="stored",
    ),
)
