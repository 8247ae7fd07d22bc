"""What models and tasks a study may have, as a table, from the registries."""

from __future__ import annotations

import importlib

from autocompress.anatomy import FAMILIES
from autocompress.core.task_kinds import OURS
from autocompress.families import FAMILIES as READ
from autocompress.tasks import TASKS


def table() -> str:
    both = [name for name in FAMILIES if name in READ and READ[name].writing is not None]
    written = [name for name, family in FAMILIES.items() if family.like_bert]
    others = [(name, family) for name, family in FAMILIES.items() if not family.like_bert and name not in both]
    traced = [name for name, family in others if family.modality == "text"]
    sounds = [name for name, family in others if family.modality == "audio"]
    images = [name for name, family in others if family.modality == "image"]
    counted = [name for name in READ if name not in FAMILIES]
    rows = [
        ("tasks", ", ".join(f"`{kind}`" for kind in TASKS)),
        ("models, deployed in our own graph", _listed(written)),
        ("models whose blocks are written like these, or traced where that is faster", _listed(both)),
        ("models of texts, deployed by torch's exporter", _listed(traced)),
        ("models of images, deployed by torch's exporter", _listed(images)),
        ("models of recordings, deployed by torch's exporter", _listed(sounds)),
        ("read into parts, counted and cut, but not yet searched", _listed(counted)),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {what} | {which} |" for what, which in rows)])


def tasks() -> str:
    """What each task is, in the first line of its file."""
    rows = [f"| `{kind}` | {_told(task)} | {', '.join(_metrics(kind))} |" for kind, task in TASKS.items()]
    return "\n".join(["| task | what it is | metrics, the default first |", "|---|---|---|", *rows])


def _listed(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in sorted(names))


def _told(task: type) -> str:
    first = str(importlib.import_module(task.__module__).__doc__).splitlines()[0]
    return first.partition(": ")[2].rstrip(".")


def _metrics(kind: str) -> tuple[str, ...]:
    return tuple(f"`{name}`" for name in OURS[kind].metrics)
