"""The file of a study that was guessed: its tree, with the reasons as comments."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

from autocompress import config
from autocompress.config.document import Place
from autocompress.study.beginning import Begun

_ABOVE: Final[dict[Place, str]] = {
    ("space",): "What may be done to it; `autocompress spaces` lists others.",
    ("device",): "Where it must run: `host` is this machine; `autocompress devices` lists others.",
    ("objectives",): "What counts. There are no weights: the result is a front to pick from.",
    ("constraints",): "What every candidate must keep.",
    ("budget",): "How long the whole study may take; its search ends after so many candidates at the latest.",
    ("task", "data", "ignore"): "It would be taken for the second text of a pair.",
}
_REASONED: Final[dict[Place, tuple[str, str]]] = {
    ("model",): ("model", "The model to compress: {}."),
    ("task",): ("task", "What the model is for: {}."),
    ("task", "max_length"): ("max length", "Where texts are cut: {}."),
    ("task", "data"): ("splits", "Labelled rows ({})."),
    ("task", "data", "text"): ("text", "{}."),
    ("task", "data", "text_pair"): ("second text", "{}."),
    ("task", "data", "label"): ("label", "{}."),
    ("workload",): ("timed at", "What one inference is: {}."),
    ("teacher",): ("model", "The uncompressed model, from which the others learn: {}."),
}


def as_yaml(begun: Begun, file: Path, *, drop: str) -> str:
    """The text of the study's `file`, whose head names the `drop` of the pick to come."""
    why = {one.what: one.why for one in begun.reasons}
    comments = dict(_ABOVE)
    for place, (what, sentence) in _REASONED.items():
        if what in why:
            said = sentence.format(why[what])
            comments[place] = said[:1].upper() + said[1:]
    comments[("task",)] += f" Quality is {begun.spec.task.scored}; `metric` names another."
    return config.commented_yaml(begun.tree, comments, head=_head(file, begun.spec.name, drop))


def _head(file: Path, name: str, drop: str) -> str:
    named, bound = shlex.quote(str(file)), f"--max-quality-drop {shlex.quote(drop)}"
    return (
        "Begun by `autocompress init`, which guessed what is written here. Change what is not as you meant it;\n"
        "docs/study.md and `autocompress schema study` explain every key, and unknown keys are refused.\n"
        "\n"
        f"  autocompress check {named}\n"
        f"  autocompress run {named}\n"
        f"  autocompress pick {shlex.quote(name)} {bound} --minimize latency_ms --out small/"
    )
