"""Where a model keeps its blocks, its final norm and its unembedding: found, not listed.

The blocks are the list of as many modules as the configuration says; what the last one returns is
read by the final norm; the output embeddings make logits. All this is seen on a pass of two tokens.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steerpaper.errors import UserError
from steerpaper.finite import WAY_OUT


@dataclass(frozen=True)
class Architecture:
    """Where a model keeps its parts, as dotted paths from the causal language model.

    Attributes:
        blocks: the list of blocks.
        final_norm: what reads the last block's output; "" where the unembedding does itself.
        unembedding: makes logits.
        returns: how many values a block returns, the residual stream first; 0: it returns that
            alone, in no tuple.
    """

    blocks: str
    final_norm: str
    unembedding: str
    returns: int = 0


def block_lists(module: nn.Module) -> list[str]:
    """Paths of the lists that have as many modules as the text model has blocks, outermost first.

    Raises:
        UserError: there is none.
    """
    config = module.config.get_text_config()  # type: ignore[operator, union-attr]
    number = getattr(config, "num_hidden_layers", None)
    found = [
        path
        for path, part in module.named_modules()
        if isinstance(part, nn.ModuleList) and len(part) == number
    ]
    outer = [path for path in found if not any(path.startswith(f"{one}.") for one in found)]
    if not outer:
        raise UserError(
            f"a model of type {config.model_type!r} has no list of {number} modules, as many as "
            "config.json says that it has blocks, so its residual stream cannot be found"
        )
    return outer


def residual_of(output: Any) -> Any:
    """The residual stream in what a block returns."""
    return output[0] if isinstance(output, tuple) else output


def find(module: nn.Module, name: str) -> Architecture:
    """Find blocks, final norm and unembedding on a pass of two tokens.

    Raises:
        UserError: they are not there, or the residual stream is no [row, token, d] or not finite.
    """
    lists = block_lists(module)
    unembedding = module.get_output_embeddings()  # type: ignore[operator]
    paths = {id(part): path for path, part in module.named_modules()}
    if unembedding is None or id(unembedding) not in paths:
        raise UserError(f"model {name}: has no output embeddings, so it makes no logits")
    device = next(module.parameters()).device
    # two tokens, since a padding token may be a row of zeros
    ids = torch.tensor([[0, 1]], device=device)
    with _watched(module, lists) as seen:
        module(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False)
    # a model of pictures and text may have as many blocks for either
    number = {path: len(list(module.get_submodule(path).children())) for path in lists}
    ran = [path for path in lists if seen.ran(path, number[path])]
    if len(ran) != 1:
        raise UserError(
            f"model {name}: which modules are its blocks cannot be told: of {', '.join(lists)}, "
            f"{len(ran)} lists ran once from first to last on a pass of text"
        )
    outputs = list(seen.outputs[ran[0]].values())
    _check_residual(name, outputs)
    last = residual_of(outputs[-1])
    reader = next(
        (path for path, read in seen.read if read is last or _same_memory(read, last)), None
    )
    if reader is None:
        raise UserError(
            f"model {name}: no module reads the last block's output as it is, so its final norm "
            "cannot be found"
        )
    where = paths[id(unembedding)]
    returns = len(outputs[-1]) if isinstance(outputs[-1], tuple) else 0
    return Architecture(ran[0], "" if reader == where else reader, where, returns)


def _same_memory(one: Tensor, other: Tensor) -> bool:
    # without weights no tensor is anywhere
    return not one.is_meta and one.shape == other.shape and one.data_ptr() == other.data_ptr()


def _check_residual(name: str, outputs: list[Any]) -> None:
    """Refuse blocks that return no [1, 2, d], the same d after each, or what is not finite."""
    width = None
    for layer, output in enumerate(outputs):
        residual = residual_of(output)
        shape = tuple(residual.shape) if isinstance(residual, Tensor) else type(residual).__name__
        width = width or (shape[-1] if isinstance(shape, tuple) else None)
        if shape != (1, 2, width):
            raise UserError(
                f"model {name}: block {layer} returns {shape}, expected a residual stream "
                f"[1, 2, {width or 'd'}]"
            )
        if not residual.is_meta and not residual.isfinite().all():
            raise UserError(
                f"model {name}: after block {layer} the residual stream is not finite in "
                f"{str(residual.dtype).removeprefix('torch.')}: {WAY_OUT}"
            )


class _Seen:
    """What was seen of a pass.

    Attributes:
        outputs: by list and number, what each block returned, in the order in which they ran.
        order: by list, the numbers in that order.
        read: path of a module outside the blocks, and a tensor that it read, in order.
    """

    def __init__(self) -> None:
        self.outputs: dict[str, dict[int, Any]] = {}
        self.order: dict[str, list[int]] = {}
        self.read: list[tuple[str, Tensor]] = []

    def ran(self, path: str, number: int) -> bool:
        """Whether a list's modules ran once each, in order."""
        return self.order.get(path) == list(range(number))


@contextmanager
def _watched(module: nn.Module, lists: list[str]) -> Iterator[_Seen]:
    """Watch what blocks return, and what the modules outside them read."""
    seen = _Seen()
    handles = []

    def watch_block(path: str, number: int, block: nn.Module) -> None:
        def after(_module: nn.Module, _inputs: Any, output: Any) -> None:
            seen.order.setdefault(path, []).append(number)
            seen.outputs.setdefault(path, {})[number] = output

        handles.append(block.register_forward_hook(after))

    def watch_other(path: str, other: nn.Module) -> None:
        def before(_module: nn.Module, inputs: Any, named: Any) -> None:
            read = (one for one in (*inputs, *named.values()) if isinstance(one, Tensor))
            seen.read.extend((path, one) for one in read)

        handles.append(other.register_forward_pre_hook(before, with_kwargs=True))

    for path in lists:
        for number, block in module.get_submodule(path).named_children():
            watch_block(path, int(number), block)
    for path, other in module.named_modules():
        if path and not any(f"{path}.".startswith(f"{one}.") for one in lists):
            watch_other(path, other)
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()
