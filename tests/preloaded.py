"""What fresh processes of tests begin with (`tests/fresh.py`): their server imports this. Nothing of it is garbage, so
it is not looked for: that would be a fifth of the imports' time, and afterwards most of that of every collection."""

from __future__ import annotations

import contextlib
import gc
import importlib

gc.disable()
for name in (
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
):
    with contextlib.suppress(ImportError):
        importlib.import_module(name)
gc.collect()
gc.freeze()
gc.enable()
