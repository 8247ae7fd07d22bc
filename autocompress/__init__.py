"""autocompress: hardware-aware compression of transformer encoders.

import autocompress

study = autocompress.run("studies/quickstart.yaml")
picked = study.pick(max_quality_drop=0.01, minimize="latency_ms", out="picked")
answers = autocompress.load("picked")(["How far is it from Denver to Aspen ?"])
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from autocompress.core.policy import CompressionPolicy as CompressionPolicy
    from autocompress.core.ports import SettingRule as SettingRule
    from autocompress.core.spec import StudySpec as StudySpec
    from autocompress.deploy.cascade import load as load
    from autocompress.errors import AutocompressError as AutocompressError
    from autocompress.exported.cascade_check import verify_cascade as verify_cascade
    from autocompress.exported.folder_check import verify_folder as verify_folder
    from autocompress.exported.hub import push_to_hub as push_to_hub
    from autocompress.exported.rebuild import load_torch as load_torch
    from autocompress.operators.own import ModuleOperator as ModuleOperator
    from autocompress.study.optimizing import optimize as optimize
    from autocompress.study.study import Study as Study
    from autocompress.study.study import compare as compare
    from autocompress.study.study import open_study as open_study
    from autocompress.study.study import resume as resume
    from autocompress.study.study import run as run

# Read when torch is loaded. Threads that wait for one another must not spin for long: with two threads on two cores and
# any other process on one of them, a training step takes many times as long as it has to. With this count 40 steps of
# MiniLM-L6 take 7.7 s alone and 14 s beside such a process; without any spinning 10.6 and 10.8.
os.environ.setdefault("GOMP_SPINCOUNT", "4000")

_HOMES = {
    "AutocompressError": "autocompress.errors",
    "CompressionPolicy": "autocompress.core.policy",
    "ModuleOperator": "autocompress.operators.own",
    "SettingRule": "autocompress.core.ports",
    "Study": "autocompress.study.study",
    "StudySpec": "autocompress.core.spec",
    "compare": "autocompress.study.study",
    "load": "autocompress.deploy.cascade",
    "load_torch": "autocompress.exported.rebuild",
    "optimize": "autocompress.study.optimizing",
    "open_study": "autocompress.study.study",
    "push_to_hub": "autocompress.exported.hub",
    "resume": "autocompress.study.study",
    "run": "autocompress.study.study",
    "verify_cascade": "autocompress.exported.cascade_check",
    "verify_folder": "autocompress.exported.folder_check",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605 - one list, not two


def __getattr__(name: str) -> Any:
    """Public names are imported on first use: `autocompress --help` must not wait for torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'autocompress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
