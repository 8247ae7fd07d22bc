"""Drivers of Ray in processes of their own.

Ray ends the process of a driver without a word (`_Exit(1)`) when it loses the node that the driver has joined. Inside
of pytest that would end the whole suite, with no name of a test and no reason.
"""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

_SPAWN: Final = multiprocessing.get_context("spawn")


def in_a_driver(driver: Callable[..., None], *arguments: Any) -> None:
    """Calls `driver` in a new process; what it raises fails the test here.

    A driver that Ray ended is started once more, as its user would do, so `driver` must be able to go on.
    """
    for _ in range(2):
        here, there = _SPAWN.Pipe(duplex=False)
        process = _SPAWN.Process(target=_told, args=(there, driver, arguments), daemon=True)
        process.start()
        there.close()
        try:
            said = here.recv()
        except EOFError:
            said = None
        process.join()
        if said is not None:
            break
    assert said == "", said or f"Ray ended the driver twice, the last time with exit code {process.exitcode}"


def _told(connection: Connection, driver: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    try:
        driver(*arguments)
    except BaseException:  # noqa: BLE001 - what pytest.fail raises is no Exception
        connection.send(traceback.format_exc())
    else:
        connection.send("")


@contextmanager
def cluster_with_a_device(name: str) -> Iterator[str]:
    """The address of a real cluster of a head with one CPU and a node that is the device."""
    # a driver authenticates with the token that the cluster was started with
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_nodes, args=(there, name), daemon=True)
    process.start()
    there.close()
    try:
        yield here.recv()
        here.send("end")
    finally:
        process.join(30)
        process.kill()


@contextmanager
def cluster_with_disks_apart() -> Iterator[str]:
    """The address of a real cluster of two nodes with one CPU each, the second of which has temporary files of its own,
    and sees none of this process's: a mount namespace, so only the superuser may have it."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    here, there = _SPAWN.Pipe()
    process = _SPAWN.Process(target=_nodes, args=(there, ""), daemon=True)
    process.start()
    there.close()
    try:
        address = here.recv()
        second = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _APART, sys.executable, address],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield address
        finally:
            os.killpg(second.pid, signal.SIGTERM)
            second.wait(30)
            here.send("end")
    finally:
        process.join(30)
        process.kill()


_APART: Final = (
    "mount -t tmpfs tmpfs /tmp && exec $0 -c 'import sys; from ray.scripts.scripts import main; sys.exit(main())' "
    "start --address=$1 --num-cpus=1 --disable-usage-stats --block"
)


def _nodes(connection: Connection, name: str) -> None:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        if name:
            nodes.add_node(num_cpus=0, resources={name: 1})
        connection.send(nodes.address)
        connection.recv()
    finally:
        nodes.shutdown()
