"""YAML into core's values: the only validation of outside input."""

from autocompress.config.checking import check_file, is_study
from autocompress.config.devices import device_from_json, device_to_json, dump_device, load_device
from autocompress.config.differences import diff_specs
from autocompress.config.limits import beyond_limits
from autocompress.config.own import own_space, own_spec_of, own_spec_to_json
from autocompress.config.schemas import json_schema
from autocompress.config.spaces import load_space, space_to_json
from autocompress.config.studies import (
    changes_since,
    in_todays_words,
    load_study,
    spec_to_json,
    study_from_json,
    study_from_tree,
)
from autocompress.config.threads import threads_of, too_many_threads
from autocompress.config.writing import commented_yaml, flow_mapping, merged, set_values
from autocompress.core.device import HOST
from autocompress.core.names import Kind, locate, named

__all__ = [
    "HOST",
    "Kind",
    "beyond_limits",
    "changes_since",
    "check_file",
    "commented_yaml",
    "device_from_json",
    "device_to_json",
    "diff_specs",
    "dump_device",
    "flow_mapping",
    "in_todays_words",
    "is_study",
    "json_schema",
    "load_device",
    "load_space",
    "load_study",
    "locate",
    "merged",
    "named",
    "own_space",
    "own_spec_of",
    "own_spec_to_json",
    "set_values",
    "space_to_json",
    "spec_to_json",
    "study_from_json",
    "study_from_tree",
    "threads_of",
    "too_many_threads",
]
