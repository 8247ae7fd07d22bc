"""Stock exports in the cache: torch's exporter takes as long as a small model's training, for one file each time."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from autocompress.assets import cache_folder, find_entry, new_entry
from autocompress.core.opsets import PLAIN_OPSET
from autocompress.core.policy import content_digest
from autocompress.deploy.export import export_stock
from autocompress.deploy.folder import MODEL
from autocompress.errors import HostError


def kept_stock_export(
    model: Any, made_of: Mapping[str, str], *, opset: int = PLAIN_OPSET, kind: str = "baselines"
) -> Path:
    """The file of a model that `made_of` names, with the opset and the libraries that had a part in it, among entries
    of that kind.

    Raises HostError when the disk is full or the cache cannot be written."""
    libraries = {name: version(name) for name in ("torch", "transformers", "onnxscript")}
    digest = content_digest({**made_of, "opset": opset, "libraries": libraries})
    path = cache_folder() / kind / f"{digest}.onnx"
    if not find_entry(path):
        with new_entry(path, needed=sum(tensor.nbytes for tensor in model.state_dict().values())) as draft:
            export_stock(model, draft, opset=opset)
    return path


@contextlib.contextmanager
def stock_to_time(model: Any) -> Iterator[Path]:
    """The stock export of a model of which only speed matters: one of its config does, whatever the weights. Where
    nothing can be kept, it is made for this time alone."""
    with contextlib.ExitStack() as kept:
        try:
            path = kept_stock_export(model, {"shape": shape_digest(model)}, kind="shapes")
        except HostError:
            path = Path(kept.enter_context(tempfile.TemporaryDirectory())) / MODEL
            export_stock(model, path)
        yield path


def shape_digest(model: Any) -> str:
    """Equal for models whose graphs are equal but for the weights."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    outputs = model.config.num_labels
    shape = {name: value for name, value in config.items() if name not in _NAMES}
    return content_digest({"class": type(model).__name__, "config": shape, "outputs": outputs})


_NAMES: Final = ("_name_or_path", "id2label", "label2id")
"""What is only called otherwise in another config."""
