"""Passwords and tokens: where they stand in what a user gives, and text without them.

A URL whose password holds `@`, `/` or `#` can be read in several ways. Here every reading counts: what may be a part of
a password is treated as one.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, quote_plus, unquote, unquote_plus

MASK: Final = "***"
VARIABLES: Final = (
    "AUTOCOMPRESS_STORAGE",
    "PGPASSWORD",
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HUGGINGFACEHUB_API_TOKEN",
)
"""Of the environment, which hold a secret; no worker needs any of them."""

_URL: Final = re.compile(r"^\s*[\w+.-]+:/{0,2}(?P<rest>.*@.*)$", re.DOTALL)
_NAMED: Final = re.compile(r"(?i)(?:pass\w*|pwd|secret|token)\s*=(?P<value>.*)", re.DOTALL)
_LEAST: Final = 4
"""Fewer characters in a row are shared by any two texts."""


def secrets_in(text: str) -> set[str]:
    """Everything in a URL, or in a list of `key=value`, that is a password by any reading of it."""
    found: set[str] = set()
    if (url := _URL.match(text)) is not None:
        found |= _before_at(url["rest"])
    if re.match(r"\s*postgres", text, re.IGNORECASE):
        found.add(text.partition("?")[2])
    if not re.match(r"\s*[\w+.-]+://", text):  # no URL at all, but USER:PASSWORD@HOST
        found |= _before_at(text)
    for named in _NAMED.finditer(text):
        value = named["value"]
        found |= {value, value.partition("&")[0], value.partition("#")[0].partition("&")[0], value.split(" ")[0]}
    return {secret for secret in found if secret}


def _before_at(text: str) -> set[str]:
    """What stands between the first colon and each `@` behind it."""
    found = set()
    for place, character in enumerate(text):
        _, colon, password = text[:place].partition(":") if character == "@" else ("", "", "")
        found |= {password.lstrip("/"), f":{password}@"} if colon else set()
    return found


def secrets_of(arguments: Iterable[str], environment: Mapping[str, str]) -> set[str]:
    """Everything in a command line and its environment that must not be shown."""
    found: set[str] = set()
    for given in (*arguments, environment.get("AUTOCOMPRESS_STORAGE", "")):
        found |= secrets_in(given.partition("=")[2] if given.startswith("--") and "=" in given else given)
    return found | {environment[name] for name in VARIABLES[1:] if environment.get(name)}


def forms(secret: str) -> set[str]:
    """A secret as it may stand in a message: as it was given, decoded, encoded, and between quotes."""
    plain = {secret, unquote(secret), unquote_plus(secret)}
    coded = {code(one, safe="") for one in plain for code in (quote, quote_plus)}
    escaped = {repr(one)[1:-1] for one in plain} | {one.encode("unicode_escape").decode() for one in plain}
    return {one for one in plain | coded | escaped if one}


def masked(text: str, secrets: Iterable[str], *, least: int = _LEAST) -> str:
    """The text with every secret masked, in any of its forms. One of fewer characters than `least` stands in any text
    by chance, and is masked between its colon and its `@` alone."""
    every = {form for secret in secrets for form in forms(secret) if len(form) >= least or form[0] + form[-1] == ":@"}
    hidden = bytearray(len(text))
    for form in every:  # each in the whole text: two readings overlap, and neither holds the other
        place = text.find(form)
        while place >= 0:
            hidden[place : place + len(form)] = b"\1" * len(form)
            place = text.find(form, place + 1)
    spans = itertools.groupby(range(len(text)), key=hidden.__getitem__)
    return "".join(MASK if is_hidden else "".join(text[i] for i in places) for is_hidden, places in spans)


def shows_part(text: str, secrets: Iterable[str]) -> bool:
    """Whether a text holds a short secret, or any few characters in a row of a longer one."""
    lower = text.lower()
    for form in {form.lower() for secret in secrets for form in forms(secret)}:
        size = min(_LEAST, len(form))
        if any(form[place : place + size] in lower for place in range(len(form) - size + 1)):
            return True
    return False
