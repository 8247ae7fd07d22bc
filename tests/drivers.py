"""Drivers of Ray in processes of their own.

Ray ends the process of a driver without a word (`_Exit(1)`) when it loses the node that the driver has joined. Inside
of pytest that would end the whole suite, with no name of a test and no reason.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
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
def cluster_with_disks_apart(first: Sequence[str], second: Sequence[str]) -> Iterator[str]:
    """The address of a real cluster of two nodes, the second of which has temporary files of its own, and sees none of
    this process's: a mount namespace, so only the superuser may have it. The nodes are started by the program `ray`
    with these arguments, in which `ADDRESS` and `PORT` stand for those of the first."""
    os.environ.setdefault("RAY_AUTH_MODE", "token")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    from ray.util import get_node_ip_address

    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
    host = get_node_ip_address()
    arguments = [
        [one.replace("ADDRESS", f"{host}:{port}").replace("PORT", str(port)) for one in given]
        for given in (first, second)
    ]
    with contextlib.ExitStack() as nodes:
        nodes.enter_context(_node(*_RAY, *arguments[0]))
        deadline = time.monotonic() + 60
        while not _listens(host, port):
            assert time.monotonic() < deadline, "the first node does not stand"
            time.sleep(0.2)
        nodes.enter_context(_node(*_APART, *_RAY, *arguments[1]))
        yield f"{host}:{port}"


_RAY: Final = (sys.executable, "-c", "import sys; from ray.scripts.scripts import main; sys.exit(main())")
_APART: Final = ("unshare", "--mount", "sh", "-c", 'mount -t tmpfs tmpfs /tmp && exec "$@"', "sh")


@contextmanager
def _node(*command: str) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    with subprocess.Popen(command, cwd="/", stdout=quiet, stderr=quiet, start_new_session=True) as process:
        try:
            yield
        finally:
            _end(process, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:  # its children are gone, and it waits for one on a busy machine
                _end(process, signal.SIGKILL)


def _end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _listens(host: str, port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=1):
        return True
    return False


def _nodes(connection: Connection, name: str) -> None:
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        nodes.add_node(num_cpus=0, resources={name: 1})
        connection.send(nodes.address)
        connection.recv()
    finally:
        nodes.shutdown()
