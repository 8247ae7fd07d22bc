"""How transformers loads the torch form of a folder that no config of its family can say: fewer heads, unequal layers,
matrices in two factors, fewer words, zeros.

`config.json` then is that of the uncompressed model, and says under `quantization_config` by which steps it was cut,
as data; no code comes with a folder. Transformers makes the uncompressed model without memory, and asks whoever is
registered for that method to change it before weights are loaded: here the steps are applied to it, and names and
shapes of its tensors are those of the file. What was cut stays with `save_pretrained`, which writes the same entry.

The weights of an exported folder have a name that transformers finds through this alone, so that where nobody is
registered it finds none, rather than taking them for something else.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

import torch
from transformers.quantizers import HfQuantizer
from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING, register_quantization_config, register_quantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

from autocompress import operators
from autocompress.anatomy import anatomy_of
from autocompress.anatomy.heads import EMBEDDING, empty_model, head_of
from autocompress.anatomy.settling import SETTLED
from autocompress.core.policy import CompressionPolicy
from autocompress.core.ports import Phase
from autocompress.deploy.folder import WEIGHTS
from autocompress.importance import no_preference
from autocompress.operators import OPERATORS

METHOD: Final = "autocompress"
KEY: Final = "quantization_config"


def cut_config(config: Any, head: str, policy: CompressionPolicy, task: Mapping[str, Any]) -> Any:
    """A config of the uncompressed model that says how it was cut, with the names of its answers; as it is where
    transformers has no class for what stands behind the encoder."""
    if head == EMBEDDING:
        return config
    found = copy.deepcopy(config)
    steps = [
        step.to_json() for step in policy.steps if (known := OPERATORS.get(step.operator)) and known.phase < _ROUNDING
    ]
    setattr(found, KEY, {"quant_method": METHOD, "steps": steps, "weights": WEIGHTS})
    found.id2label = dict(enumerate(map(str, task["labels"]))) or found.id2label
    found.label2id = {label: number for number, label in found.id2label.items()}
    return found


_ROUNDING: Final = Phase.PRECISION
"""Steps from here on change how numbers are held, which the torch form in fp32 knows nothing of."""


def is_cut(config: Any) -> bool:
    """Whether a config says so."""
    told = getattr(config, KEY, None)
    return isinstance(told, Mapping) and told.get("quant_method") == METHOD


def register() -> None:
    """From now on transformers loads such folders. Doing it again changes nothing."""
    if METHOD not in AUTO_QUANTIZER_MAPPING:
        register_quantization_config(METHOD)(CutConfig)
        register_quantizer(METHOD)(CutLoader)


class CutConfig(QuantizationConfigMixin):  # type: ignore[misc]
    """What `config.json` says: the steps, and the file of the weights, where it has a name of its own."""

    def __init__(self, steps: Sequence[Mapping[str, Any]] = (), weights: str | None = None, **_: Any) -> None:
        self.quant_method = METHOD
        self.steps = [dict(step) for step in steps]
        self.weights = weights

    @property
    def policy(self) -> CompressionPolicy:
        """Raises ValueError for steps that this version cannot do."""
        try:
            found = CompressionPolicy.from_json(self.steps)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{KEY}: its steps are damaged: {error!r}; export the model again") from error
        if unknown := sorted({step.operator for step in found.steps} - set(OPERATORS)):
            raise ValueError(f"{KEY}: no operator is called {', '.join(unknown)}; install the package that has it")
        return found


class CutLoader(HfQuantizer):  # type: ignore[misc]
    """Cuts a model before its weights are loaded."""

    requires_calibration = False
    is_trainable = True
    is_qat_trainable = True
    """The Trainer refuses what is quantized; nothing is, here."""

    def __init__(self, quantization_config: CutConfig, **options: Any) -> None:
        super().__init__(quantization_config, **options)
        self._fixed: dict[str, torch.Tensor] = {}

    def is_serializable(self) -> bool:
        return True

    def update_attn_implementation(self, config: Any) -> Any:
        """Asked before transformers looks for the weights: theirs may have another name."""
        if self.quantization_config.weights == WEIGHTS:
            config.transformers_weights = WEIGHTS
        return config

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        source = _cut(model, self.quantization_config.policy)
        lasting = source.state_dict().keys()
        self._fixed = {name: one.clone() for name, one in source.named_buffers() if name not in lasting}
        for name, child in source.named_children():
            setattr(model, name, child.to("meta"))
        for module in model.modules():  # what the model is told later, its parts know, but for forms of their own
            if getattr(module, "config", None) is source.config:
                module.config = model.config
        ignored = getattr(model, "_keys_to_ignore_on_load_unexpected", None) or ()
        model._keys_to_ignore_on_load_unexpected = {*ignored, *(f"{re.escape(one)}$" for one in SETTLED)}

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        for name, value in self._fixed.items():  # what no file holds, such as the numbers of positions
            model.get_buffer(name).copy_(value)
        self.quantization_config.weights = None  # of what is saved from here on
        return model


def _cut(model: Any, policy: CompressionPolicy) -> Any:
    """A model of this class with random weights, cut. Raises ValueError for a class that it was not made for."""
    config = copy.deepcopy(model.config)
    delattr(config, KEY)
    # transformers makes models without memory and without numbers at this point; steps look at both
    with torch.device("cpu"), torch.random.fork_rng(), torch.no_grad():
        whole = empty_model(config, head_of(model))
        for one in whole.parameters():
            one.normal_(std=0.02)
        anatomy = anatomy_of(whole)
        operators.apply(policy, anatomy, no_preference(anatomy.shape()), before=_ROUNDING)
        anatomy.renumber()
    cut: Any = anatomy.model
    for part in (cut, getattr(cut, cut.base_model_prefix, None)):
        if type(part) is type(model):
            return part
    raise ValueError(f"a {type(model).__name__} was asked for, and the folder holds a {type(cut).__name__}")
