"""Which columns hold the texts, and which the labels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Final

from autocompress.core.task_kinds import form_of
from autocompress.errors import SpecError, did_you_mean
from autocompress.guessing.checkpoints import Checkpoint
from autocompress.guessing.columns import Column
from autocompress.guessing.reasons import Reason, quoted
from autocompress.reading.pairs import is_pair

_TEXTS: Final = (
    {"text", "sentence", "content", "tweet", "document", "utterance", "message"},
    {"text", "texts", "sentence", "content", "body", "review", "tweet", "document", "utterance", "message", "comment"}
    | {"query", "question", "passage", "description", "article", "post", "snippet", "words", "tokens"},
    {"title", "headline", "subject", "summary", "name"},
)
"""Names of columns of texts: those that say nothing else, those that hold such a word, those of a part of a text."""
_LABELS: Final = (
    {"label", "labels", "target", "class", "gold", "goldlabel"},
    {"label", "labels", "target", "class", "category", "categories", "tag", "tags", "sentiment", "intent", "emotion"}
    | {"topic", "topics", "rating", "stars", "score", "polarity", "gold", "annotation", "verdict", "y"},
)
_EXACT: Final = 3
_OPTIONS: Final = {"text": "--text COLUMN", "text_pair": "--pair COLUMN", "label": "--label COLUMN"}


@dataclass(frozen=True, slots=True)
class Named:
    """Columns that the user named."""

    text: str | None = None
    pair: str | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class Roles:
    """The columns that a study reads, with reasons; `ignored` are those that look like the second text of a pair and
    shall not be read."""

    text: Column
    label: Column
    pair: Column | None = None
    ignored: tuple[str, ...] = ()
    reasons: tuple[Reason, ...] = field(default=())


def roles_of(
    where: str,
    columns: Sequence[Column],
    checkpoint: Checkpoint,
    *,
    named: Named = Named(),
    kind: str | None = None,
    cells: Mapping[str, Sequence[Any]] | None = None,
) -> Roles:
    """`kind` is the task that the user asked for, if any; `cells` tell of two columns whether one says what the other
    says. Raises SpecError, naming the options that settle it, where the columns do not tell."""
    by_name = {one.name: one for one in columns}
    for option, name in (("--text", named.text), ("--pair", named.pair), ("--label", named.label)):
        if name is not None and name not in by_name:
            raise SpecError(f"{option}: {where} has no column {name!r}; {did_you_mean(name, by_name)}")
    _refuse_doubled(named)
    if _wants_words(columns, kind):
        return _words_and_tags(where, by_name, named)
    label, why_label = label_of(where, columns, checkpoint, named, kind, cells or {})
    rest = [one for one in columns if one is not label]
    text, pair, why_text = _texts(where, rest, named, kind)
    reasons = [Reason("text", repr(text.name), why_text)]
    if pair:
        reasons.append(Reason("second text", repr(pair.name), "you named it" if named.pair else why_text))
    reasons.append(Reason("label", repr(label.name), why_label))
    used = {text.name, label.name, pair.name if pair else ""}
    ignored = (
        () if pair else tuple(one.name for one in columns if one.name not in used and is_pair(text.name, one.name))
    )
    unread = [one.name for one in rest if one.holds == "texts" and one.name not in used]
    if unread:
        reasons.append(Reason("not read", quoted(unread), "holds texts too; `--text` or `--pair` would read it"))
    return Roles(text, label, pair, ignored, tuple(reasons))


def _refuse_doubled(named: Named) -> None:
    given = [name for name in (named.text, named.pair, named.label) if name is not None]
    if len(set(given)) < len(given):
        twice = next(name for name in given if given.count(name) > 1)
        raise SpecError(f"--text, --pair and --label: {twice!r} is named twice; each is a column of its own")


# Words with tags


def _wants_words(columns: Sequence[Column], kind: str | None) -> bool:
    if kind is not None:
        return form_of(kind).targets == "tags"
    return len(_aligned(columns)) > 1


def _aligned(columns: Sequence[Column]) -> list[Column]:
    """Columns of lists that are equally long in every row."""
    lists = [one for one in columns if one.holds == "lists" and any(one.lengths)]
    return [one for one in lists if sum(1 for other in lists if other.lengths == one.lengths) > 1]


def _words_and_tags(where: str, by_name: Mapping[str, Column], named: Named) -> Roles:
    lists = _aligned(list(by_name.values()))
    if named.text is None and not lists:
        raise SpecError(
            f"{where}: has no list of words beside a list of as many tags, which token-classification reads; it has "
            f"{_told(list(by_name.values()))}"
        )
    words = by_name[named.text] if named.text else max(lists, key=lambda one: one.distinct)
    tags = [one for one in lists if one is not words]
    if named.label:
        label, why = by_name[named.label], "you named it"
    else:
        label, why = _one_of(where, "label", tags, _LABELS), "a tag for each word"
    return Roles(
        words,
        label,
        reasons=(
            Reason("text", repr(words.name), "you named it" if named.text else "lists of words"),
            Reason("label", repr(label.name), why),
        ),
    )


# Labels


def label_of(
    where: str,
    columns: Sequence[Column],
    checkpoint: Checkpoint,
    named: Named,
    kind: str | None,
    cells: Mapping[str, Sequence[Any]] = MappingProxyType({}),
) -> tuple[Column, str]:
    """The column of labels, and why it is. Raises SpecError where the columns do not tell."""
    if named.label is not None:
        return next(one for one in columns if one.name == named.label), "you named it"
    fitting = _fitting(columns, kind, named)
    if not fitting:
        raise SpecError(
            f"{where}: no column looks like one of labels ({_told(columns)}); name it with {_OPTIONS['label']}"
        )
    if len(fitting) == 1:
        return fitting[0], f"the only column that could be; it {fitting[0].why}"
    answers = {name.casefold() for name in checkpoint.named}
    known = [one for one in fitting if one.classes and {name.casefold() for name in one.classes} <= answers]
    if len(known) == 1:
        return known[0], f"its {known[0].distinct} values are answers of the model"
    best = _best(fitting, _LABELS)
    if len(best) > 1 and (spoken := _the_same(best, cells)):
        return spoken, f"{quoted([one.name for one in best if one is not spoken])} says the same in other words"
    return _one_of(where, "label", fitting, _LABELS), f"its name says so; it {best[0].why}"


def _fitting(columns: Sequence[Column], kind: str | None, named: Named) -> list[Column]:
    """What could be labels of the task, or of any."""
    texts = {named.text, named.pair}
    wanted = {"class": {"classes"}, "amount": {"amounts", "classes"}, "classes": {"lists"}, "tags": {"lists"}}
    held = wanted[form_of(kind).targets] if kind else {"classes", "amounts", "lists"}
    found = [one for one in columns if one.holds in held and one.name not in texts]
    if kind and form_of(kind).targets == "amount":
        found = [one for one in found if one.holds == "amounts" or one.whole]
    if kind and form_of(kind).targets == "class" and not found:
        found = [one for one in columns if one.holds == "amounts" and one.whole]
    return found


def _the_same(columns: Sequence[Column], cells: Mapping[str, Sequence[Any]]) -> Column | None:
    """Of columns each of which tells the others, such as a number and its name, the one in words."""
    if any(one.name not in cells for one in columns):
        return None
    rows = list(zip(*(map(str, cells[one.name]) for one in columns), strict=True))
    if any(len(set(rows)) != len({row[place] for row in rows}) for place in range(len(columns))):
        return None
    return max(columns, key=lambda one: not one.whole)


# Texts


def _texts(where: str, columns: Sequence[Column], named: Named, kind: str | None) -> tuple[Column, Column | None, str]:
    by_name = {one.name: one for one in columns}
    pairs = form_of(kind).pairs if kind else "maybe"
    if pairs == "never" and named.pair:
        raise SpecError(f"--pair: {kind} reads one text a row; `--task sentence-pairs` reads two")
    if named.text is not None:
        second = by_name[named.pair] if named.pair else None
        if second is None and pairs == "always":
            second = _one_of(where, "text_pair", _of_texts(columns, but=named.text), _TEXTS)
        return by_name[named.text], second, "you named it"
    candidates = _of_texts(columns, but=named.pair)
    if named.pair:
        return _one_of(where, "text", candidates, _TEXTS), by_name[named.pair], "the other column of texts"
    paired = [(a, b) for a in candidates for b in candidates if a is not b and is_pair(a.name, b.name)]
    both = {frozenset((a.name, b.name)) for a, b in paired}
    if pairs != "never" and len(both) == 1:
        first, second = sorted(paired[0], key=columns.index)
        return first, second, "the two are named as a pair"
    if pairs == "always" and len(candidates) == 2:
        return candidates[0], candidates[1], "the two columns of texts, and the task reads pairs"
    if pairs == "always":
        raise SpecError(
            f"{where}: {kind} reads two texts a row, and {_told(candidates) or 'no column'} could be one; name them "
            f"with {_OPTIONS['text']} and {_OPTIONS['text_pair']}"
        )
    if len(candidates) == 1:
        return candidates[0], None, f"the only column of texts, {candidates[0].words:.0f} words a row in the mean"
    chosen = _one_of(where, "text", candidates, _TEXTS)
    return chosen, None, f"its name says so; it {chosen.why}"


def _of_texts(columns: Sequence[Column], *, but: str | None) -> list[Column]:
    """Short texts count only where there are no others: they may be names."""
    found = [one for one in columns if one.holds == "texts" and one.name != but]
    plain = [one for one in found if one.is_plainly_text]
    if plain or found:
        return plain or found
    named = [one for one in columns if _score(one.name, _TEXTS) == _EXACT and one.name != but]
    return [one for one in named if one.holds == "other" and one.distinct > 1]


# By their names


def _one_of(where: str, what: str, candidates: Sequence[Column], names: Sequence[set[str]]) -> Column:
    """The one whose name says it best. Raises SpecError where none or several do."""
    best = _best(candidates, names)
    if len(best) == 1:
        return best[0]
    noun = {"text": "texts", "text_pair": "second texts", "label": "labels"}[what]
    if not candidates:
        raise SpecError(f"{where}: no column looks like one of {noun}; name it with {_OPTIONS[what]}")
    more = f", or both with {_OPTIONS['text']} {_OPTIONS['text_pair']}" if what == "text" else ""
    raise SpecError(
        f"{where}: several columns could hold the {noun}: {_told(best)}; say which with {_OPTIONS[what]}{more}"
    )


def _best(candidates: Sequence[Column], names: Sequence[set[str]]) -> list[Column]:
    """All where no name says anything."""
    scores = [_score(one.name, names) for one in candidates]
    return [one for one, score in zip(candidates, scores, strict=True) if score == max(scores)]


def _score(name: str, names: Sequence[set[str]]) -> int:
    words = re.findall(r"[^\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
    if "".join(words) in names[0]:
        return _EXACT
    return next((_EXACT - place for place, known in enumerate(names) if place and known & set(words)), 0)


def _told(columns: Sequence[Column]) -> str:
    return ", ".join(f"{one.name!r} ({one.why})" for one in columns)
