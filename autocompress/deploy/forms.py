"""The two forms that a model's graph may have: written node by node (`graph`), or traced (`traced`)."""

from __future__ import annotations

from typing import final

import onnx

from autocompress.anatomy import Anatomy, LiveAnatomy
from autocompress.anatomy.inputs import inputs_of
from autocompress.anatomy.live import LiveModel
from autocompress.core.attention_form import FULL_ATTENTION
from autocompress.core.lowering import PLAIN, Form, Lowering
from autocompress.core.opsets import PLAIN_OPSET
from autocompress.deploy.graph import write_graph
from autocompress.deploy.traced import Trace, fill, trace
from autocompress.families import FAMILIES


def forms_of(student: Anatomy) -> tuple[Form, ...]:
    """Those that there are of a model, the written one first. Attention in blocks takes minutes to trace, and comes to
    the same nodes: what has a written graph is not traced then, and a model with half layers, or one that keeps some of
    its tokens, is not either."""
    traced = isinstance(student, LiveAnatomy) or student.family.model_type in FAMILIES
    in_blocks = any(layer.mixes and layer.mixes.form != FULL_ATTENTION for layer in student.layers)
    in_halves = any(not (layer.mixes and layer.feeds) for layer in student.layers)
    loses = any(layer.mixes and layer.mixes.keeps is not None for layer in student.layers)
    traced = traced and not ((in_blocks or in_halves or loses) and student.is_written)
    both: tuple[tuple[Form, bool], ...] = (("written", student.is_written), ("traced", traced))
    return tuple(form for form, there in both if there)


@final
class GraphMaker:
    """Makes the graphs of one student, quantized or not yet, in one form: it is traced once for all of them."""

    def __init__(self, form: Form, *, opset: int | None = None) -> None:
        """`opset` is the version of ONNX, the oldest that it can be where none is given."""
        self.form: Form = form
        self._opset = opset
        self._trace: Trace | None = None

    def graph(self, student: Anatomy, lowering: Lowering = PLAIN) -> onnx.ModelProto:
        """Students must be cut alike. The rules of a lowering are about written graphs alone."""
        if self.form == "written":
            return write_graph(student.weights(), lowering=lowering, opset=self._opset)
        live = student.live if isinstance(student, LiveAnatomy) else LiveModel(student.copy().model)
        if self._trace is None:
            wanted = inputs_of(student.model, types=bool(getattr(student.model.config, "two_texts", False)))
            self._trace = trace(live, wanted.example(), wanted.free, opset=self._opset or PLAIN_OPSET)
        return fill(self._trace, live)
