"""Small real models, of every family, with weights that are not yet trained: enough for everything but quality.

And which tests need what (`ray`, `postgres`, `slow`: see `make test-fast`), and which stay together on one worker.
"""

from __future__ import annotations

import gc
import os
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import sqlalchemy
import torch
from hypothesis import settings

from autocompress.anatomy import FAMILIES, Anatomy
from autocompress.importance import CRITERIA, VARIANCE, Importance, measure_importance
from autocompress.inputs.tokenizer import TokenizerFiles
from autocompress.tasks import Examples, TextClassification, batches

torch.set_num_threads(1)
gc.disable()  # until all tests are collected: what is imported stays
settings.register_profile("patient", deadline=None)  # how long an example takes is the machine's matter, not a test's
settings.load_profile("patient")
os.environ.setdefault("RAY_worker_niceness", "0")  # niced, Ray's workers starve beside the tests of the other worker


@sqlalchemy.event.listens_for(sqlalchemy.Pool, "checkout")
def _commit_without_waiting_for_the_disk(connection: Any, _record: Any, _proxy: Any) -> None:
    """Tests kill processes and no machine, so what this process hands to the kernel is not lost. The disk's answers
    are half of the time that tests with databases take; programs that tests start wait for them as users' do."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous=OFF")


def pytest_configure(config: pytest.Config) -> None:
    """Groups go to workers in the order of `pytest_collection_modifyitems`, not by their numbers of tests: those of one
    test would come last, and take a minute."""
    config.option.loadscopereorder = False


@pytest.hookimpl(tryfirst=True)  # before xdist reads the groups: else there are none
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of a file stay on one worker (`--dist loadgroup`), as they share what its fixtures made; those with a Ray
    go to one worker all, so that there is one Ray at a time. The groups that take longest go first."""
    groups = {item: _group(item) for item in items}
    long = {group for item, group in groups.items() if item.get_closest_marker("slow")}
    for item, group in groups.items():
        if item.config.pluginmanager.hasplugin("xdist"):  # which `-p no:xdist` leaves out, and its mark with it
            item.add_marker(pytest.mark.xdist_group(group))
    places = {group: place for place, group in enumerate(_LONGEST)}
    items.sort(key=lambda item: (places.get(groups[item], len(places)), groups[item] not in long))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Raises UsageError where xdist did not put the groups into the ids, by which it sends tests to workers.

    The half a million objects of what was imported are left out of the search for garbage from here on: going through
    them takes most of a second, again and again.
    """
    gc.collect()
    gc.freeze()
    gc.enable()
    if getattr(session.config.option, "loadgroup", False) and any("@" not in item.nodeid for item in session.items):
        raise pytest.UsageError("pytest-xdist does not see the groups of tests; which pytest is installed?")


_RAY = "ray"
_LONGEST = (
    _RAY,
    "tests/test_study.py",
    "tests/test_faults.py",
    "tests/broken/test_broken_inputs.py",
    "tests/tasks/test_studies.py",
    "tests/devices/test_profiling.py",
    "tests/model/test_operators.py",
    "tests/cli/test_program.py",
    "tests/test_runtimes.py",
    "tests/model/test_exported_folder.py",
    "tests/model/test_forms.py",
)
"""Groups of half a minute and more."""


def _group(item: pytest.Item) -> str:
    """Marks the test by the fixtures that it asks for."""
    asked = getattr(item, "fixturenames", ())
    if "server" in asked or "[postgresql" in item.nodeid:
        item.add_marker(pytest.mark.postgres)
    if "ray" in asked:
        item.add_marker(pytest.mark.ray)
    return _RAY if item.get_closest_marker("ray") else item.nodeid.partition("::")[0]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how much held of the table of broken inputs (`tests/broken/`) and of what is asked of every family
    (`tests/families/`)."""
    for name, line in _COUNTED.items():
        ended = {
            outcome: sum(
                name in str(report.nodeid) and report.when == "call" for report in terminalreporter.getreports(outcome)
            )
            for outcome in ("passed", "failed")
        }
        if any(ended.values()):
            terminalreporter.write_line(line.format(ended["passed"], sum(ended.values())))


