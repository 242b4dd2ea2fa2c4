"""Where blocks keep their heads and neurons: found by name, and by what a pass did.

Projections are found by what they are called. Which norm the MLP reads, whether it reads what the
heads of its own block wrote, what stands between these and the residual stream, and in which order
all this runs is seen on a pass of three tokens. `engine.identities` proves that nothing is missing.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from steerpaper.engine.finding import residual_of
from steerpaper.engine.offloaded import input_device
from steerpaper.errors import UserError

# what parts are called; first come the paths from the block to what holds them
ATTENTION = ("self_attn", "attn", "attention", "self_attention", "attn.attention")
HEADS_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo")
MLP = ("mlp", "ffn", "feed_forward", "")
# the projections into the activation function (of a gated MLP), past it, and out of the neurons
GATED = (
    ("gate_proj", "up_proj", "down_proj"),
    ("gate_up_proj", "gate_up_proj", "down_proj"),
    ("w1", "w3", "w2"),
)
UNGATED = (
    ("up_proj", "down_proj"),
    ("c_fc", "c_proj"),
    ("fc1", "fc2"),
    ("fc_in", "fc_out"),
    ("dense_h_to_4h", "dense_4h_to_h"),
)
ACTIVATION = ("act_fn", "act", "activation_fn", "gelu_impl", "activation", "activation_function")
# parts of names of modules among which tokens are shared out
EXPERTS = ("expert", "router", "moe")
TOKENS = 3


@dataclass(frozen=True)
class BlockParts:
    """Where a block keeps its heads and neurons, as dotted paths from the block; "" for none.

    A block's output is its input + multiplier · (what its heads and its neurons write, each through
    the norm that stands behind them).

    Attributes:
        heads_out: the projection from the heads' outputs, side by side, to the residual stream.
        heads_norm: the norm of what that gives.
        mlp_norm: the norm whose output the MLP reads; "": it reads the residual stream itself.
        mlp_gate: a gated MLP's projection into the activation function. The same as `mlp_in` where
            one gives both, the gate first.
        mlp_in: the projection from the norm to the neurons (of a gated MLP: the ungated one).
        activation: the activation function.
        mlp_out: the projection from the neurons' activations to the residual stream.
        neurons_norm: the norm of what that gives.
        entry: what reads the residual stream for the MLP: its norm, or its first projection.
        parallel: the MLP reads the block's input, without what its heads wrote.
        multiplier: see above; 1 in most families.
        order: the places inside a block (see `engine.forward`) as a pass reaches them.
    """

    heads_out: str
    mlp_gate: str
    mlp_in: str
    activation: str
    mlp_out: str
    heads_norm: str = ""
    mlp_norm: str = ""
    neurons_norm: str = ""
    entry: str = ""
    parallel: bool = False
    multiplier: float = 1.0
    order: tuple[str, ...] = ()

    @property
    def fused(self) -> bool:
        """Whether one projection gives both gate and input."""
        return bool(self.mlp_gate) and self.mlp_gate == self.mlp_in

    def places(self) -> dict[str, tuple[str, bool]]:
        """Every place inside a block: the module's path, and whether it is what that returns."""
        found = {
            "heads": (self.heads_out, False),
            "heads_norm": (self.heads_norm, False),
            "mlp_norm": (self.entry, False),
            "mlp_gate": (self.mlp_gate, True),
            "mlp_in": (self.mlp_in, True),
            "neurons": (self.mlp_out, False),
            "neurons_norm": (self.neurons_norm, False),
        }
        return {name: place for name, place in found.items() if place[0]}


def refuse(name: str, reason: str) -> UserError:
    """What is said of a model whose heads and neurons cannot be told apart."""
    return UserError(
        f"model {name}: the study of lookups cannot be made of it, since its heads and neurons "
        f"cannot be told apart: {reason}. Steering does not need them: studies: [steering]"
    )


