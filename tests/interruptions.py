"""Ctrl-C and SIGTERM at random moments of a small study, through all of its stages, and what is left of it.

    python -m tests.interruptions [--moments 40] [--workers 0 2] [--twice] [--forked] [--chained 5] [--group] [--seed 1]

At every moment a fresh study is begun by the real command line, interrupted, looked at, and gone on with. It must end
with 130 or 143, one line that says how to go on, no traceback, the state `interrupted`, no process left 15 seconds
later; and resumed it must find what a study that was left alone finds.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Protocol

import psutil

import autocompress
from autocompress.errors import AutocompressError
from autocompress.store import Store
from tests.fresh import FRESH
from tests.given_study import BOARD, write_data, write_model, write_study

NAME: Final = "mine"
ROOT: Final = Path(autocompress.__path__[0]).parent
PATIENCE: Final = 600.0
LEFT_SECONDS: Final = 15.0
BUDGET: Final = 10

Front = dict[str, float | None]
"""Digest of each verified finalist -> its quality; of a rejected one, None."""


@dataclass(frozen=True)
class Moment:
    """When which signal is sent, in seconds after the program can hear it, or after it says that a `stage` begins, and
    how often; to the program, or to all of its group, as a terminal's Ctrl-C is."""

    number: int
    after: float
    signal: signal.Signals
    workers: int
    twice: bool = False
    stage: str = ""
    group: bool = False

    def __str__(self) -> str:
        often = f"{', twice' if self.twice else ''}{' to the group' if self.group else ''}"
        where = f"{self.stage!r} + " if self.stage else "after "
        return f"{self.number}: {self.signal.name}{often} {where}{self.after:.2f} s, {self.workers} workers"


@dataclass
class Seen:
    """What became of one moment; `wrong` says what should not be."""

    moment: Moment
    code: int = 0
    state: str = ""
    stage: str = ""
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        verdict = "; ".join(self.wrong) or "ok"
        return f"{self.moment}: exit {self.code}, {self.state or 'not stored'} in {self.stage!r}, {verdict}"


def write_project(folder: Path, *, measured: bool) -> None:
    """Its teacher is trained. What it searches for is counted, not measured: candidates and front must not hang on how
    busy the machine is. Unless this machine is to be `measured`, the device is one that is not here."""
    write_data(folder / "texts.csv", rows=120)
    write_model(folder / "model", head=False)
    (folder / "board.yaml").write_text(BOARD)
    finalists = {"count": 2, "training": {"epochs": 2, "batch_size": 16, "learning_rate": 5.0e-3}}
    write_study(
        folder,
        name=NAME,
        device="host" if measured else "board.yaml",
        budget={"trials": BUDGET},
        objectives={"quality": "maximize", "size_mb": "minimize", "macs": "minimize"},
        elastic={"steps": 16, "batch_size": 16, "learning_rate": 1.0e-3},
        teacher={"epochs": 20, "batch_size": 16, "learning_rate": 3.0e-3},
        finalists=finalists,
    )


class Program(Protocol):
    """A command line that runs."""

    @property
    def pid(self) -> int: ...

    def exit_code(self, seconds: float) -> int | None:
        """None when it still runs after so many seconds."""


