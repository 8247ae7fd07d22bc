"""Which layer of the teacher each layer of the student learns from."""

from __future__ import annotations

from collections.abc import Sequence

from autocompress.core.training_spec import LayerMap
from autocompress.errors import did_you_mean

_KNOWN: tuple[LayerMap, ...] = ("kept", "uniform", "last", "learned")


def layer_map(kept: Sequence[int], depth: int, how: str) -> list[tuple[int, int]]:
    """Pairs (place of a student's layer, place of a teacher's), in the student's order.

    `kept` are the places that the student's layers had in the teacher, of `depth` layers.

    kept     each layer learns from the one it was cut from
    uniform  the teacher's layers are cut into as many equal groups as the student has layers, and the last of a group
             teaches (Jiao et al. 2020, TinyBERT, section 3.1: every third layer of twelve for a student of four)
    last     only the student's last layer learns, from the teacher's last (Wang et al. 2020, MiniLM, section 3.1)
    learned  every pair there is, student by student: whoever calls weighs the teacher's layers, and trains the weights

    Raises ValueError when the student has no layer or one that the teacher has not, or is deeper.
    """
    students = len(kept)
    if not 0 < students <= depth:
        raise ValueError(f"a student of {students} layers cannot learn from a teacher of {depth}")
    if how == "kept":
        if strangers := [layer for layer in kept if not 0 <= layer < depth]:
            raise ValueError(
                f"layer {strangers[0]} of the student was not cut from this teacher, which has {depth}; "
                "choose `layer_map: uniform`"
            )
        return list(enumerate(kept))
    if how == "uniform":
        return [(place, (place + 1) * depth // students - 1) for place in range(students)]
    if how == "last":
        return [(students - 1, depth - 1)]
    if how == "learned":
        return [(place, layer) for place in range(students) for layer in range(depth)]
    raise ValueError(f"no layer map is called {how!r}; {did_you_mean(how, _KNOWN)}")
