"""The torch form of an exported folder: weights in a file, structure from the policy."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from autocompress import operators
from autocompress.anatomy import anatomy_of, is_settled
from autocompress.anatomy.heads import SEQUENCE, config_in, empty_model
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Phase
from autocompress.deploy.folder import POLICY, TORCH_FORM, WEIGHTS, read_manifest, verify_used
from autocompress.exported.plain_form import uncut
from autocompress.importance import no_preference


def load_torch(folder: str | Path) -> Any:
    """The compressed model as a torch module, ready for more training or another export; with int8 steps its products
    compute as the deployed file does.

    A pruned model's sizes differ from layer to layer, which no config can say; the policy is applied to an empty model
    and the weights are put into what is left. Raises NotFoundError when the torch form was removed from the folder,
    IntegrityError when a file of it changed.
    """
    place = Path(folder)
    verify_used(place, TORCH_FORM)
    tensors = load_file(place / WEIGHTS)
    settled = {name: tensor for name, tensor in tensors.items() if is_settled(name)}
    anatomy = anatomy_of(uncompressed(place), settled=settled)
    policy = CompressionPolicy.from_json(json.loads((place / POLICY).read_text(encoding="utf-8"))["steps"])
    importance = no_preference(anatomy.shape())
    operators.apply(policy, anatomy, importance, before=Phase.PRECISION)
    anatomy.model.load_state_dict({name: tensor for name, tensor in tensors.items() if name not in settled})
    anatomy.renumber()
    anatomy.model.eval()
    operators.apply(policy, anatomy, importance, since=Phase.PRECISION)
    return anatomy.model


def uncompressed(folder: Path) -> Any:
    """What the model of an exported folder was made from, in shape: its config says it, the weights are random."""
    return empty_model(uncut(config_in(folder)), str(read_manifest(folder).task.get("head", SEQUENCE)))
