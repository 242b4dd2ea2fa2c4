"""Weights that wait elsewhere: read where their module has none, and kept out of graphs.

accelerate's hooks put a module's weights in before it runs and take them out after it; between
runs they are on torch's meta device, which has shapes and no numbers.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


def hook_of(module: nn.Module) -> Any:
    """accelerate's hook that puts a module's weights in, or that moves its inputs; None without."""
    hook = module.__dict__.get("_hf_hook")
    several = getattr(hook, "hooks", (hook,))
    return next((one for one in several if getattr(one, "offload", False)), several[-1])


def device_of(module: nn.Module, otherwise: torch.device) -> torch.device:
    """The device that a module runs on.

    Args:
        otherwise: where it has no hook that says so.
    """
    hook = hook_of(module)
    if hook is None or hook.execution_device is None:
        return otherwise
    where = hook.execution_device
    return torch.device("cuda", where) if isinstance(where, int) else torch.device(where)


def input_device(module: nn.Module) -> torch.device:
    """The device that a whole model takes its inputs on, and gives its outputs on."""
    return device_of(module, next(module.parameters()).device)


def is_quantized(model: nn.Module) -> bool:
    """Whether a whole model's matrices were quantized when it was loaded."""
    return getattr(model, "hf_quantizer", None) is not None


def weight_of(module: nn.Module, name: str = "weight") -> Tensor:
    """A module's own parameter to read: fetched where it waits, plain numbers where quantized."""
    weight: Tensor = getattr(module, name)
    if weight.device.type == "meta":
        fetched: Tensor = hook_of(module).weights_map[name]
        return fetched.to(device_of(module, fetched.device))
    if type(weight).__name__ in ("Params4bit", "Int8Params"):
        from transformers.integrations.bitsandbytes import dequantize_bnb_weight

        plain: Tensor = dequantize_bnb_weight(weight, getattr(module, "state", None))
        computed: torch.dtype = module.compute_dtype  # type: ignore[assignment]
        return plain.to(computed)
    return weight


# graphs


@dataclass(frozen=True)
class _Reference:
    """A tensor of a graph that is, or views, a weight: enough to fetch it again.

    Attributes:
        hook, name: whose weight.
        size, stride, offset: of the view.
        device: where the graph has it.
    """

    hook: Any
    name: str
    size: torch.Size
    stride: tuple[int, ...]
    offset: int
    device: torch.device

    def fetched(self) -> Tensor:
        """The tensor."""
        weight: Tensor = self.hook.weights_map[self.name].to(self.device)
        return weight.as_strided(self.size, self.stride, self.offset)


@dataclass
class _Noting:
    """In the place of a module's hook: notes which weights it has put in.

    Attributes:
        hook: the module's own.
        there: by the place in memory of a weight's numbers, whose hook knows it by which name.
    """

    hook: Any
    there: dict[int, tuple[Any, str]]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.hook, name)

    def pre_forward(self, module: nn.Module, *args: Any, **kwargs: Any) -> Any:
        """Put the weights in, and note them."""
        passed = self.hook.pre_forward(module, *args, **kwargs)
        for name, weight in module.named_parameters(recurse=False):
            self.there[weight.untyped_storage().data_ptr()] = (hook_of(module), name)
        return passed

    def post_forward(self, module: nn.Module, output: Any) -> Any:
        """Strike them off, and take them out."""
        for weight in module.parameters(recurse=False):
            self.there.pop(weight.untyped_storage().data_ptr(), None)
        return self.hook.post_forward(module, output)


@contextmanager
def weights_kept_out(model: nn.Module) -> Iterator[None]:
    """Within it, a graph refers to weights that wait elsewhere and fetches them on its way back.

    Else it would hold every block's weights at once, which do not fit: that is why they wait.
    """
    waiting = [one for one in model.modules() if getattr(hook_of(one), "offload", False)]
    if not waiting:
        yield
        return
    there: dict[int, tuple[Any, str]] = {}

    def pack(tensor: Tensor) -> Tensor | _Reference:
        found = there.get(tensor.untyped_storage().data_ptr())
        if found is None:
            return tensor
        size, stride, offset = tensor.size(), tensor.stride(), int(tensor.storage_offset())
        return _Reference(*found, size, stride, offset, tensor.device)

    def unpack(kept: Tensor | _Reference) -> Tensor:
        return kept.fetched() if isinstance(kept, _Reference) else kept

    hooks = [one.__dict__["_hf_hook"] for one in waiting]
    try:
        for one, hook in zip(waiting, hooks, strict=True):
            one.__dict__["_hf_hook"] = _Noting(hook, there)
        with torch.autograd.graph.saved_tensors_hooks(pack, unpack):
            yield
    finally:
        for one, hook in zip(waiting, hooks, strict=True):
            one.__dict__["_hf_hook"] = hook
