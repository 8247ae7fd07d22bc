"""What the shell is offered at each place of a command line."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from autocompress.cli.app import command
from autocompress.store import Store
from tests.report import given

from .conftest import Run

Offered = Callable[..., list[str]]


@pytest.fixture
def offered(run: Run, monkeypatch: pytest.MonkeyPatch) -> Offered:
    """What bash is told of the last word of a line."""

    def call(*line: str) -> list[str]:
        monkeypatch.setenv("_AUTOCOMPRESS_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", " ".join(["autocompress", *line]))
        monkeypatch.setenv("COMP_CWORD", str(len(line)))
        found = run().out.split()
        monkeypatch.delenv("_AUTOCOMPRESS_COMPLETE")
        return found

    return call


@pytest.mark.expectation(6)
def test_commands_studies_and_candidates_are_offered(store: Store, offered: Offered) -> None:
    digests = {str(one.candidate.number): one.candidate.digest[:8] for one in store.records("quickstart")}
    assert set(offered("comp")) == {"compare", "compress"}
    assert offered("pareto", "qu") == ["quickstart"]
    found = offered("show", "quickstart", "")
    assert sorted(found) == sorted([*digests, *digests.values()])
    assert found[:4] == ["1", "2", "3", "4"], "the verified ones"
    assert found[len(digests) :][:4] == [digests[number] for number in found[:4]]
    assert offered("show", "quickstart", digests["2"][:4]) == [digests["2"]]
    assert {"1", "10", "17"} <= set(offered("show", "quickstart", "1"))
    assert offered("repro", "quickstart", digests["2"][:4]) == [digests["2"]]
    assert offered("run", "mine.yaml", "--fork", "qu") == ["quickstart"]


@pytest.mark.expectation(6)
def test_verified_finalists_alone_are_offered_where_no_other_will_do(store: Store, offered: Offered) -> None:
    verified = [one.candidate for one in store.finalists("quickstart") if one.state == "verified"]
    names = [*(str(one.number) for one in verified), *(one.digest[:8] for one in verified)]
    for line in (("pick", "quickstart", "--candidate"), ("explain", "quickstart"), ("export", "quickstart")):
        assert offered(*line, "") == names, line


@pytest.mark.expectation(6)
def test_two_studies_or_a_study_and_its_candidates_are_offered_to_compare(store: Store, offered: Offered) -> None:
    given.study(store, "other")
    found = [one.candidate for one in store.records("quickstart")]
    names = {name for one in found for name in (str(one.number), one.digest[:8])}
    assert set(offered("compare", "")) == {"other", "quickstart"}
    assert {*names, "other"} <= set(offered("compare", "quickstart", ""))
    assert set(offered("compare", "quickstart", "2", "")) == names


@pytest.mark.expectation(6)
def test_every_command_and_option_is_offered(offered: Offered) -> None:
    program = command()
    assert offered("") == list(program.commands)
    assert offered("db", "") == list(program.commands["db"].commands)
    for name, one in {**program.commands, "db upgrade": program.commands["db"].commands["upgrade"]}.items():
        options = [option for each in one.get_params(one.context_class(one)) for option in each.opts]
        long = {option for option in options if option.startswith("--")}
        assert long <= set(offered(*name.split(), "--")), name
        assert "--help" in long


@pytest.mark.expectation(6)
def test_the_file_and_the_store_say_the_same(store: Store, offered: Offered) -> None:
    """A URL with options is read by the store, as one of a server is."""
    given.study(store, "other")
    slowly = f"{store.url}?timeout=5"
    for line in (("show", ""), ("show", "quickstart", ""), ("export", "quickstart", ""), ("show", "nothing", "")):
        found = offered(line[0], "--storage", slowly, *line[1:])
        assert found == offered(*line) == offered(line[0], "--storage", store.url, *line[1:])
        assert bool(found) == (line[1:] != ("nothing", "")), line


COMPLETE = """
import os, sys
from autocompress.cli import main
for line in sys.argv[1:]:
    os.environ |= {"COMP_WORDS": f"autocompress {line}", "COMP_CWORD": str(line.count(" ") + 1)}
    os.environ |= {"_TYPER_COMPLETE_ARGS": f"autocompress {line}", "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    for shell in ("bash", "zsh", "fish"):
        os.environ["_AUTOCOMPRESS_COMPLETE"] = f"complete_{shell}"
        assert main([]) == 0
        print()
    names = {name.partition(".")[0] for name, module in sys.modules.items() if module}
    print("loaded:", line, "|", *sorted(names), file=sys.stderr)
"""


@pytest.mark.expectation(1, 6)
def test_to_complete_loads_next_to_nothing(store: Store, process: Run) -> None:
    """Within 0.3 s: each of these libraries takes about as long as all the rest."""
    lines = ("", "pick --", "show quickstart ", "pick quickstart --minimize ", "devices x")
    ended = process(*lines, program=COMPLETE)
    assert {"compress", "--minimize", "latency_ms", "xeon-2core", "10"} <= set(ended.out.split()), ended.err
    found = dict(re.findall(r"^loaded: (.*) \| (.*)$", ended.err, re.MULTILINE))
    assert tuple(found) == lines
    heavy = {"pydantic", "sqlalchemy", "yaml", "rich", "numpy", "torch", "transformers", "ray", "optuna"}
    assert {line: heavy & set(names.split()) for line, names in found.items()} == dict.fromkeys(lines, set())


@pytest.mark.expectation(6)
def test_devices_and_metrics_are_offered(offered: Offered) -> None:
    assert "xeon-2core" in offered("devices", "xe")
    assert {"host", "xeon-2core"} <= set(offered("compress", "m", "--device", ""))
    assert offered("pick", "quickstart", "--minimize", "lat") == ["latency_ms"]
    assert offered("pick", "quickstart", "--maximize", "") == ["quality", "throughput"]


def test_without_a_database_nothing_is_offered_and_nothing_made(run: Run, offered: Offered) -> None:
    assert offered("pareto", "") == []
    assert offered("show", "quickstart", "") == []
    assert run("list").code == 3
