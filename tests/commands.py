"""The command line in this process, where a process of its own would add nothing but the seconds of its imports."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from subprocess import CompletedProcess

import torch

from autocompress.cli import main


def command(folder: Path, *arguments: str) -> CompletedProcess[str]:
    """How it ends in this folder, and what it says."""
    out, err, threads = io.StringIO(), io.StringIO(), torch.get_num_threads()
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main(arguments)
    finally:
        torch.set_num_threads(threads)
    return CompletedProcess(arguments, code, out.getvalue(), err.getvalue())
