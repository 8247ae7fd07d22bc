"""What other installed packages bring, by entry points: operators and families.

A package says in its `pyproject.toml`

    [project.entry-points."autocompress.operators"]
    drop_biases = "its_module:DropBiases"

and what stands there, or what calling a class there gives, is registered under that name. Nothing is searched for: what
a package does not declare is not loaded. One that cannot be loaded is left out and named, so that a broken package
takes no stored study down with it.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, TypeVar, final

logger = logging.getLogger(__name__)

Group = Literal["operators", "families"]

_PREFIX: Final = "autocompress."

Value = TypeVar("Value")


@final
class Registry(Mapping[str, Value]):
    """Our own and, behind them, what other packages bring under `autocompress.GROUP`, by name.

    What is brought must have the attributes that it `needs`, and the name that it is declared under; ours cannot be
    replaced. It is loaded when the registry is first asked, as a package may import us while we are imported.
    """

    def __init__(
        self, group: Group, ours: Collection[Value], *, needs: Collection[str], name_of: Callable[[Value], str]
    ) -> None:
        self._group, self._needs, self._name_of = group, needs, name_of
        self._ours = {name_of(value): value for value in ours}

    def __getitem__(self, name: str) -> Value:
        return self._ours[name] if name in self._ours else self._all[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    @functools.cached_property
    def _all(self) -> Mapping[str, Value]:
        found = dict(self._ours)
        points = entry_points(group=_PREFIX + self._group)
        for point in sorted(points, key=lambda one: (one.name, one.value)):
            value, problem = self._loaded(point)
            if point.name in found:
                problem = "the name is taken"
            if problem:
                logger.warning("%s is left out: %s; mend the package or uninstall it", _told(point), problem)
            else:
                found[point.name] = value
        return found

    def _loaded(self, point: EntryPoint) -> tuple[Any, str]:
        """What a package brings, and what is wrong with it, or nothing."""
        try:
            value = point.load()
            value = value() if isinstance(value, type) else value
            lacks = [name for name in sorted(self._needs) if not hasattr(value, name)]
            if lacks:
                return value, f"it lacks {', '.join(lacks)}"
            name = self._name_of(value)
            return value, "" if name == point.name else f"it calls itself {name!r}"
        except Exception as error:  # noqa: BLE001 - the code of others
            return None, f"{type(error).__name__}: {error}"


def _told(point: EntryPoint) -> str:
    package = f" of the package {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"{point.group}: {point.name}{package}"