@dataclass(frozen=True)
class Spawned:
    """A process as users start it. Its own session, so that nothing here can be hit by what it does; its words go to
    files, as pipes would be held open by what it leaves behind."""

    process: subprocess.Popen[str]

    @staticmethod
    def start(folder: Path, arguments: Sequence[str]) -> Spawned:
        with (folder / "out.txt").open("w") as out, (folder / "err.txt").open("w") as err:
            return Spawned(
                subprocess.Popen(
                    [sys.executable, "-m", "autocompress", *arguments],
                    cwd=folder,
                    env={**os.environ, **_environment(folder)},
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    text=True,
                    start_new_session=True,
                )
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    def exit_code(self, seconds: float) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self.process.wait(seconds)
        return None


@dataclass(frozen=True)
class Forked:
    """The same from a process that has imported everything already: no seconds of imports, at the price of neither
    seeing what a signal does in them nor in the interpreter's own end."""

    process: Any

    @staticmethod
    def start(folder: Path, arguments: Sequence[str]) -> Forked:
        process = FRESH.Process(target=_program, args=(folder, list(arguments)))
        process.start()
        return Forked(process)

    @property
    def pid(self) -> int:
        return int(self.process.pid)

    def exit_code(self, seconds: float) -> int | None:
        self.process.join(seconds)
        return None if self.process.exitcode is None else int(self.process.exitcode)


Start = Callable[[Path, Sequence[str]], Program]


def _environment(folder: Path) -> dict[str, str]:
    return {
        "AUTOCOMPRESS_CACHE": str(folder / "cache"),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
        "RAY_worker_niceness": "0",
    }


def _program(folder: Path, arguments: list[str]) -> None:
    """Runs in a forked process."""
    from autocompress.cli import main

    os.setsid()
    os.chdir(folder)
    os.environ.update(_environment(folder))
    for number, name in ((1, "out.txt"), (2, "err.txt")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["autocompress", *arguments]
    sys.exit(main())


def finished(start: Start, folder: Path, *arguments: str) -> tuple[int | None, str]:
    """Exit code and stderr of a command that is left alone."""
    code = start(folder, arguments).exit_code(PATIENCE)
    return code, (folder / "err.txt").read_text()


def begin(start: Start, folder: Path, workers: int) -> Program:
    return start(folder, ["resume" if state(folder) else "run", *_what(folder), "--workers", str(workers)])


def _what(folder: Path) -> list[str]:
    return [NAME] if state(folder) else [f"{NAME}.yaml"]


def until_it_hears(process: Program) -> None:
    """Returns once the program has a handler for SIGTERM: before that it is an interpreter that starts."""
    while process.exit_code(0) is None:
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            caught = int(next(line for line in lines if line.startswith("SigCgt")).split()[1], 16)
            if caught & 1 << (signal.SIGTERM - 1):
                return
        time.sleep(0.005)


def until_it_says(process: Program, folder: Path, words: str) -> None:
    while process.exit_code(0) is None and words not in (folder / "err.txt").read_text():
        time.sleep(0.02)


def descendants(process: Program) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(process.pid).children(recursive=True)
    return []


def outcome(folder: Path) -> tuple[list[str], Front]:
    """The candidates in their order, and the finalists."""
    with Store.open(str(folder / "autocompress.db"), create=False) as store:
        assert store.check(NAME) == []
        found = [record.candidate.digest for record in store.records(NAME)]
        front: Front = {}
        for one in store.finalists(NAME):
            if one.candidate.number:
                quality = {m.metric: m.value for m in one.measurements}.get("quality")
                front[one.candidate.digest] = quality if one.state == "verified" else None
    return found, front


def state(folder: Path) -> str:
    try:
        with Store.open(str(folder / "autocompress.db"), create=False) as store:
            return store.study(NAME).state
    except AutocompressError:
        return ""


def interrupted(start: Start, folder: Path, moment: Moment) -> Seen:
    """Begins a study, or goes on with it, interrupts it at the moment, and looks at what is left."""
    process = begin(start, folder, moment.workers)
    seen = Seen(moment)
    until_it_hears(process)
    if moment.stage:
        until_it_says(process, folder, f"] {moment.stage}")
    too_late = process.exit_code(moment.after) is not None
    below = descendants(process)
    sent = time.monotonic()
    for _ in range(1 + moment.twice if not too_late else 0):
        with contextlib.suppress(ProcessLookupError):
            (os.killpg if moment.group else os.kill)(process.pid, moment.signal)
        process.exit_code(random.Random(moment.number).uniform(0.0, 0.6) if moment.twice else 0.0)
        below += descendants(process)
    code = process.exit_code(PATIENCE)
    if code is None:
        os.kill(process.pid, signal.SIGKILL)
        seen.wrong.append(f"it was still there after {PATIENCE:.0f} s")
    seen.code, seen.seconds = code or 0, time.monotonic() - sent
    _judge(seen, folder, too_late=too_late)
    left = psutil.wait_procs(below, timeout=LEFT_SECONDS)[1]
    seen.wrong += [f"process {one.pid} is left: {' '.join(_command(one))[:80]}" for one in left]
    return seen


def _judge(seen: Seen, folder: Path, *, too_late: bool) -> None:
    said, seen.state = (folder / "err.txt").read_text(), state(folder)
    stages = [line.split("] ", 1)[1] for line in said.splitlines() if line.startswith("[") and "] " in line]
    seen.stage = stages[-1][:40] if stages else "start"
    if "Traceback" in said or "Error:" in said or "***" in said:
        seen.wrong.append(f"it said: {said[-2000:]}")
    if too_late:
        if seen.code:
            seen.wrong.append("it failed before it was interrupted")
        return
    # a signal in the interpreter's own last moments, when everything is stored and said
    codes = {128 + seen.moment.signal} | ({-seen.moment.signal} if seen.state == "complete" else set())
    if seen.code not in codes:
        seen.wrong.append(f"exit {seen.code} instead of {128 + seen.moment.signal}")
    if seen.state not in ("interrupted", "complete", ""):
        seen.wrong.append(f"its state is {seen.state!r}")
    wanted = "Run it again" if not seen.state else f"autocompress resume {NAME}"
    if seen.state != "complete" and said.count(wanted) != 1:
        seen.wrong.append(f"no line says how to go on: {said[-500:]}")


def _command(process: psutil.Process) -> Sequence[str]:
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def gone_on_with(start: Start, folder: Path, seen: Seen, whole: tuple[list[str], Front]) -> None:
    """Resumes it, or begins it where nothing was stored, and compares what it found with a study left alone. With
    several workers outcomes come in another order each time, and so do proposals: then all that is compared is how many
    there are."""
    code = begin(start, folder, seen.moment.workers).exit_code(PATIENCE)
    if code or state(folder) != "complete":
        said = (folder / "err.txt").read_text()
        seen.wrong.append(f"gone on with, it ended with {code} and {state(folder)!r}: {said[-2000:]}")
        return
    found = outcome(folder)
    with Store.open(str(folder / "autocompress.db"), create=False) as store:
        counts = store.counts(NAME)
    if counts.evaluated != BUDGET or counts.running or counts.pending:
        seen.wrong.append(f"gone on with, it counts {counts}")
    if seen.moment.workers <= 1 and found != whole:
        seen.wrong.append(f"gone on with, it found {found} instead of {whole}")


@contextlib.contextmanager
def project(*, measured: bool = False, taught: Path | None = None) -> Iterator[Path]:
    """A fresh project. Training its teacher takes half of a small study's time: another one's cache may have it."""
    with tempfile.TemporaryDirectory(prefix="interruptions-") as name:
        folder = Path(name)
        write_project(folder, measured=measured)
        for kind in ("teachers", "digests") if taught is not None else ():
            shutil.copytree(taught / kind, folder / "cache" / kind)
        yield folder


def moments(many: int, seconds: float, *, workers: int, twice: bool, seed: int) -> list[Moment]:
    """Spread over the time that the study takes, each somewhere in its own part of it; signals in turns."""
    generator = random.Random(f"{seed} {workers} {twice}")
    kinds = (signal.SIGINT, signal.SIGTERM)
    places = [(number + generator.random()) / many * seconds for number in range(many)]
    return [Moment(number, at, kinds[number % 2], workers, twice) for number, at in enumerate(places)]


def in_stages(stages: Sequence[str], *, workers: int, seed: int, once: bool = False) -> list[Moment]:
    """Both signals, once and (unless `once` is all) twice, within three seconds after each stage begins."""
    generator = random.Random(seed)
    often = (False,) if once else (False, True)
    ways = [(number, twice) for number in (signal.SIGTERM, signal.SIGINT) for twice in often]
    kinds = [(stage, number, twice) for stage in stages for number, twice in ways]
    return [
        Moment(place, generator.uniform(0.0, 3.0), number, workers, twice, stage)
        for place, (stage, number, twice) in enumerate(kinds)
    ]


def left_alone(start: Start, folder: Path, workers: int) -> tuple[float, tuple[list[str], Front]]:
    """How long the study takes after the program can hear signals, and what it finds."""
    process = begin(start, folder, workers)
    until_it_hears(process)
    began = time.monotonic()
    code = process.exit_code(PATIENCE)
    assert code == 0, (folder / "err.txt").read_text()
    return time.monotonic() - began, outcome(folder)


def series(
    start: Start, many: Sequence[Moment], whole: tuple[list[str], Front], cache: Path, *, measured: bool
) -> Iterator[Seen]:
    """A fresh study for every moment; every fourth one has a teacher to train."""
    for moment in many:
        with project(measured=measured, taught=None if moment.number % 4 == 3 else cache) as folder:
            seen = interrupted(start, folder, moment)
            gone_on_with(start, folder, seen, whole)
            yield seen


def chain(
    start: Start, many: Sequence[Moment], whole: tuple[list[str], Front], *, measured: bool = False
) -> Iterator[Seen]:
    """One study that is interrupted at every moment, the next one counted from where it goes on."""
    with project(measured=measured) as folder:
        for moment in many[:-1]:
            yield interrupted(start, folder, moment)
        last = interrupted(start, folder, many[-1])
        gone_on_with(start, folder, last, whole)
        yield last


def tried(start: Start, workers: int, options: argparse.Namespace) -> Iterator[Seen]:
    """Every moment that the options ask for, with so many workers."""
    with project(measured=options.host) as alone:
        seconds, whole = left_alone(start, alone, 0 if options.stages else workers)
        print(f"left alone it takes {seconds:.1f} s", flush=True)
        if options.stages:
            many = in_stages(options.stages, workers=workers, seed=options.seed, once=options.once)
        else:
            many = moments(options.moments, seconds, workers=workers, twice=options.twice, seed=options.seed)
        many = [replace(one, group=options.group) for one in many[options.first : options.last]]
        if not options.chained:
            yield from series(start, many, whole, alone / "cache", measured=options.host)
            return
        if not options.stages:
            random.Random(options.seed).shuffle(many)
        for place in range(0, len(many), options.chained):
            yield from chain(start, many[place : place + options.chained], whole, measured=options.host)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=40)
    parser.add_argument("--workers", type=int, nargs="+", default=[0, 2])
    parser.add_argument("--twice", action="store_true", help="each signal a second time, within 0.6 s")
    parser.add_argument("--once", action="store_true", help="with --stages: each signal once alone")
    parser.add_argument("--group", action="store_true", help="to the whole process group, as Ctrl-C in a terminal is")
    parser.add_argument("--forked", action="store_true", help="from a process that has imported everything")
    parser.add_argument(
        "--chained", type=int, default=0, metavar="N", help="interrupt each study N times before it is left to end"
    )
    parser.add_argument("--stages", nargs="+", metavar="STAGE", help="four times soon after each of these instead")
    parser.add_argument("--host", action="store_true", help="this machine is the device: it is measured")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="the first of the moments that are tried")
    parser.add_argument("--last", type=int, help="the one before which to stop")
    options = parser.parse_args()
    start: Start = Forked.start if options.forked else Spawned.start
    print(f"seed {options.seed}", flush=True)
    found = []
    for workers in options.workers:
        for seen in tried(start, workers, options):
            print(seen, flush=True)
            found.append(seen)
    wrong = [seen for seen in found if seen.wrong]
    longest = max((seen.seconds for seen in found), default=0.0)
    print(f"{len(found)} moments, {len(wrong)} wrong; the slowest left after {longest:.1f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
