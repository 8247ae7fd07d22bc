"""Fresh processes for tests that need one: children start in milliseconds, and share no connection with us."""

from __future__ import annotations

import multiprocessing
from typing import Final

FRESH: Final = multiprocessing.get_context("forkserver")
"""Its processes begin with what is imported below, as those that start anew do after some seconds. One server serves
all that a process starts, and the last list that it was given counts: there is one list for all tests."""

FRESH.set_forkserver_preload(
    [
        "autocompress.study.stages",
        "autocompress.cli.app",
        "transformers.models.bert.modeling_bert",
        "torch.onnx._internal.exporter._core",
        "onnxscript._framework_apis.torch_2_5",
        "onnx.reference",
        "networkx",
        "pandas",
        "onnxruntime",
        "optuna",
        "psycopg",
        "tests.store.given",
        "tests.broken.test_broken_inputs",
    ]
)
