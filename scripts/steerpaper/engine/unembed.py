"""Logits in float32 where the model's numbers are shorter.

A logit of 20 to 60 lies on a grid of 0.125 to 0.25 in bfloat16 (of 0.016 to 0.031 in float16): what
is read off such logits is off by as much, however good the residual stream is. So in these types
the final norm, the unembedding and what the family does after it are computed in float32, from the
last block's output. In float32 the module's own logits are read.
"""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from steerpaper.engine.offloaded import weight_of


class Logits(Protocol):
    """Logits [row, token, V], at hand or computed where they are looked at."""

    @property
    def shape(self) -> torch.Size:
        """Row, token and more."""
        ...

    def __getitem__(self, index: Any) -> Tensor:
        """The logits [..., V] of some rows and tokens."""
        ...


@dataclass(frozen=True)
class Readout:
    """From the residual stream after the last block to logits, in float32.

    The weights are cast up once and kept beside the model's own: V × d × 4 bytes of the device's
    memory for the unembedding (0.11 GB at V = 49152, d = 576; 2.1 GB at V = 128256, d = 4096).

    Attributes:
        norm, unembedding: residual [..., d] -> normalised -> logits [..., V].
        after: what the family makes of these.
    """

    norm: Callable[[Tensor], Tensor]
    unembedding: Callable[[Tensor], Tensor]
    after: Callable[[Tensor], Tensor]

    def __call__(self, residual: Tensor) -> Tensor:
        """Float32 logits [..., V] of a residual stream [..., d], on the device of this."""
        return self.after(self.unembedding(self.norm(residual.float()))).to(residual.device)


@dataclass(frozen=True)
class LateLogits:
    """The logits of a pass, computed for those rows and tokens alone that are looked at."""

    readout: Readout
    residual: Tensor

    @property
    def shape(self) -> torch.Size:
        """Row, token and width of the residual stream."""
        return self.residual.shape

    def __getitem__(self, index: Any) -> Tensor:
        """Float32 [..., V]; the index is of rows and tokens."""
        return self.readout(self.residual[index])


# distributions that are made at a time: logits are large
FEW, MANY = 8, 64


def at_a_time(logits: Logits) -> int:
    """Of how many tokens distributions are made at a time.

    A few stay in a CPU's caches, for each the same sums. Not where they are made as they are looked
    at, nor where a pass back would add up as many tensors of all logits.
    """
    plain = type(logits) is Tensor and logits.device.type == "cpu" and not logits.requires_grad
    return FEW if plain else MANY


def readout_of(norm: nn.Module, unembedding: nn.Module, config: Any) -> Readout:
    """The readout of a model's final norm and unembedding.

    Args:
        config: the text model's configuration.
    """
    return Readout(in_float32(norm), in_float32(unembedding), after_unembedding(config))


def in_float32(module: nn.Module) -> Callable[[Tensor], Tensor]:
    """What a module without parts computes, with its weights in float32, where these are."""
    twin = copy(module)
    twin._parameters = {
        name: None
        if weight is None
        else nn.Parameter(weight_of(module, name).float(), requires_grad=False)
        for name, weight in module._parameters.items()
    }
    like = next((weight for weight in twin._parameters.values() if weight is not None), None)
    # the class's own: on the module itself nnsight has put its reading and writing
    forward = type(module).forward
    return lambda hidden: forward(twin, hidden if like is None else hidden.to(like.device))


def after_unembedding(config: Any) -> Callable[[Tensor], Tensor]:
    """What transformers does between unembedding and logits, by the configuration's keys.

    `final_logit_softcapping` (Gemma 2 and 3): c · tanh(x / c); `logit_scale` (Cohere): x · s;
    `logits_scaling` (Granite): x / s. That nothing else is done is checked when a model is loaded.
    """
    cap = getattr(config, "final_logit_softcapping", None)
    times = getattr(config, "logit_scale", None)
    over = getattr(config, "logits_scaling", None)

    def after(logits: Tensor) -> Tensor:
        if cap is not None:
            logits = torch.tanh(logits / cap) * cap
        if times is not None:
            logits = logits * times
        return logits / over if over is not None else logits

    return after
