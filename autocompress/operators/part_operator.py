"""Operators that treat each part of a model by itself: most do."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import replace
from typing import final

from autocompress.core.parts import ModelParts, Part
from autocompress.core.policy import Setting, Step


class PartOperator(abc.ABC):
    """The half of an `Operator` that follows from what happens to a part: `fits` says which, `reshaped` how."""

    @abc.abstractmethod
    def fits(self, part: Part) -> bool: ...

    @abc.abstractmethod
    def reshaped(self, part: Part, settings: Mapping[str, Setting]) -> Part | None:
        """A part that fits, afterwards; None where nothing happens to it. Raises CandidateError where it cannot be done
        to it: the message follows the step's name and the part's."""

    @final
    def reshape(self, model: ModelParts, step: Step) -> ModelParts | None:
        changed = {}
        for part in model.targeted(step.target):
            if self.fits(part) and (after := self.reshaped(part, step.settings)) is not None:
                changed[part.name] = after
        if not changed:
            return None
        for part in model.parts:
            if part.owner in changed:  # what is done to weights is done to whoever computes with them
                whole = changed[part.owner]
                changed[part.name] = replace(part, matrices=whole.matrices, mixing=whole.mixing)
        return replace(model, parts=tuple(changed.get(part.name, part) for part in model.parts))

    def size_of(self, part: Part, setting: str) -> int | None:
        return None