def find_parts(name: str, module: nn.Module, blocks: Sequence[nn.Module]) -> BlockParts:
    """Find the parts that all blocks have.

    Args:
        name: the model's, for messages.
        module: the whole model.

    Raises:
        UserError: a block is no sum of its input, heads and neurons, as far as can be seen.
    """
    config = module.config.get_text_config()  # type: ignore[operator, union-attr]
    named = [_named(name, layer, block) for layer, block in enumerate(blocks)]
    found: list[BlockParts] = []

    def look(layer: int, seen: Seen) -> None:
        found.append(_seen_parts(name, layer, named[layer], seen, config))

    with watched(blocks, look):
        run_tokens(module)
    for layer, parts in enumerate(found):
        if replace(parts, multiplier=found[0].multiplier) != found[0]:
            raise refuse(name, f"block {layer} is built otherwise than block 0")
    return found[0]


def tokens_of(module: nn.Module) -> Tensor:
    """Three token ids [1, 3] from within the vocabulary, at whose ends are special ones."""
    config = module.config.get_text_config()  # type: ignore[operator, union-attr]
    step = config.vocab_size // (TOKENS + 1)
    return torch.arange(1, TOKENS + 1, device=input_device(module))[None] * int(step)


def run_tokens(module: nn.Module) -> None:
    """The model's own pass of these tokens."""
    ids = tokens_of(module)
    module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)


def _named(name: str, layer: int, block: nn.Module) -> BlockParts:
    """The projections and the activation function, by what they are called."""
    modules = dict(block.named_modules())
    experts = next((path for path in modules if any(one in path for one in EXPERTS)), None)
    if experts:
        raise refuse(
            name,
            f"block {layer} shares its tokens out among experts ('{experts}'), so that a neuron is "
            "not there for every token",
        )
    children = ", ".join(path for path, _ in block.named_children())

    def first(paths: Sequence[str], what: str) -> str:
        for path in paths:
            if path in modules:
                return path
        raise refuse(
            name, f"block {layer} has no {what} under a name that is known; it has {children}"
        )

    heads_out = first(_joined(ATTENTION, HEADS_OUT), "projection out of its attention")
    for path in MLP:
        for gate, into, out in (*GATED, *(("", *two) for two in UNGATED)):
            gated, inner, outer = _joined([path], [gate or into, into, out])
            if {gated, inner, outer} <= modules.keys():
                acts = _joined([path, ""], ACTIVATION)
                activation = first(acts, "activation function")
                return BlockParts(heads_out, gated if gate else "", inner, activation, outer)
    raise refuse(name, f"block {layer} has no MLP under names that are known; it has {children}")


def _joined(paths: Sequence[str], names: Sequence[str]) -> list[str]:
    return [f"{path}.{name}" if path else name for path in paths for name in names]


@dataclass
class Seen:
    """What was seen of one block on a pass, as float32 [token, …] on the CPU.

    Attributes:
        given, returned: by path, what a module without parts of its own read and returned.
        began, ended: by path, when.
        before, after: the residual stream before and after the block.
    """

    given: dict[str, Tensor] = field(default_factory=dict)
    returned: dict[str, Tensor] = field(default_factory=dict)
    began: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    before: Tensor = field(default_factory=lambda: torch.empty(0))
    after: Tensor = field(default_factory=lambda: torch.empty(0))

    def time(self) -> int:
        """A number that grows."""
        return len(self.began) + len(self.ended)


def _kept(x: Tensor) -> Tensor:
    """A copy [token, …], also where a block puts rows and tokens in one axis."""
    return x.detach().float().cpu().reshape(-1, x.shape[-1]).clone()


def _first_tensor(inputs: Any, named: Any) -> Tensor | None:
    """The first tensor that a module is given."""
    every = (*inputs, *named.values())
    return next((one for one in every if isinstance(one, Tensor)), None)


