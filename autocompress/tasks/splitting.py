"""Which texts are learned from, compared on, kept for the end; no two splits share what a model cannot tell apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.core.data_spec import SPLITS, DataSpec
from autocompress.errors import SpecError
from autocompress.reading import ALL, Rows

Places = NDArray[np.int64]

_FAIR: Final = 0.5
"""Of the texts that a class should have in a split, the share that a random draw must give it."""

_EVERYWHERE: Final = 4
"""A class of so many texts stands in every split; of fewer, training would keep too little of it."""

_FEWEST: Final = 2
"""Texts that a split needs at least: of one there is nothing to average."""

_LOST: Final = 0.5
"""The share of a split that may stand in another one by accident; beyond that somebody named the wrong file."""

_Z: Final = 1.959964
_TYPICAL: Final = 0.9


@dataclass(frozen=True, slots=True)
class Pool:
    """Texts that are given together: their classes' numbers [texts], and what the model reads of each, as bytes that
    are equal where it cannot tell two apart."""

    rows: Rows
    labels: NDArray[np.int64]
    keys: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Splits:
    """By split, the part that its texts come from and their places in it; `notes` say what a user should know."""

    places: Mapping[str, tuple[str, Places]]
    notes: tuple[str, ...]


def split(spec: DataSpec, pools: Mapping[str, Pool], classes: Sequence[str], *, of_classes: bool = True) -> Splits:
    """What is given for a split stays together, in its order; what is not is split off from the training texts.

    Of texts that the model cannot tell apart the test split keeps all, validation those that test has not, training
    those that neither has. Rows that are not `of_classes` have one class, which means nothing. Raises SpecError when
    there are too few texts, or the given splits are much the same.
    """
    notes: list[str] = []
    given = {name: (name, np.arange(len(pool.labels))) for name, pool in pools.items() if name != ALL}
    source = ALL if ALL in pools else "train"
    missing = [name for name in SPLITS if name not in given or name == "train"]
    taken = given if len(missing) == 1 else {name: one for name, one in given.items() if name != "train"}
    found = _apart(pools, taken, notes)
    if len(missing) > 1:
        pool = pools[source]
        held = {pools[part].keys[place] for part, places in found.values() for place in places}
        free = np.array([place for place, key in enumerate(pool.keys) if key not in held], dtype=np.int64)
        _tell_lost(pool.rows, "train", np.setdiff1d(np.arange(len(pool.keys)), free), notes)
        shares = [spec.split[SPLITS.index(name)] for name in missing]
        drawn = _drawn(spec, pool, free, shares, notes)
        found = _apart(
            pools, {**found, **{name: (source, rows) for name, rows in zip(missing, drawn, strict=True)}}, notes
        )
    found = {name: found[name] for name in SPLITS}
    _check_counts(pools, found)
    if of_classes:
        notes += _about_classes(pools, found, classes)
        noun = pools[source].rows.noun
        notes += [_about_interval(name, len(found[name][1]), noun) for name in ("validation", "test")]
    return Splits(found, tuple(notes))


def interval(texts: int) -> float:
    """Half the width of the 95 % interval of an accuracy of 90 % on so many texts (Wilson 1927)."""
    z = _Z * _Z
    return _Z / (1 + z / texts) * math.sqrt(_TYPICAL * (1 - _TYPICAL) / texts + z / (4 * texts * texts))


def _apart(
    pools: Mapping[str, Pool], found: Mapping[str, tuple[str, Places]], notes: list[str]
) -> dict[str, tuple[str, Places]]:
    """Without the texts that a split which counts more has too."""
    held: set[bytes] = set()
    kept = dict(found)
    for name in reversed(SPLITS):
        if name not in found:
            continue
        part, places = found[name]
        pool = pools[part]
        lost = np.array([place for place in places if pool.keys[place] in held], dtype=np.int64)
        kept[name] = part, places[~np.isin(places, lost)]
        _tell_lost(pool.rows, name, lost, notes, of=len(places))
        held |= {pool.keys[place] for place in places}
    return kept


def _tell_lost(rows: Rows, name: str, lost: Places, notes: list[str], *, of: int | None = None) -> None:
    if not len(lost):
        return
    whole, others = of or len(rows), "the test split" if name == "validation" else "the validation or the test split"
    if len(lost) > _LOST * whole:
        raise SpecError(
            f"{rows.where}: {len(lost)} of {whole} {name} {rows.noun} stand in {others} too "
            f"({rows.told(lost.tolist())}); give files that share no {rows.noun}"
        )
    notes.append(
        f"{len(lost)} {name} {rows.noun} are left away, as the model cannot tell them from {rows.noun} of {others} "
        f"({rows.told(lost.tolist())})"
    )


# Drawing


def _drawn(spec: DataSpec, pool: Pool, free: Places, shares: Sequence[float], notes: list[str]) -> list[Places]:
    """The free places in parts of these shares. Repeated texts, where they are kept, stay together."""
    units = free
    if not spec.distinct:
        first: dict[bytes, int] = {}
        for place in free:
            first.setdefault(pool.keys[place], int(place))
        units = np.array(list(first.values()), dtype=np.int64)
    if not len(units):
        raise SpecError(f"{pool.rows.where}: no {pool.rows.noun} are left to split")
    weights = np.array(shares) / sum(shares)
    parts, by_class = draw(pool.labels[units], weights, seed=spec.split_seed)
    if by_class:
        notes.append(f"a random split would leave classes short; {pool.rows.noun} are split class by class")
    chosen = [units[part] for part in parts]
    if len(units) == len(free):
        return chosen
    keys = [{pool.keys[place] for place in part} for part in chosen]
    return [np.array([place for place in free if pool.keys[place] in found], dtype=np.int64) for found in keys]


def draw(labels: NDArray[np.int64], shares: NDArray[np.float64], *, seed: int) -> tuple[list[Places], bool]:
    """Places of the labels in parts of these shares, of which the first is learned from: at random if that is fair to
    every class, else class by class. The second value tells which."""
    order = np.random.default_rng(seed).permutation(len(labels))
    ends = np.rint(np.cumsum(shares) * len(labels)).astype(int)
    parts = np.split(order, ends[:-1])
    if _is_fair(labels, shares, parts):
        return parts, False
    return _by_class(labels, shares, order), True


def _is_fair(labels: NDArray[np.int64], shares: NDArray[np.float64], parts: Sequence[Places]) -> bool:
    counts = np.bincount(labels)
    present = counts > 0
    for number, (share, part) in enumerate(zip(shares, parts, strict=True)):
        least = np.floor(_FAIR * share * counts)
        least = np.maximum(least, (counts >= _EVERYWHERE) | (number == 0))
        if np.any((np.bincount(labels[part], minlength=len(counts)) < least)[present]):
            return False
    return True


def _by_class(labels: NDArray[np.int64], shares: NDArray[np.float64], order: Places) -> list[Places]:
    """Every class is divided by the shares, in whole texts; what is left over goes where most is owed by then, so that
    small classes, one by one not divisible, are together."""
    owed, had = np.zeros(len(shares)), np.zeros(len(shares))
    parts: list[list[Places]] = [[] for _ in shares]
    met = labels[order]
    for label in dict.fromkeys(met.tolist()):  # in random order: what is left over goes to no class by its name
        places = order[met == label]
        least = np.array([1] + [int(len(places) >= _EVERYWHERE)] * (len(shares) - 1))
        counts = np.maximum(np.floor(shares * len(places)).astype(int), least)
        counts[0] -= max(0, counts.sum() - len(places))
        owed += shares * len(places)
        for _ in range(len(places) - counts.sum()):
            counts[np.argmax(owed - had - counts)] += 1
        had += counts
        for part, taken in zip(parts, np.split(places, np.cumsum(counts)[:-1]), strict=True):
            part.append(taken)
    rank = np.argsort(order)
    return [found[np.argsort(rank[found])] for found in map(np.concatenate, parts)]


# What is said of the result


def _check_counts(pools: Mapping[str, Pool], found: Mapping[str, tuple[str, Places]]) -> None:
    for name, (part, places) in found.items():
        if len(places) < _FEWEST:
            rows = pools[part].rows
            raise SpecError(
                f"{rows.where}: {len(rows)} {rows.noun} leave {len(places)} for {name}; at least {_FEWEST} are "
                "needed, and some hundreds to tell models apart"
            )


def _about_classes(
    pools: Mapping[str, Pool], found: Mapping[str, tuple[str, Places]], classes: Sequence[str]
) -> list[str]:
    present = {name: set(pools[part].labels[places].tolist()) for name, (part, places) in found.items()}
    everywhere = set().union(*present.values())
    notes = []
    for name in SPLITS:
        lacking = [classes[label] for label in sorted(everywhere - present[name])]
        if lacking:
            shown = ", ".join(lacking[:5]) + (", ..." if len(lacking) > 5 else "")
            noun = next(iter(pools.values())).rows.noun
            what = f"they are not learned from {noun}" if name == "train" else "its scores say nothing of them"
            notes.append(f"{len(lacking)} of {len(everywhere)} classes have no {name} {noun[:-1]} ({shown}): {what}")
    return notes


def _about_interval(name: str, texts: int, noun: str) -> str:
    return (
        f"{name}: {texts} {noun} tell an accuracy of 90 % to within {100 * interval(texts):.2g} points (95 % interval)"
    )
