"""Products put into int8, and what calibration settles for them: ranges of inputs, and outlier channels evened out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, cast, final

from torch import Tensor, nn

from autocompress.anatomy.calibration import Batches, Inputs, Product, limits, observe, relief
from autocompress.anatomy.finding import Slot
from autocompress.anatomy.int8 import Int8Linear
from autocompress.anatomy.moments import Moments, moments, powers
from autocompress.core.parts import Storage
from autocompress.core.storage import Rounded

_LIMITS, _RELIEF = ".limits", ".relief"

SETTLED: Final = (_LIMITS, _RELIEF)
"""How names of tensors end that are no weights, and what calibration found."""


def is_settled(name: str) -> bool:
    """Whether a tensor of this name is what calibration found, and no weight."""
    return name.endswith(SETTLED)


def settled(model: nn.Module) -> dict[str, Tensor]:
    """What calibration found for the products of a model, by their names; no two share memory, as files want it."""
    found = {}
    for name, module in model.named_modules():
        if isinstance(module, Int8Linear):
            both = {_LIMITS: module.limits, _RELIEF: module.relief}
            found.update({name + kind: value.clone() for kind, value in both.items() if value is not None})
    return found


@dataclass(frozen=True, slots=True)
class Group:
    """Products of one input, which is quantized once for all of them; the model's argument `masked_by` says which of
    its positions are real. With `one_row` the first position is all that is deployed of it."""

    slots: tuple[Slot, ...]
    masked_by: str
    one_row: bool = False


@final
class Settling:
    """What is found on `batches`, once for each strength of smoothing, or was once and is `known`."""

    def __init__(self, batches: Batches, known: Mapping[str, Tensor] | None) -> None:
        self.batches, self._known = batches, known
        self._seen: dict[float | None, dict[str, Inputs]] = {}
        self._moments: dict[str, Moments] | None = None
        self._powers: dict[str, Tensor] | None = None

    def anew(self) -> Settling:
        """For another model."""
        return Settling(self.batches, self._known)

    def round(self, model: nn.Module, group: Group, groups: Sequence[Group], storage: Storage) -> None:
        """Puts a group of products into int8, of all `groups` there are. Raises CandidateError where something is to be
        calibrated and there are no examples."""
        name, static = _name(model, group), storage.activations == "static"
        ranged = self._limits(model, name, groups, storage) if static else None
        even = None if storage.smoothing is None else self._relief(model, name, groups, storage.smoothing)
        for slot in group.slots:
            slot.put(
                Int8Linear(
                    slot.linear,
                    bits=cast(Rounded, storage.bits),
                    first_token=group.one_row,
                    limits=ranged,
                    relief=even,
                    calibration=storage.calibration if static else None,
                    smoothing=storage.smoothing,
                    masked_by=group.masked_by,
                )
            )

    def moments(self, model: nn.Module, groups: Sequence[Group]) -> dict[str, Moments]:
        """How what goes into every product varies, by their names, as the model is when this is asked first; nothing
        where there are no examples."""
        if self._moments is None:
            self._moments = moments(model, _products(model, groups), self.batches)
        return self._moments

    def powers(self, model: nn.Module, groups: Sequence[Group]) -> dict[str, Tensor]:
        """The mean square of each input of every product, by their names, as the model is when this is asked first;
        nothing where there are no examples."""
        if self._powers is None:
            self._powers = powers(model, _products(model, groups), self.batches)
        return self._powers

    def _limits(self, model: nn.Module, name: str, groups: Sequence[Group], storage: Storage) -> Tensor | None:
        """None where all is known and this is not: then a later step quantizes the product otherwise."""
        if self._known is not None:
            return self._known.get(name + _LIMITS)
        return limits(self._inputs(model, groups, storage.smoothing)[name], storage.calibration or "min-max")

    def _relief(self, model: nn.Module, name: str, groups: Sequence[Group], strength: float) -> Tensor | None:
        """As `_limits`."""
        if self._known is not None:
            return self._known.get(name + _RELIEF)
        return self._reliefs(model, groups, strength)[name]

    def _reliefs(self, model: nn.Module, groups: Sequence[Group], strength: float) -> dict[str, Tensor]:
        seen = self._inputs(model, groups, None)
        return {
            name: relief(seen[name].channels, [slot.linear.weight for slot in group.slots], strength)
            for name, group in ((_name(model, group), group) for group in groups)
        }

    def _inputs(self, model: nn.Module, groups: Sequence[Group], smoothing: float | None) -> dict[str, Inputs]:
        """What goes into groups of products, by the name of the first of each."""
        if smoothing not in self._seen:
            products = {
                _name(model, group): Product(group.slots[0].module, group.one_row, group.masked_by) for group in groups
            }
            reliefs = {} if smoothing is None else self._reliefs(model, groups, smoothing)
            self._seen[smoothing] = observe(model, products, self.batches, reliefs)
        return self._seen[smoothing]


def _products(model: nn.Module, groups: Sequence[Group]) -> dict[str, Product]:
    """By name, to be watched."""
    names = {id(module): name for name, module in model.named_modules()}
    return {
        names[id(slot.module)]: Product(slot.module, group.one_row, group.masked_by)
        for group in groups
        for slot in group.slots
    }


def _name(model: nn.Module, group: Group) -> str:
    """The name of its first product in the model."""
    first = group.slots[0].module
    return str(next(name for name, module in model.named_modules() if module is first))
