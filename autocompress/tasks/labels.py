"""Which output of a fine-tuned model means which label of the data.

People number their classes from 0 or from 1, from -1 to 1, or name them; a model names its outputs, numbers them, or
says LABEL_0. What follows from names alone is decided here; what only the model's answers can tell is looked up in
a table of them; what neither can tell is asked for.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from autocompress.errors import did_you_mean
from autocompress.reading import ordered

_ANONYMOUS = re.compile(r"LABEL_(\d+)", re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?\d+(\.\d+)?")
_PLAIN_TEXT = re.compile(r"[A-Za-z_][\w-]*")
_YAML_WORDS = {"true", "false", "null", "yes", "no", "on", "off"}
_SHOWN: Final = 12
_SWITCHED: Final = 3.0
"""Standard errors by which another order must fit better to be told."""


@dataclass(frozen=True, slots=True)
class Matched:
    """What each output means: a label of the data, or the model's own name for a class that the data lack. `how` says
    it in words where they are not spelled alike; `is_guess` holds where the model's answers must confirm it."""

    labels: tuple[str, ...]
    how: str = ""
    is_guess: bool = False


@dataclass(frozen=True, slots=True)
class Unmatched:
    """Why names alone do not tell."""

    reason: str


def match_labels(names: Sequence[str], found: Sequence[str], given: Mapping[str, str]) -> Matched | Unmatched:
    """`names` of a model's outputs, in their order, beside the labels `found` in the data, and what the study says:
    `given` by name or number of an output."""
    if given:
        return _by_the_study(names, found, given)
    if len(set(names)) < len(names):
        return Unmatched(f"the model has one name for several of its outputs: {_listed(names)}")
    if set(found) <= set(names):
        return Matched(tuple(names))
    for rule in (_by_spelling, _by_number_inside, _by_number, _by_order):
        if (matched := rule(names, found)) and len(set(matched.labels)) == len(names):
            return matched
    return _unlike(names, found)


def _by_the_study(names: Sequence[str], found: Sequence[str], given: Mapping[str, str]) -> Matched | Unmatched:
    labels: dict[int, str] = {}
    for key, label in given.items():
        place = _output(names, key)
        if place is None:
            return Unmatched(f"`task.labels` names {key!r}, no output of the model: {did_you_mean(key, names)}")
        if place in labels:
            return Unmatched(f"`task.labels` names output {place} twice")
        if label in labels.values():
            return Unmatched(f"`task.labels` gives {label!r} to two outputs; each label belongs to one")
        labels[place] = label
    for place, name in enumerate(names):
        if place not in labels and name not in labels.values():
            labels[place] = name
    if without := sorted(set(range(len(names))) - set(labels)):
        return Unmatched(
            f"`task.labels` leaves out output {without[0]}, {names[without[0]]!r}, whose name it gives away"
        )
    if missing := [label for label in found if label not in labels.values()]:
        strange = [label for label in given.values() if label not in found]
        hint = f"; {did_you_mean(strange[0], missing)}" if strange else ""
        return Unmatched(f"`task.labels` gives no output to {_listed(missing)} of the data{hint}")
    return Matched(tuple(labels[place] for place in range(len(names))), "as `task.labels` says")


def _output(names: Sequence[str], key: str) -> int | None:
    """A name comes before a number: a model may call its outputs '1', '2', '3'."""
    if list(names).count(key) == 1:
        return list(names).index(key)
    return int(key) if re.fullmatch(r"\d{1,6}", key) and int(key) < len(names) else None


def _by_spelling(names: Sequence[str], found: Sequence[str]) -> Matched | None:
    """Alike but for case, spaces and the way in which a number is written."""
    ours = {_plain(name): place for place, name in enumerate(names)}
    theirs = {_plain(label): label for label in found}
    if len(ours) < len(names) or len(theirs) < len(found) or not set(theirs) <= set(ours):
        return None
    labels = list(names)
    for plain, label in theirs.items():
        labels[ours[plain]] = label
    return Matched(tuple(labels), f"names differ in their spelling alone: {_pairs(names, labels)}")


def _by_number_inside(names: Sequence[str], found: Sequence[str]) -> Matched | None:
    """Both hold one number each: '4 stars' and '4', 'class 2' and '__label__2'."""
    ours = {_number_inside(name): place for place, name in enumerate(names)}
    theirs = {_number_inside(label): label for label in found}
    apart = len(ours) == len(names) and len(theirs) == len(found)
    if not apart or None in theirs or None in ours or not set(theirs) <= set(ours):
        return None
    labels = list(names)
    for number, label in theirs.items():
        labels[ours[number]] = label
    return Matched(tuple(labels), f"labels were told by their numbers: {_pairs(names, labels)}")


def _by_number(names: Sequence[str], found: Sequence[str]) -> Matched | None:
    """Data that number the outputs, from 0."""
    numbers = {label: _value(label) for label in found}
    if not all(value is not None and value in range(len(names)) for value in numbers.values()):
        return None
    labels = list(names)
    for label, value in numbers.items():
        labels[int(value or 0)] = label
    return Matched(tuple(labels), f"the data number the model's outputs: {_pairs(names, labels)}")


def _by_order(names: Sequence[str], found: Sequence[str]) -> Matched | None:
    """As many as the model has outputs, and one of the two is numbers alone or says nothing."""
    numbered = all(_value(label) is not None for label in found)
    if len(found) != len(names) or not (numbered or is_anonymous(names)):
        return None
    labels = ordered(found)
    how = f"labels were taken in their order: {_pairs(names, labels)}"
    return Matched(tuple(labels), how, is_guess=not numbered)


