"""The state before the final norm, which is what residual SAEs were trained on.

Families call that norm by many names, and some put a projection behind it. So nothing is recognised by its name: the
model is run once, what its last layer gives is compared with what comes out of the model, and whatever lies between
the two is taken away.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from splare_plugins.backbone.backbone import Backbone
from splare_plugins.backbone.finite import not_finite
from splare_plugins.errors import SplareError

_PROBE = "What does a search engine find?"


class _Call(NamedTuple):
    name: str
    came: Tensor
    gave: Tensor


def drop_final_norm(backbone: Backbone) -> list[str]:
    """Make ``last_hidden_state`` the raw residual stream.

    Returns:
        names of the modules that were taken away; none where the family has none.

    Raises:
        SplareError: if the model changes the last layer's output in a way that cannot be taken away, or its states
            are not finite.
    """
    model = backbone.model
    state, output, after = _run(backbone)
    family = type(model).__name__
    if not bool(state.isfinite().all()):
        raise SplareError(f"what the last layer of {family} gives {not_finite(model.dtype)}")
    dropped = []
    for call in reversed(after):
        if _same(output, state):
            break
        if _same(output, call.gave):
            dropped.append(call.name)
            output = call.came
    if not _same(output, state):
        raise SplareError(
            f"what comes out of {family} is not what its last layer gives, and the difference is not a module that "
            "could be left out; use another backbone, or an SAE and final_norm=true for its normed state"
        )
    for name in dropped:
        parent, _, own = name.rpartition(".")
        setattr(model.get_submodule(parent), own, nn.Identity())
    return dropped


@torch.inference_mode()
def _run(backbone: Backbone) -> tuple[Tensor, Tensor, list[_Call]]:
    """What the last layer gives, what comes out, and the modules that ran once and only after that layer."""
    model = backbone.model
    layers = _layers(model)
    inside = tuple(f"{name}." for name in layers)
    calls: list[_Call] = []
    times: dict[str, int] = {}

    def watch(name: str, module: nn.Module) -> Any:
        def hook(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            gave = output[0] if isinstance(output, tuple | list) else output
            if name in layers:
                calls.clear()
            elif not (inputs and isinstance(inputs[0], Tensor) and isinstance(gave, Tensor)):
                return
            times[name] = times.get(name, 0) + 1
            calls.append(_Call(name, *(part.detach().float().cpu().clone() for part in (inputs[0], gave))))

        return module.register_forward_hook(hook)

    handles = [
        watch(name, module)
        for name, module in model.named_modules()
        if name in layers or not (name.startswith(inside) or any(module.children()))
    ]
    try:
        states, _ = backbone(backbone.tokenize([_PROBE], "", 64))
    finally:
        for handle in handles:
            handle.remove()
    last, *after = calls
    return last.gave, states.float().cpu(), [call for call in after if times[call.name] == 1]


def _layers(model: nn.Module) -> set[str]:
    """Names of the layers: the members of the outermost lists of modules, of those as long as the model is deep."""
    lists = {name: len(part) for name, part in model.named_modules() if isinstance(part, nn.ModuleList) and len(part)}
    outer = {name: size for name, size in lists.items() if not any(name.startswith(f"{other}.") for other in lists)}
    depth = getattr(model.config, "num_hidden_layers", None)
    chosen = [name for name, size in outer.items() if size == depth] or list(outer)  # ALBERT shares one layer
    return {f"{name}.{number}" for name in chosen for number in range(outer[name])}


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether two outputs have the same rows; some families pad inside, and some put the tokens first."""
    if one.shape[-1] != other.shape[-1]:
        return False
    one, other = (part.reshape(-1, part.shape[-1]) for part in (one, other))
    rows = min(len(one), len(other))
    return torch.allclose(one[:rows], other[:rows], rtol=1e-4)
