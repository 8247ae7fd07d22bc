"""The program as a whole: what it loads, how it ends, what it says when it must not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer

from autocompress.cli.runs import resumable
from autocompress.cli.session import Session
from autocompress.store import Store

from .conftest import Run

HEAVY = ("torch", "ray", "optuna", "transformers", "onnxruntime", "matplotlib")
LOADED = """
import sys
from autocompress.cli import main
code = main(sys.argv[1:])
print("loaded:", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
sys.exit(code)
"""


READING = (
    "--help",
    "--version",
    "list",
    "pareto quickstart --html front.html",
    "pick quickstart",
    "trials quickstart",
    "check none.yaml",
    "run quickstart --dry-run",
    "doctor",
    "devices",
)
ONE_BY_ONE = """
import sys
from autocompress.cli import main
for command in sys.argv[1:]:
    main(command.split())
    print("loaded:", command, "|", *sorted({name.partition(".")[0] for name in sys.modules}), file=sys.stderr)
"""


def test_reading_loads_no_heavy_library(store: Store, process: Run) -> None:
    said = process(*READING, program=ONE_BY_ONE).err
    loaded = dict(re.findall(r"^loaded: (.+) \| (.*)$", said, re.MULTILINE))
    assert tuple(loaded) == READING
    assert all("typer" in names.split() for names in loaded.values())
    assert {command: found for command, names in loaded.items() if (found := set(HEAVY) & set(names.split()))} == {}


@pytest.mark.expectation(1)
def test_help_loads_neither_the_database_nor_the_schemas(process: Run) -> None:
    """Half a second is what `--help` may take on a slow laptop; these three cost 0.35 s there."""
    ended = process("--help", program=LOADED)
    assert not {"sqlalchemy", "pydantic", "yaml"} & set(ended.err.split())
    assert "Exit codes: 0 all is well" in ended.out


@pytest.mark.expectation(1)
def test_version_names_everything_at_work(run: Run) -> None:
    ended = run("--version")
    assert ended.code == 0
    names = [line.split()[0] for line in ended.out.splitlines()]
    assert names == ["python", "autocompress", "torch", "transformers", "onnxruntime", "optuna", "ray"]


@pytest.mark.expectation(10)
def test_a_usage_error_ends_with_2(run: Run) -> None:
    for arguments in (("nope",), ("pick",), ("pick", "x", "--max-latency-ms", "fast"), ("run", "q", "--workers", "-1")):
        ended = run(*arguments)
        assert (ended.code, ended.out) == (2, "")
        assert "Usage: autocompress" in ended.err


@pytest.mark.expectation(30)
def test_a_known_error_has_no_traceback_unless_asked_for(store: Store, run: Run) -> None:
    assert "Traceback" not in run("pareto", "nope").err
    assert "Traceback" in run("pareto", "nope", "--debug").err


@pytest.mark.expectation(10, 30)
def test_an_unexpected_error_ends_with_1_and_leaves_its_traceback_in_a_file(store: Store, run: Run) -> None:
    with store.lease("quickstart") as lease:
        store.set_fact(lease, "device", "edited by hand, with SQL")
    ended = run("pareto", "quickstart")
    assert ended.code == 1
    assert "unexpected error: AttributeError" in ended.err
    found = re.search(r"The traceback is in (\S+);", ended.err)
    assert found is not None
    file = Path(found[1])
    assert "AttributeError" in file.read_text()
    assert "torch " in file.read_text()
    file.unlink()


@pytest.mark.expectation(10, 11)
@pytest.mark.parametrize(
    ("study", "said"),
    [("quickstart", "Go on with `autocompress resume quickstart`"), ("new", "nothing was stored yet")],
)
def test_ctrl_c_ends_with_130_and_says_how_to_go_on(
    store: Store, capsys: pytest.CaptureFixture[str], study: str, said: str
) -> None:
    with pytest.raises(typer.Exit) as ended, resumable(Session(), study, storage=None):
        raise KeyboardInterrupt
    assert ended.value.exit_code == 130
    assert said in capsys.readouterr().err


def test_a_closed_pipe_is_no_fault(store: Store, process: Run) -> None:
    program = (
        "import os, sys; from autocompress.cli import main\n"
        "reader, writer = os.pipe(); os.close(reader); os.dup2(writer, 1)\n"
        "sys.exit(main(['trials', 'quickstart', '--json']))\n"
    )
    assert "unexpected" not in process(program=program).err


@pytest.mark.expectation(8)
def test_no_color_is_honoured(store: Store, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")  # a dumb terminal has no colours, whatever is forced
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[3" in run("pareto", "quickstart").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", run("pareto", "quickstart").out)
