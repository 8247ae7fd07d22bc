"""Where evaluations run."""

from autocompress.runners.in_process import InProcessRunner
from autocompress.runners.pool import RayPool

__all__ = ["InProcessRunner", "RayPool"]