def _unlike(names: Sequence[str], found: Sequence[str]) -> Unmatched:
    known = {_plain(name) for name in names}
    missing = [label for label in found if _plain(label) not in known]
    if len(missing) < len(found):
        return Unmatched(f"the model has no output for {_listed(missing)} of the data; it knows {_listed(names)}")
    return Unmatched(f"the labels {_listed(found)} of the data are not those of the model, {_listed(names)}")


def is_anonymous(names: Sequence[str]) -> bool:
    """Whether names say no more than the number of their output."""
    said = [_ANONYMOUS.fullmatch(name) for name in names]
    return all(
        (match and int(match[1]) == place) or name.strip() == str(place)
        for place, (name, match) in enumerate(zip(names, said, strict=True))
    )


def answer_table(answers: NDArray[np.int64], truth: NDArray[np.int64], outputs: int) -> NDArray[np.int64]:
    """[outputs, labels]: how often the model gave an output for a text of a label."""
    return np.bincount(answers * outputs + truth, minlength=outputs * outputs).reshape(outputs, outputs)


def better_order(seen: NDArray[np.int64], held_out: NDArray[np.int64]) -> list[int] | None:
    """The label of each output under which the answers of both tables are right most often, or None. It must be so on
    texts that it was not chosen by, beyond chance, and there better than the commonest label (McNemar's test)."""
    order, own = _best_order(seen), range(len(held_out))
    moved = [place for place in own if order[place] != place]
    won = int(sum(held_out[place, order[place]] for place in moved))
    lost = int(sum(held_out[place, place] for place in moved))
    if not _beats_the_commonest(held_out, order) or won - lost <= _SWITCHED * math.sqrt(won + lost):
        return None
    return _best_order(seen + held_out)


def fitting_order(seen: NDArray[np.int64], held_out: NDArray[np.int64]) -> list[int] | None:
    """The same where the outputs have no labels yet."""
    return _best_order(seen + held_out) if _beats_the_commonest(held_out, _best_order(seen)) else None


def is_confirmed(table: NDArray[np.int64]) -> bool:
    """Whether answers fit worse once any two outputs change labels, by more than one standard error."""
    own = np.diag(table)[:, None] + np.diag(table)
    swapped = table + table.T
    np.fill_diagonal(swapped, 0)
    return bool((own - swapped > np.sqrt(own + swapped)).all())


def right_answers(table: NDArray[np.int64], order: Sequence[int]) -> int:
    """How many, if output i means the label `order[i]`."""
    return int(sum(table[place, label] for place, label in enumerate(order)))


def could_be_better(table: NDArray[np.int64]) -> bool:
    """Whether another order gains a twentieth of the texts: cause to look at more of them."""
    gained = right_answers(table, _best_order(table)) - int(np.trace(table))
    return gained > int(table.sum()) / 20


def _beats_the_commonest(table: NDArray[np.int64], order: Sequence[int]) -> bool:
    count, commonest = int(table.sum()), int(table.sum(axis=0).max())
    chance = _SWITCHED * math.sqrt(max(commonest, 1) * (1 - commonest / max(count, 1)))
    return right_answers(table, order) - commonest > chance


def _best_order(table: NDArray[np.int64]) -> list[int]:
    """The fullest cells first: exact for tables that one order explains, which is what is looked for. Outputs that
    answered nothing keep their label where it is free."""
    outputs = len(table)
    order: list[int] = [-1] * outputs
    taken: set[int] = set()
    for flat in np.argsort(-table, axis=None, kind="stable"):
        place, label = divmod(int(flat), outputs)
        if order[place] < 0 and label not in taken and table[place, label]:
            order[place] = label
            taken.add(label)
    free = [label for label in range(outputs) if label not in taken]
    for place in (place for place in range(outputs) if order[place] < 0):
        order[place] = free.pop(free.index(place) if place in free else 0)
    return order


def labels_block(names: Sequence[str], labels: Sequence[str]) -> str:
    """What to write under `task` of a study, in one line of YAML."""
    by_number = is_anonymous(names) or len(set(names)) < len(names)
    keys = [str(place) if by_number else _quoted(name) for place, name in enumerate(names)]
    return f"labels: {{{', '.join(f'{key}: {_quoted(label)}' for key, label in zip(keys, labels, strict=True))}}}"


def _quoted(text: str) -> str:
    is_plain = _PLAIN_TEXT.fullmatch(text) and text.lower() not in _YAML_WORDS
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _value(label: str) -> float | None:
    return float(label) if _NUMBER.fullmatch(label) and len(label) < 16 else None


def _number_inside(name: str) -> float | None:
    digits = re.findall(r"\d+", name)
    return _value(name) if len(digits) != 1 or _value(name) is not None else float(digits[0][:15])


def _plain(name: str) -> str:
    value = _value(name.strip())
    return re.sub(r"[\s_-]+", " ", name.strip()).casefold() if value is None else f"{value:g}"


def _pairs(names: Sequence[str], labels: Sequence[str]) -> str:
    told = [f"{name} is {label}" for name, label in zip(names, labels, strict=True) if name != label]
    return ", ".join(told[:_SHOWN]) + (f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else "")


def _listed(labels: Sequence[str]) -> str:
    told = ", ".join(map(repr, labels[:_SHOWN]))
    return f"{told} and {len(labels) - _SHOWN} more" if len(labels) > _SHOWN else told
