"""Every error a user can meet, and the exit code each one ends the program with.

AutocompressError (1)          something unexpected
├── SpecError (2)              a YAML file, an option or a value you gave
├── NotFoundError (3)          a study, a candidate or a file that is not there
├── HostError (4)              this machine: a missing library, a hub out of reach, a read-only folder
├── StoreError (5)             the study database
│   ├── StudyLockedError       another process is running this study
│   ├── DiskFullError (4)      no room for it: that is this machine's, not the database's fault
│   └── SchemaError            the database belongs to another version
├── ExhaustedError (6)         the failure budget is spent, or nothing in the space is feasible
├── IntegrityError (7)         a file, or a score, is not what it was when it was written
├── CandidateError             this one candidate cannot be built or judged; the search goes on
└── Interrupted (130)          stopped by the user; the study can be resumed

A message says where, the rule, what was got, what is allowed, and the fix.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AutocompressError(Exception):
    """Root of every error raised on purpose."""

    exit_code = 1


class SpecError(AutocompressError):
    """The input is wrong; `problems` holds every mistake found, one line each."""

    exit_code = 2

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class NotFoundError(AutocompressError):
    """What was named does not exist."""

    exit_code = 3


class HostError(AutocompressError):
    """This machine cannot do what was asked."""

    exit_code = 4


class StoreError(AutocompressError):
    """The database could not be read or written."""

    exit_code = 5


class StudyLockedError(StoreError):
    """Another live process holds the study."""


class DiskFullError(StoreError):
    """The disk that the database's file lies on is full."""

    exit_code = HostError.exit_code


class SchemaError(StoreError):
    """The database was written by another version of autocompress."""


class ExhaustedError(AutocompressError):
    """The search cannot go on: too many failures, or no feasible candidate."""

    exit_code = 6


class IntegrityError(AutocompressError):
    """A stored file changed, is truncated or does not match its manifest."""

    exit_code = 7


class CandidateError(AutocompressError):
    """One candidate failed for a reason of its own; the search goes on."""


class Interrupted(AutocompressError):
    """The user stopped the run; everything finished is stored."""

    exit_code = 130


def did_you_mean(got: str, allowed: Iterable[str]) -> str:
    """The tail of an error: the allowed names, the nearest one first when there is one.

    >>> did_you_mean("nsga", ["nsga2", "tpe"])
    "did you mean 'nsga2'? (allowed: nsga2, tpe)"
    """
    names = sorted(allowed)
    near = difflib.get_close_matches(got, names, n=1)
    listed = f"allowed: {', '.join(names) or 'none'}"
    return f"did you mean '{near[0]}'? ({listed})" if near else listed
