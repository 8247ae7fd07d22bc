"""Checkpoints of trainings, left in one folder of the driver's from whatever node they run on.

A node that sees the folder writes there itself. From one that does not, as its disk is its own, files travel in parts
through the object store to an actor beside the driver.
"""

from __future__ import annotations

import functools
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final

from autocompress.core.refusals import host_errors

_PART: Final = 32 << 20
"""Bytes that travel at a time: a task's arguments may not be larger than the node's share of the object store."""


class _Keeper:
    """The actor beside the driver. Files are named by training and name, and appear whole."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def append(self, training: str, name: str, part: bytes, first: bool) -> None:
        draft = self._draft(training, name)
        with host_errors(draft, needed=len(part)):
            draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with _private(draft, "wb" if first else "ab") as file:
                file.write(part)

    def finish(self, training: str, name: str) -> None:
        os.replace(self._draft(training, name), self._folder / training / name)

    def read(self, training: str, name: str, offset: int) -> bytes | None:
        """At most a part; None where there is no such file."""
        path = self._folder / training / name
        if not path.exists():
            return None
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_PART)

    def _draft(self, training: str, name: str) -> Path:
        return self._folder / training / f"{name}.part"


@dataclass(frozen=True, slots=True)
class Deposit:
    """A folder with one folder a training, each with the files `names`. Goes to workers as it is."""

    folder: Path
    names: Sequence[str]
    mark: str
    keeper: Any = None

    def leave(self, training: str, source: Path) -> None:
        """Puts the files of a training there, as far as they are in `source`; those of before are replaced."""
        for name in self.names:
            if not (source / name).exists():
                continue
            if self._is_in_sight():
                _copy(source / name, self.folder / training / name)
            else:
                self._send(training, name, source / name)

    def fetch(self, training: str, target: Path) -> None:
        """Copies the files of a training, as far as there are any, to the folder `target`."""
        for name in self.names:
            if not self._is_in_sight():
                self._receive(training, name, target / name)
            elif (self.folder / training / name).exists():
                _copy(self.folder / training / name, target / name)

    def _is_in_sight(self) -> bool:
        return self.keeper is None or (self.folder / self.mark).exists()

    def _send(self, training: str, name: str, path: Path) -> None:
        import ray

        with path.open("rb") as file:
            first = True
            while (part := file.read(_PART)) or first:
                ray.get(self.keeper.append.remote(training, name, part, first))
                first = False
        ray.get(self.keeper.finish.remote(training, name))

    def _receive(self, training: str, name: str, path: Path) -> None:
        import ray

        offset = 0
        while part := ray.get(self.keeper.read.remote(training, name, offset)):
            with path.open("ab" if offset else "wb") as file:
                file.write(part)
            offset += len(part)


@contextmanager
def deposit(ray: Any, folder: Path, names: Sequence[str]) -> Iterator[Deposit]:
    """The deposit in a folder of this machine, while the context lasts; with a keeper where there are other nodes."""
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    if len(ray.nodes()) <= 1:
        yield Deposit(folder, names, "")
        return
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    mark = f".seen-{secrets.token_hex(8)}"
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    keeper = ray.remote(_Keeper).options(num_cpus=0, scheduling_strategy=here).remote(folder)
    (folder / mark).touch()
    try:
        yield Deposit(folder, names, mark, keeper)
    finally:
        (folder / mark).unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    """Appears whole, and its user's alone, whatever a cluster's workers make of new files."""
    draft = target.with_name(f"{target.name}.part")
    with host_errors(target, needed=source.stat().st_size):
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        try:
            with source.open("rb") as given, _private(draft, "wb") as file:
                shutil.copyfileobj(given, file, _PART)
            os.replace(draft, target)
        finally:
            draft.unlink(missing_ok=True)


def _private(path: Path, mode: str) -> IO[bytes]:
    return open(path, mode, opener=functools.partial(os.open, mode=0o600))
