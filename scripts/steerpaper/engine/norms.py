"""Norms as numbers: norm(x) = (x, less its mean where it centres) · scale(x) · gain + bias.

Of what kind a norm is (its gain the weight, the weight plus one, or none; centring or not) is
found on made-up residual streams, and holds only where it gives what the module gives.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from steerpaper.engine.offloaded import device_of, weight_of
from steerpaper.seeds import stream

# how far a norm may be from its module, by dtype, of the largest number of a token
ALLOWED = {torch.float32: 1e-3, torch.float16: 0.01, torch.bfloat16: 0.03}
# what norms that do not say so add to the mean square
EPSILONS = (1e-5, 1e-6, 1e-8, 1e-12)


@dataclass(frozen=True)
class Norm:
    """A norm, or none.

    Attributes:
        scaled: whether it is a norm: if not, it gives what it is given.
        centred: whether it takes the mean over d away, as a LayerNorm does.
        gain, bias: [d]; None for one and zero.
        epsilon: what it adds to the mean square.
    """

    scaled: bool = True
    centred: bool = False
    gain: Tensor | None = None
    bias: Tensor | None = None
    epsilon: float = 0.0

    def scale(self, x: Tensor) -> Tensor:
        """What it multiplies its input by, one positive number a token: [...] of [..., d]."""
        x = x.float()
        if not self.scaled:
            return torch.ones_like(x[..., 0])
        if self.centred:
            x = x - x.mean(dim=-1, keepdim=True)
        scale: Tensor = (x.square().mean(dim=-1) + self.epsilon).rsqrt()
        return scale

    def fold(self, directions: Tensor) -> Tensor:
        """Directions that its output is read in, as directions of its input, [..., d].

        <norm(x), w> = scale(x) · <x, fold(w)> + <bias, w>.
        """
        if self.gain is not None:
            directions = directions * self.gain.to(directions.device)
        return directions - directions.mean(dim=-1, keepdim=True) if self.centred else directions

    def passed(self, vectors: Tensor) -> Tensor:
        """What becomes of the terms of a sum that it reads, but for its scale, [..., d].

        norm(x + y) = scale(x + y) · (passed(x) + passed(y)) + bias.
        """
        if self.centred:
            vectors = vectors - vectors.mean(dim=-1, keepdim=True)
        return vectors if self.gain is None else vectors * self.gain.to(vectors.device)


NONE = Norm(scaled=False)


def norm_of(module: nn.Module, width: int, dtype: torch.dtype, device: torch.device) -> Norm | None:
    """The norm that a module computes on [..., width], or None where it computes none.

    Args:
        dtype: what it is given.
        device: where it is given that, if it has no weights that say so.
    """
    own = next((weight.device for weight in module.parameters()), device)
    device = device_of(module, own)
    # with a mean, and so small once that what is added to the mean square shows
    drawn = torch.tensor(stream(0, "norm").standard_normal((4, width))) + 0.5
    x = (drawn * torch.tensor([1.0, 2e-3, 30.0, 1.0])[:, None]).to(device, dtype)
    with torch.no_grad():
        given = module(x)
        if not isinstance(given, Tensor) or given.shape != x.shape:
            return None
        for norm in _candidates(module, width, dtype):
            mine = norm.passed(x.float()) * norm.scale(x)[:, None]
            mine = mine if norm.bias is None else mine + norm.bias
            size = given.float().abs().amax(dim=-1)
            if bool(((mine - given.float()).abs().amax(dim=-1) <= ALLOWED[dtype] * size).all()):
                return norm
    return None


def _candidates(module: nn.Module, width: int, dtype: torch.dtype) -> Iterator[Norm]:
    """What a module with such weights may compute, a LayerNorm's and an RMSNorm's forms."""
    own = {
        name: weight_of(module, name)
        for name, weight in module.named_parameters(recurse=False)
        if weight.shape == (width,)
    }
    bias = own.pop("bias", None)
    weight = next(iter(own.values()), None)
    gains = [None] if weight is None else [weight, weight.float() + 1]
    named = [getattr(module, name, None) for name in ("variance_epsilon", "eps", "epsilon")]
    # torch's RMSNorm without a number adds the dtype's own
    epsilons = [one for one in named if isinstance(one, float)] or [
        *EPSILONS,
        torch.finfo(dtype).eps,
    ]
    for gain in gains:
        for centred in (isinstance(module, nn.LayerNorm), not isinstance(module, nn.LayerNorm)):
            for epsilon in epsilons:
                yield Norm(True, centred, gain, bias, epsilon)
