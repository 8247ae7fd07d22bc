"""Operators and families that another installed package brings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MODULE = """
from dataclasses import replace

from autocompress.core.parts import Part
from autocompress.core.ports import Phase
from autocompress.families import BERT
from autocompress.operators import PartOperator


class DropBiases(PartOperator):
    name = "drop_biases"
    phase = Phase.WIDTH
    elastic = False
    targets = ("layers.*.feed_forward",)
    rules = {}

    def fits(self, part):
        return part.kind == "feed_forward"

    def reshaped(self, part, settings):
        if not any(one.bias for one in part.matrices):
            return None
        return replace(part, matrices=tuple(replace(one, bias=False) for one in part.matrices))

    def apply(self, anatomy, step, importance):
        raise NotImplementedError


class NoOperator:
    name = "no_operator"


TINY_BERT = replace(BERT, model_type="tiny-bert")
"""
DECLARED = """
[autocompress.operators]
drop_biases = newcomer:DropBiases
gone = newcomer:Gone
no_operator = newcomer:NoOperator
quantize = newcomer:DropBiases

[autocompress.families]
tiny-bert = newcomer:TINY_BERT
"""
ASK = """
from autocompress.core.cost import parameters
from autocompress.core.encoders import encoder, encoder_layer
from autocompress.core.policy import CompressionPolicy, Step
from autocompress.families import FAMILIES
from autocompress.operators import OPERATORS, effective

whole = encoder(8, [encoder_layer(0, 8, heads=2, head_size=4, channels=16)])
step = Step("drop_biases", "layers.0.feed_forward")
kept, left = effective(CompressionPolicy((step, step)), whole)
assert OPERATORS["drop_biases"].phase < 3
print(len(kept.steps), parameters(whole) - parameters(left), *sorted(set(OPERATORS) - {"distill"}))
print("tiny-bert" in FAMILIES, type(OPERATORS["quantize"]).__module__)
"""


def installed(place: Path) -> Path:
    """A package as pip leaves it."""
    about = place / "newcomer-1.2.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomer\nVersion: 1.2\n")
    (about / "entry_points.txt").write_text(DECLARED)
    (place / "newcomer.py").write_text(MODULE)
    return place


def test_an_installed_package_brings_an_operator_and_a_family_and_what_is_broken_is_named(tmp_path: Path) -> None:
    here = str(Path(__file__).parent.parent)
    path = os.pathsep.join([str(installed(tmp_path)), here])
    done = subprocess.run(
        [sys.executable, "-c", ASK], env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, check=True
    )
    first, second = done.stdout.splitlines()
    pruned = "prune_channels prune_heads prune_hidden prune_vocabulary prune_weights"
    others = "quantize remove_block remove_layer replace_attention runtime"
    assert first == f"1 24 drop_biases keep_tokens low_rank {pruned} {others}"
    assert second == "True autocompress.operators.quantize"
    left_out = {line.split(" is left out: ")[0]: line.split(" is left out: ")[1] for line in done.stderr.splitlines()}
    assert {name: reason.split(";")[0] for name, reason in left_out.items()} == {
        "autocompress.operators: gone of the package newcomer 1.2": (
            "AttributeError: module 'newcomer' has no attribute 'Gone'"
        ),
        "autocompress.operators: no_operator of the package newcomer 1.2": "it lacks apply, elastic, fits, phase, "
        "reshape, rules, size_of, targets",
        "autocompress.operators: quantize of the package newcomer 1.2": "the name is taken",
    }
