"""Where models and data come from, and how files are written so that nothing is ever half there."""

from autocompress.assets.cached import check_cache, find_entry, new_entry
from autocompress.assets.digests import data_digest, file_digest
from autocompress.assets.fetching import fetch, kept_place
from autocompress.assets.model_folders import check_model_folder, check_weights, model_folder_problems
from autocompress.assets.private import private_files
from autocompress.assets.replacing import (
    CARD,
    DOCUMENT,
    JSON,
    MANIFEST,
    MEASUREMENTS,
    PAGE,
    PARQUET,
    PICTURE,
    SHEET,
    Mark,
    check_file,
    earlier_export,
    new_export,
    write_file,
)
from autocompress.assets.trees import copy_listed
from autocompress.assets.wheels import Progress, cache_folder
from autocompress.assets.writing import atomic_folder, new_file, readable_alike, write_atomically
from autocompress.core.refusals import host_errors

__all__ = [
    "CARD",
    "DOCUMENT",
    "JSON",
    "MANIFEST",
    "MEASUREMENTS",
    "PAGE",
    "PARQUET",
    "PICTURE",
    "SHEET",
    "Mark",
    "Progress",
    "atomic_folder",
    "cache_folder",
    "check_cache",
    "check_file",
    "check_model_folder",
    "check_weights",
    "copy_listed",
    "data_digest",
    "earlier_export",
    "fetch",
    "file_digest",
    "find_entry",
    "host_errors",
    "kept_place",
    "model_folder_problems",
    "new_entry",
    "new_export",
    "new_file",
    "private_files",
    "readable_alike",
    "write_atomically",
    "write_file",
]