@contextmanager
def watched(blocks: Sequence[nn.Module], look: Callable[[int, Seen], None]) -> Iterator[None]:
    """Have `look` see every block when it has run, one block at a time."""
    handles = []

    def watch(part: nn.Module, path: str, seen: Seen) -> None:
        def before(_module: nn.Module, inputs: Any, named: Any) -> None:
            x = _first_tensor(inputs, named)
            if x is not None and x.is_floating_point() and x.dim() > 1:
                seen.given[path], seen.began[path] = _kept(x), seen.time()

        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and path in seen.given:
                seen.returned[path], seen.ended[path] = _kept(output), seen.time()

        handles.append(part.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(part.register_forward_hook(after))

    def watch_block(layer: int, block: nn.Module) -> None:
        seen = Seen()

        def before(_module: nn.Module, inputs: Any, named: Any) -> None:
            x = _first_tensor(inputs, named)
            assert x is not None
            seen.before = _kept(x)

        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.after = _kept(residual_of(output))
            look(layer, seen)
            seen.given.clear()
            seen.returned.clear()

        handles.append(block.register_forward_pre_hook(before, with_kwargs=True))
        handles.append(block.register_forward_hook(after))
        for path, part in block.named_modules():
            if path and not list(part.children()):
                watch(part, path, seen)

    for layer, block in enumerate(blocks):
        watch_block(layer, block)
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _seen_parts(name: str, layer: int, parts: BlockParts, seen: Seen, config: Any) -> BlockParts:
    """What the names leave open, by which tensors are the same."""
    needed = (parts.heads_out, parts.mlp_gate, parts.mlp_in, parts.activation, parts.mlp_out)
    for path in filter(None, needed):
        if path not in seen.returned:
            raise refuse(name, f"block {layer} does not run '{path}' as a module of its own")
    read = seen.given[parts.mlp_in]
    if parts.mlp_gate and not torch.equal(seen.given[parts.mlp_gate], read):
        raise refuse(name, f"the gate of block {layer}'s MLP reads something else than its input")
    heads_norm, heads = _normed(seen, parts.heads_out)
    neurons_norm, neurons = _normed(seen, parts.mlp_out)
    # the last that gives what the MLP reads: of two norms that give the same, the MLP's own
    norm = max(
        (path for path, x in seen.returned.items() if _same(x, read) and _changes(seen, path)),
        key=lambda path: seen.ended[path],
        default="",
    )
    entry = norm or min(filter(None, needed[1:3]), key=lambda path: seen.began[path])
    multiplier = _multiplier(seen, heads + neurons, config)
    residual = seen.given[entry]
    from_input, from_heads = (
        (residual - x).norm() for x in (seen.before, seen.before + multiplier * heads)
    )
    parts = replace(
        parts,
        heads_norm=heads_norm,
        mlp_norm=norm,
        neurons_norm=neurons_norm,
        entry=entry,
        parallel=bool(from_input < from_heads),
        multiplier=multiplier,
    )
    places = parts.places().items()
    times = {place: (seen.ended if out else seen.began)[path] for place, (path, out) in places}
    return replace(parts, order=tuple(sorted(times, key=lambda place: times[place])))


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.equal(one, other)


def _changes(seen: Seen, path: str) -> bool:
    """Whether a module gives something else of the shape of what it reads (no dropout does)."""
    one, other = seen.given[path], seen.returned[path]
    return one.shape == other.shape and not torch.equal(one, other)


def _normed(seen: Seen, path: str) -> tuple[str, Tensor]:
    """What reads a projection's output and changes it, if anything does; and what is then given."""
    output = seen.returned[path]
    for reader, x in seen.given.items():
        if reader in seen.returned and _same(x, output) and _changes(seen, reader):
            return reader, seen.returned[reader]
    return "", output


def _multiplier(seen: Seen, written: Tensor, config: Any) -> float:
    """What heads and neurons are multiplied by: as the configuration says, 1, or what fits best."""
    added = seen.after - seen.before
    known = getattr(config, "residual_multiplier", None) or 1.0
    size = float(written.square().sum())
    fitted = float((added * written).sum()) / size if size else known
    return known if abs(fitted - known) <= 0.01 * abs(known) else fitted
