"""Strikes real studies with every fault that a machine knows, and counts what was lost, done twice or stuck.

    python studies/benchmarks/faults.py [--only KIND ...] [--anew] [--spawned]

A kind is asked for by its name (`signals`), or a part of it (`"signals, 2, SQLite"`). Rows are kept as each part ends,
with the commit that they were seen with. A run that was cut off goes on with the parts that are missing, in the order
of the kinds that were asked for; `--anew` takes those again. Several runs of different parts may share the table. A
short form of it is `tests/test_faults.py`.
"""

from __future__ import annotations

import argparse
import datetime
import fcntl
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from record import RESULTS, commit, keep, kept

ROOT = Path(__file__).parents[2]


def column(row: dict[str, Any], name: str) -> str:
    """A cell of the table."""
    if name == "seconds":
        found = row["seconds"]
        return f"{found['median']:.1f} (at most {found['longest']:.1f})" if found else ""
    if name == "wrong":
        return str(len(row["wrong"]))
    return str(row[name])


COLUMNS = {
    "kind of fault": "kind",
    "how injected": "injected",
    "database": "database",
    "workers": "workers",
    "times": "times",
    "lost": "lost",
    "twice": "twice",
    "stuck": "stuck",
    "else wrong": "wrong",
    "seconds to go on": "seconds",
    "commit": "commit",
}


def table(rows: list[dict[str, Any]], parts: Iterable[str]) -> str:
    """All rows, and which parts of the table there are none of yet."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---|---|---|---|" + "---:|" * 6 + "---|"]
    lines += ["| " + " | ".join(column(row, name) for name in COLUMNS.values()) + " |" for row in rows]
    if missing := [name for name in parts if not any(row["part"] == name for row in rows)]:
        lines += ["", f"**Missing**, not taken yet: {'; '.join(missing)}."]
    return "\n".join(lines) + "\n"


def rows_kept() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = kept("faults", {"rows": []}, anywhere=True)["rows"]  # counts, of hours
    return rows


def keep_part(name: str, found: Sequence[dict[str, Any]], parts: Sequence[str]) -> None:
    """Puts the rows of a part in the place of those that it had."""
    with alone():
        rows = [*(row for row in rows_kept() if row["part"] != name), *found]
        rows.sort(key=lambda row: parts.index(row["part"]) if row["part"] in parts else len(parts))
        keep("faults", {"rows": rows})
        (RESULTS / "faults.md").write_text(table(rows, parts), encoding="utf-8")


@contextmanager
def alone() -> Iterator[None]:
    """Inside, no other run of this benchmark changes the table."""
    folder = os.open(RESULTS, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def wanted(only: Sequence[str] | None, parts: Iterable[str]) -> list[str]:
    """The parts that are asked for, each once. Raises ValueError for a name that is none's."""
    found: dict[str, None] = {}
    for name in only or [""]:
        named = [part for part in parts if not name or part == name or part.startswith(f"{name}, ")]
        if not named:
            raise ValueError(f"--only {name!r}: no such kind; there are {'; '.join(parts)}")
        found.update(dict.fromkeys(named))
    return list(found)


def main() -> None:
    sys.path.insert(0, str(ROOT))
    # threads that wait for a core must not keep it busy, and forked programs have it from this one
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    os.environ["PYTHONPATH"] = str(ROOT)
    from tests.faults.kinds import cells
    from tests.faults.programs import forked, spawned
    from tests.postgres import running_server

    every = cells()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", metavar="KIND")
    parser.add_argument("--anew", action="store_true")
    parser.add_argument("--spawned", action="store_true", help="every process begins with its imports, as users' do")
    options = parser.parse_args()
    try:
        parts = wanted(options.only, every)
    except ValueError as error:
        parser.error(str(error))
    clean = True
    with ExitStack() as resources:
        server = None
        for name in parts:
            if not options.anew and any(row["part"] == name for row in rows_kept()):
                continue
            cell = every[name]
            if cell.on_server and server is None:
                server = resources.enter_context(running_server())
            began, found = time.monotonic(), []
            print(f"{name} ...", flush=True)
            for row in cell.run(spawned if options.spawned else forked, server if cell.on_server else None):
                clean &= row.is_clean
                date = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
                found.append({**row.to_json(), "part": name, "commit": commit(), "date": date})
                print(found[-1], flush=True)
            print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
            keep_part(name, found, list(every))
    print(table(rows_kept(), every))
    sys.exit(not clean)


if __name__ == "__main__":
    main()
