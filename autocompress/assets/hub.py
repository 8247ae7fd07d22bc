"""Models and data from the Hugging Face hub, at a pinned revision and without code; and exported folders to it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from autocompress.assets.conversion import PICKLED
from autocompress.core.data_spec import Asset, ModelAsset
from autocompress.errors import HostError, NotFoundError, SpecError

Kind = Literal["model", "dataset"]

# Weights as safetensors, settings and tokenizers. No *.bin, *.pt or *.h5 (they can execute code), no *.py.
_OF_MODELS: Final = ("*.safetensors", "*.json", "*.txt", "*.model")
_TABLES: Final = ("csv", "tsv", "json", "jsonl", "txt", "parquet", "arrow")
_OF_DATA: Final = tuple(
    f"*.{name}{packed}" for name in _TABLES for packed in ("", ".gz", ".bz2", ".xz", ".zst", ".zip")
)

_LICENCE: Final = ("license", "license_name", "license_link")
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_PATIENCE: Final = 20.0
"""Seconds that the hub has for an answer."""


def fetch_hub(asset: Asset, *, kind: Kind = "model") -> Path:
    """The repository's folder in the hub's own cache, or the asset's member of it. Data may also lie beside a model.

    Raises NotFoundError when repository, revision or member do not exist, HostError when the hub is out of reach.
    """
    if kind == "model":
        return _fetched(asset, "model", _OF_MODELS)
    try:
        return _fetched(asset, "dataset", _OF_DATA)
    except (NotFoundError, HostError) as error:
        try:
            return _fetched(asset, "model", _OF_DATA)
        except (NotFoundError, HostError):
            raise error from None


def commit_of(name: str, revision: str | None = None, *, kind: Kind = "model") -> str:
    """The commit that a branch or tag of a repository is at, `main` unless given: as the hub says now, or where it is
    out of reach as it was when the repository was last fetched.

    Raises NotFoundError when there is no such repository, HostError when the hub is out of reach and nothing is known.
    """
    from huggingface_hub import HfApi, errors, scan_cache_dir

    if revision and _COMMIT.fullmatch(revision):
        return revision
    asked = f"{name}@{revision}" if revision else name
    try:
        found = HfApi().repo_info(name, revision=revision, repo_type=kind, timeout=_PATIENCE)
        return str(found.sha)
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise NotFoundError(f"{asked}: not on the hub, or not for you to see: {reason}") from error
    except OSError as error:
        with contextlib.suppress(errors.CacheNotFound):
            known = (one for one in scan_cache_dir().repos if (one.repo_id, one.repo_type) == (name, kind))
            for repository in known:
                if at := repository.refs.get(revision or "main"):
                    return str(at.commit_hash)
        raise HostError(
            f"{asked}: no such folder here, and the Hugging Face hub is out of reach; download it where there is a "
            f"network (hf download {name} --local-dir FOLDER) and give the folder"
        ) from error


def _fetched(asset: Asset, kind: Kind, patterns: Sequence[str]) -> Path:
    assert asset.hub, "only hub assets come here"
    from huggingface_hub import errors, snapshot_download  # 0.2 s that local paths and wheels need not wait for

    pickled = PICKLED if isinstance(asset, ModelAsset) and asset.convert else ()
    try:
        folder = Path(
            snapshot_download(
                asset.hub,
                repo_type=kind,
                revision=asset.revision,
                allow_patterns=[*patterns, *pickled, *([asset.member, f"{asset.member}/*"] if asset.member else [])],
            )
        )
    except (errors.HFValidationError, errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
        reason = str(error).splitlines()[0]
        raise NotFoundError(f"{asset}: not on the hub, or not for you to see: {reason}") from error
    except OSError as error:  # the hub's own errors, offline mode and the network's are all of this kind
        option = "--repo-type dataset " if kind == "dataset" else ""
        raise HostError(
            f"{asset}: the Hugging Face hub is out of reach. Unset HF_HUB_OFFLINE if it is set, check the network, or "
            f"download once where there is one and write `path: FOLDER` instead: "
            f"hf download {asset.hub} {option}--revision {asset.revision} --local-dir FOLDER"
        ) from error
    found = folder / asset.member if asset.member else folder
    if not found.exists():
        raise NotFoundError(f"{asset}: holds no {asset.member!r}")
    return found


def licence_of(folder: Path) -> dict[str, str]:
    """What the head of a model's own card says of its licence: `license`, and `license_name` and `license_link` where
    it has them; empty where there is no card, or none that says it. A link into the repository of the card leads
    nowhere from another's, and is left out."""
    from huggingface_hub import metadata_load

    try:
        told = metadata_load(folder / "README.md") or {}
    except Exception:  # noqa: BLE001 - no card, or a head that is no YAML: errors of the library's own parser
        return {}
    known = {key: str(told[key]) for key in _LICENCE if isinstance(told.get(key), str) and told[key].strip()}
    if "://" not in known.get("license_link", ""):
        known.pop("license_link", None)
    return known if "license" in known else {}


def card_block(known: Mapping[str, Any], results: Sequence[Mapping[str, Any]]) -> str:
    """What the hub reads from the head of a model's card: fields of `ModelCardData` and of an `EvalResult` each."""
    from huggingface_hub import EvalResult, ModelCardData

    told = ModelCardData(**known, eval_results=[EvalResult(**one) for one in results] or None)
    return f"---\n{told.to_yaml()}\n---\n\n"


def upload(folder: Path, repository: str, *, private: bool, files: Sequence[str]) -> str:
    """Makes the repository unless it is there, and puts these files of the folder into it as one commit; returns its
    address.

    Raises SpecError for what is no name of a repository, HostError when the hub is out of reach or refuses.
    """
    from huggingface_hub import HfApi, errors

    hub = HfApi()
    try:
        made = hub.create_repo(repository, private=private, exist_ok=True)
        hub.upload_folder(
            repo_id=made.repo_id,
            folder_path=folder,
            allow_patterns=list(files),
            commit_message="Exported by autocompress",
        )
    except errors.HFValidationError as error:
        raise SpecError(f"{repository!r}: {str(error).splitlines()[0]} (expected owner/name)") from error
    except errors.HfHubHTTPError as error:
        reason = str(error).splitlines()[0]
        raise HostError(
            f"{repository}: the hub refuses it ({reason}); `hf auth login` with a token that may write"
        ) from error
    except (OSError, errors.LocalTokenNotFoundError) as error:
        raise HostError(
            f"{repository}: the Hugging Face hub is out of reach, or nobody is logged in ({error}); check the network "
            "and HF_HUB_OFFLINE, and log in with `hf auth login`"
        ) from error
    return str(made)
