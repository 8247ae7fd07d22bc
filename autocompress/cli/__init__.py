"""The command line. `main` is the entry point; commands import what they need when they run."""

from autocompress.cli.entry import main

__all__ = ["main"]
