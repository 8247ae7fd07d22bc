"""The same model in both forms of graph: written node by node, and traced from the model's own code.

    python studies/benchmarks/forms_of_deployment.py [--inferences 20] [--only vit ...]

Models with random weights, as wide as MiniLM: speed depends on sizes alone. One text of 128 tokens or one image, one
thread, fp32 and int8, plain rules. Beside the two stands the traced graph whose last layer computes every position,
which is what tracing alone gives. All files of a model in turns in one process; what is compared is the processor time
of the thread, in the lower quartile, which says the same on a busy machine and on a quiet one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal

import numpy as np
import torch
import transformers
from lowering import processor_ms
from record import RESULTS, keep, kept

from autocompress.anatomy.inputs import inputs_of
from autocompress.anatomy.live import LiveModel
from autocompress.anatomy.weights import EncoderWeights
from autocompress.anatomy.written import written_weights
from autocompress.core.parts import Storage
from autocompress.deploy.forms import GraphMaker
from autocompress.deploy.graph import write_graph
from autocompress.deploy.session import Session
from autocompress.deploy.traced import fill, trace

LENGTH: Final = 128
WIDE: Final[Mapping[str, int]] = {
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}
WORDS: Final[Mapping[str, int]] = {"vocab_size": 4000, "max_position_embeddings": 256, "pad_token_id": 0}
SPECIAL: Final[Mapping[str, int]] = {"bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2}


@dataclass(frozen=True)
class Tried:
    """A class of the modelling library, and the sizes of a model of it."""

    kind: str
    sizes: Mapping[str, int]


MODELS: Final[Mapping[str, Tried]] = {
    "bert": Tried("BertForSequenceClassification", {**WIDE, **WORDS}),
    "modernbert": Tried("ModernBertForSequenceClassification", {**WIDE, **WORDS, **SPECIAL, "intermediate_size": 1024}),
    "vit": Tried("ViTForImageClassification", {**WIDE, "image_size": 112, "patch_size": 8}),
}
FORMS: Final = ("traced, every position", "traced", "written")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inferences", type=int, default=20, help="turns of three, a file")
    parser.add_argument("--only", nargs="+", default=list(MODELS), choices=list(MODELS))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.only:
        found = measured(MODELS[name], options.inferences)
        figures = {**kept("forms_of_deployment", {}), name: found}
        keep("forms_of_deployment", figures)
        (RESULTS / "forms_of_deployment.md").write_text(table(figures), encoding="utf-8")
        print(table({name: figures[name]}), flush=True)


def measured(tried: Tried, inferences: int) -> dict[str, Any]:
    """Milliseconds by precision and form."""
    torch.manual_seed(0)
    kind = getattr(transformers, tried.kind)
    live = LiveModel(kind(kind.config_class(**tried.sizes, num_labels=6)).eval())
    wanted = inputs_of(live.model)
    whole = trace(live, wanted.example(), wanted.free, first_row=False)
    one_row = trace(live, wanted.example(), wanted.free)
    found = {}
    for bits in (32, 8):
        rounded = live if bits == 32 else in_int8(live)
        graphs = (fill(whole, rounded), fill(one_row, rounded), written(rounded))
        sessions = [Session(graph.SerializeToString()) for graph in graphs]
        feeds = [session.drawn(1, LENGTH, rows=4000, seed=np.random.default_rng(0)) for session in sessions]
        runs = [partial(session.raw, feed) for session, feed in zip(sessions, feeds, strict=True)]
        found["fp32" if bits == 32 else "int8"] = dict(zip(FORMS, processor_ms(runs, inferences), strict=True))
    return {"kind": tried.kind, "sizes": dict(tried.sizes), "processor_ms": found}


def written(live: LiveModel) -> Any:
    """Of a BERT by the arrays of its own anatomy, of others by their family's data."""
    if live.family.writing is not None:
        weights: EncoderWeights = written_weights(live)
        return write_graph(weights)
    from autocompress.anatomy import anatomy_of

    return GraphMaker("written").graph(anatomy_of(live.model))


def in_int8(live: LiveModel) -> LiveModel:
    copied, held = live.copy(), Storage(8)
    copied.quantize([part.name for part in live.parts().blocks()], held)
    bits: Literal[4, 8] = 8
    if copied.token_tables():
        copied.quantize_embeddings(bits)
    return copied


def table(figures: Mapping[str, Any]) -> str:
    lines = [
        "| model | precision | traced, every position | traced | written | written against traced |",
        "|---|---|---:|---:|---:|---:|",
    ]
    for name, one in figures.items():
        for precision, times in one["processor_ms"].items():
            shown = " | ".join(f"{times[form]:.1f} ms" for form in FORMS)
            lines.append(f"| {name} | {precision} | {shown} | {times['traced'] / times['written']:.2f}x |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
