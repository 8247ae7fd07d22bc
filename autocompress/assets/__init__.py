"""Where models and data come from, and how files are written so that nothing is ever half there."""

from autocompress.assets.digests import file_digest
from autocompress.assets.fetching import fetch
from autocompress.assets.model_folders import check_model_folder, check_weights, model_folder_problems
from autocompress.assets.wheels import Progress, cache_folder
from autocompress.assets.writing import atomic_folder, host_errors, write_atomically

__all__ = [
    "Progress",
    "atomic_folder",
    "cache_folder",
    "check_model_folder",
    "check_weights",
    "fetch",
    "file_digest",
    "host_errors",
    "model_folder_problems",
    "write_atomically",
]