_COUNTED = {
    "test_a_broken_input_is_refused_as_documented": "broken inputs: {} of {} refused as documented",
    "TestContracts": "families: {} of {} pairs of a form and a contract held",
}
"""Part of the names of tests, and what is said of them."""


def build_model(family: str, *, seed: int = 0, **settings: Any) -> Any:
    """3 layers, 4 heads of 16, 96 channels, 3 classes; larger weights than usual, so that every unit matters."""
    from transformers import AutoConfig, AutoModelForSequenceClassification

    narrow = {
        "electra": {"embedding_size": 32},
        "rembert": {"input_embedding_size": 32},
        "ernie": {"use_task_id": True},
    }
    if family == "distilbert":
        sizes = {"dim": 64, "n_layers": 3, "n_heads": 4, "hidden_dim": 96}
    else:
        sizes = {"hidden_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 96}
    config = AutoConfig.for_model(
        family,
        vocab_size=100,
        num_labels=3,
        max_position_embeddings=64,
        pad_token_id=1,
        initializer_range=0.2,
        **sizes,
        **narrow.get(family, {}),
        **settings,
    )
    torch.manual_seed(seed)
    return AutoModelForSequenceClassification.from_config(config).eval()


WRITTEN = sorted(name for name, family in FAMILIES.items() if family.like_bert)
"""Families whose graph is written node by node; those that are traced have tests of their own (`tests/families/`)."""


DIFFERENT = ("bert", "distilbert", "electra", "roberta")
"""Those of them that differ in form."""


@pytest.fixture(params=DIFFERENT)
def family(request: pytest.FixtureRequest) -> str:
    """Those that differ in form; where all must pass, a test says so."""
    return str(request.param)


@pytest.fixture
def anatomy(family: str) -> Anatomy:
    return Anatomy(build_model(family), FAMILIES)


@pytest.fixture
def bert() -> Anatomy:
    return Anatomy(build_model("bert"), FAMILIES)


@pytest.fixture
def adapted() -> Iterator[None]:
    """As after `import autocompress.auto`, for one test: what is registered is the process's."""
    from transformers.quantizers import auto

    from autocompress.exported.adapter import METHOD, register

    register()
    register()
    yield
    for mapping in (auto.AUTO_QUANTIZER_MAPPING, auto.AUTO_QUANTIZATION_CONFIG_MAPPING):
        del mapping[METHOD]


@pytest.fixture(scope="session")
def make_examples() -> Callable[..., Examples]:
    def make(count: int = 24, *, seed: int = 0) -> Examples:
        generator = np.random.default_rng(seed)
        tokens = tuple(generator.integers(5, 100, generator.integers(4, 12)) for _ in range(count))
        # the class is that of the second token: learnable within seconds
        labels = np.array([int(ids[1]) % 3 for ids in tokens])
        return Examples(tuple(f"text {i}" for i in range(count)), tokens, labels, 1)

    return make


@pytest.fixture(scope="session")
def small_task(make_examples: Callable[..., Examples]) -> TextClassification:
    splits = {"train": make_examples(96), "validation": make_examples(32, seed=1), "test": make_examples(32, seed=2)}
    tokenizer = TokenizerFiles("{}", {}, longest=12, pad=0)  # its tokens come from no text
    return TextClassification("accuracy", ("a", "b", "c"), splits, tokenizer)


@pytest.fixture
def importance(anatomy: Anatomy, make_examples: Callable[..., Examples]) -> Importance:
    found = measure_importance(anatomy, batches(make_examples(), 8), (*CRITERIA, VARIANCE))
    return replace(found, rows=np.random.default_rng(0).permutation(np.arange(100.0)))


@pytest.fixture
def importance_of(make_examples: Callable[..., Examples]) -> Callable[[Anatomy], Importance]:
    return lambda anatomy: measure_importance(anatomy, batches(make_examples(), 8), (*CRITERIA, VARIANCE))
