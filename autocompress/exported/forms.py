"""Which form of graph is deployed, where a model has both: measured once for each kind of model on a machine, as the
rules that graphs are written by are."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any, Final, final

import numpy as np

from autocompress.anatomy import FAMILIES as SEARCHED
from autocompress.anatomy import Anatomy
from autocompress.assets import cache_folder, find_entry, new_entry
from autocompress.core.device import DeviceProfile
from autocompress.core.lowering import Form, FormChoice, Lowering
from autocompress.core.parts import ModelParts
from autocompress.core.policy import content_digest
from autocompress.core.spec import StudySpec
from autocompress.core.storage import PRECISION, arithmetic
from autocompress.core.versions import versions
from autocompress.deploy.forms import GraphMaker, forms_of
from autocompress.deploy.session import Session
from autocompress.devices.host import is_this_machine
from autocompress.devices.lowering import PAYS
from autocompress.devices.timing import Timed, time_sessions
from autocompress.errors import SpecError
from autocompress.families import FAMILIES as TRACED
from autocompress.operators.keep_tokens import keeps_in
from autocompress.operators.replace_attention import forms_in

_RECIPE: Final = 1
"""Of the measurement: what another one found is not believed."""
_ROUNDS, _SECONDS = 20, 6.0


def form_problems(spec: StudySpec, settings: Mapping[str, Any]) -> list[str]:
    """Why the form that a study asks for cannot be had of a model with these settings."""
    asked, family = spec.export.form, str(settings.get("model_type"))
    if asked == "fastest" or family not in SEARCHED:
        return []
    written = SEARCHED[family].like_bert or (family in TRACED and TRACED[family].writing is not None)
    if asked == "traced" and written and keeps_in(spec.space):
        return [
            "export.form: a model that keeps some of its tokens is not traced, as how many each text keeps is found in "
            "the graph (allowed: written, fastest)"
        ]
    if asked == "traced" and written and forms_in(spec.space):
        return [
            "export.form: a model with attention in blocks is not traced, which takes minutes for the same nodes "
            "(allowed: written, fastest)"
        ]
    there = {"written": written, "traced": family in TRACED}
    if there[asked]:
        return []
    other = next(form for form, known in there.items() if known)
    return [f"export.form: a {family} has no {asked} graph (allowed: {other}, fastest)"]


@final
class Forms:
    """The choices of one study, one for each runtime and precision."""

    def __init__(self, spec: StudySpec, profile: DeviceProfile, known: Mapping[str, Mapping[str, Any]]) -> None:
        """`known` are those it made before."""
        self._spec, self._profile = spec, profile
        self.chosen = {key: FormChoice(**choice) for key, choice in known.items()}

    def to_json(self) -> dict[str, dict[str, Any]]:
        return {key: asdict(choice) for key, choice in self.chosen.items()}

    def choose(self, student: Anatomy, shape: ModelParts, lowering: Lowering) -> tuple[FormChoice, GraphMaker]:
        """For a student that is quantized as it is deployed. Raises SpecError where the study asks for a form that
        there is not."""
        opset, precision = self._spec.export.opset, _precision(shape)
        makers = {form: GraphMaker(form, opset=opset) for form in forms_of(student)}
        key = f"{shape.runtime}, {precision}"
        if key not in self.chosen:
            self.chosen[key] = self._choose(student, shape, lowering, makers)
        choice = self.chosen[key]
        return choice, makers[choice.form]

    def _choose(
        self, student: Anatomy, shape: ModelParts, lowering: Lowering, makers: Mapping[Form, GraphMaker]
    ) -> FormChoice:
        asked, first = self._spec.export.form, next(iter(makers))
        if asked != "fastest":
            if asked not in makers:
                raise SpecError(f"export.form: this model has no {asked} graph (allowed: {', '.join(makers)}, fastest)")
            return FormChoice(asked, "as the study asks")
        if len(makers) == 1:
            return FormChoice(first, f"the only form of a {student.family.model_type}")
        if not is_this_machine(self._profile):
            return FormChoice(first, "not measured, as the device is another machine")
        return self._kept(shape, lowering, lambda: self._measured(student, shape, lowering, makers))

    def _kept(self, shape: ModelParts, lowering: Lowering, measure: Callable[[], FormChoice]) -> FormChoice:
        """From the cache, under all that it hangs on but the sizes of what a search picks."""
        about = {
            "recipe": _RECIPE,
            "model": [shape.family, shape.width, shape.head_size, shape.read, shape.runtime, _precision(shape)],
            "workload": self._spec.workload.to_json(),
            "written": [str(lowering), self._spec.export.opset],
            "machine": dict(self._profile.fingerprint),
            "versions": dict(versions()),
        }
        path = cache_folder() / "forms" / f"{content_digest(about)}.json"
        if not find_entry(path):
            choice = measure()
            with new_entry(path) as draft:
                draft.write_text(json.dumps(asdict(choice)), encoding="utf-8")
        return FormChoice(**json.loads(path.read_text(encoding="utf-8")))

    def _measured(
        self, student: Anatomy, shape: ModelParts, lowering: Lowering, makers: Mapping[Form, GraphMaker]
    ) -> FormChoice:
        """In turns; of their quicker turns, as the slower half tells who was interrupted."""
        workload = self._spec.workload
        sessions = [
            Session(
                maker.graph(student, lowering).SerializeToString(),
                threads=workload.threads,
                runtime=shape.runtime,
                switches=lowering.session,
            )
            for maker in makers.values()
        ]
        timed = time_sessions(sessions, workload, shape.vocabulary, rounds=_ROUNDS, seconds=_SECONDS)
        times: dict[str, float] = dict(zip(makers, map(_quick, timed), strict=True))
        pays = times["traced"] <= (1 - PAYS) * times["written"]
        return FormChoice("traced" if pays else "written", "the faster here", times)


def _quick(timed: Timed) -> float:
    return round(float(np.quantile(timed.turns, 0.25)), 6)


def _precision(shape: ModelParts) -> str:
    """`int8` where any block computes so."""
    bits = {arithmetic(storage) for part in shape.blocks() for storage in part.storages}
    return PRECISION[min(bits, default=32)]
