"""A user's own search: a tiny network, an operator of his, and how he judges what is left."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, ClassVar, Final

import torch

import autocompress
from autocompress.core.policy import CompressionPolicy, Step

SPACE: Final[dict[str, Any]] = {
    "steps": [
        {
            "operator": "narrow",
            "target": "hidden.*",
            "knobs": {"width": {"low": 2, "high": 16, "step": 2}},
        }
    ]
}
OBJECTIVES: Final = {"loss": "minimize", "weights": "minimize"}
CALLED: Final = "toy"


class Layer(torch.nn.Module):
    """Nothing that we know of."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.up, self.down = torch.nn.Linear(4, width), torch.nn.Linear(width, 4)

    def forward(self, x: Any) -> Any:
        return x + self.down(torch.relu(self.up(x)))


class Network(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden = torch.nn.ModuleList([Layer(16), Layer(16)])

    def forward(self, x: Any) -> Any:
        for layer in self.hidden:
            x = layer(x)
        return x


class Narrow(autocompress.ModuleOperator):
    """Keeps the first units of a layer."""

    name: ClassVar[str] = "narrow"
    rules: ClassVar[Any] = {"width": autocompress.SettingRule(low=1, high=16, size=True)}

    def apply(self, model: Any, step: Step) -> None:
        layer, width = model.get_submodule(step.target), int(step.settings["width"])
        with torch.no_grad():
            up, down = torch.nn.Linear(4, width), torch.nn.Linear(width, 4)
            up.weight.copy_(layer.up.weight[:width])
            up.bias.copy_(layer.up.bias[:width])
            down.weight.copy_(layer.down.weight[:, :width])
            down.bias.copy_(layer.down.bias)
        layer.up, layer.down = up, down

    def fits(self, module: Any) -> bool:
        return isinstance(module, Layer)

    def size_of(self, module: Any, setting: str) -> int:
        return int(module.up.out_features)


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def judged(policy: CompressionPolicy, model: Any) -> dict[str, Any]:
    """How far from the whole network it answers, and how large it is."""
    whole, x = network(), torch.linspace(-1, 1, 32).reshape(8, 4)
    with torch.inference_mode():
        loss = (model(x) - whole(x)).square().mean()
    return {"loss": loss, "weights": sum(one.numel() for one in model.parameters()), "steps": len(policy.steps)}


def judged_slowly(policy: CompressionPolicy, model: Any) -> dict[str, Any]:
    time.sleep(0.15)
    return judged(policy, model)


def begin(storage: str | Path) -> None:
    """With a real Ray; what a program of the user's does until it is killed."""
    autocompress.optimize(
        SPACE,
        judged_slowly,
        model=network,
        operators=[Narrow],
        objectives=OBJECTIVES,  # type: ignore[arg-type]
        name=CALLED,
        trials=20,
        storage=str(storage),
        workers=1,
    ).close()
