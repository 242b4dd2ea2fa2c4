"""The language model: how it is loaded, on which device, and what proves that its parts are there.

"residual stream after block l" is the output of block l, l = 0..L-1.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.families import Architecture, architecture
from steerpaper.engine.folder import read_config, reading, told
from steerpaper.engine.loading import placed
from steerpaper.engine.offloaded import device_of, input_device
from steerpaper.engine.placing import Placing, pick_devices
from steerpaper.engine.rope import Stretch, stretch_of
from steerpaper.engine.text import load_tokenizer
from steerpaper.engine.unembed import Readout, readout_of
from steerpaper.errors import UserError
from steerpaper.finite import WAY_OUT
from steerpaper.workflow.files import read_json

log = logging.getLogger(__name__)

# of the largest logit: bfloat16's steps make 1% at most
OFF = 0.1


@dataclass(frozen=True)
class LanguageModel:
    """A loaded model.

    Attributes:
        nn: the nnsight model (`TransformersModel`), weights in place.
        tokenizer: its tokenizer.
        blocks: the blocks' nnsight envoys, in order; the output of each is [row, token, d].
        n_layers: number of blocks L.
        width: residual width d.
        context: the longest sequence in tokens that the model can read, or None.
        pad: a token id to pad with; it is always masked.
        ends: the token ids that end a completion.
        contiguous: a row's tokens must lie side by side (sliding-window attention counts columns).
        device: where its inputs go and its logits come from.
        name: as the manifest has it, for messages.
        where: its architecture.
    """

    nn: Any
    tokenizer: Any
    blocks: list[Any]
    n_layers: int
    width: int
    context: int | None
    pad: int
    ends: frozenset[int]
    contiguous: bool
    device: torch.device
    name: str
    where: Architecture

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are in, or were before they were quantized."""
        every: Iterator[torch.dtype] = (one.dtype for one in self.nn._module.parameters())
        return next(dtype for dtype in every if dtype.is_floating_point)

    def device_of(self, layer: int) -> torch.device:
        """Where a block runs, and so where the residual stream after it is."""
        return device_of(self.blocks[layer]._module, self.device)

    def like(self, layer: int) -> Tensor:
        """An empty tensor of the device and type of the residual stream after a block."""
        return torch.empty(0, dtype=self.dtype, device=self.device_of(layer))

    @cached_property
    def stretch(self) -> Stretch | None:
        """How rotary positions are stretched, if they are."""
        return stretch_of(self.nn._module.config.get_text_config())

    @property
    def longest(self) -> int | None:
        """The longest sequence that can be run: of the context, or unstretched, or None."""
        limits = [self.context, self.stretch.original if self.stretch and self.stretch.moves else 0]
        return min((limit for limit in limits if limit), default=None)

    @cached_property
    def readout(self) -> Readout | None:
        """Makes logits in float32; None where the model's own are (see `engine.unembed`)."""
        if self.dtype == torch.float32:
            return None
        module = self.nn._module
        return readout_of(
            module.get_submodule(self.where.final_norm),
            module.get_submodule(self.where.unembedding),
            module.config.get_text_config(),
        )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error).lower()
        for phrase in ("out of memory", "can't allocate memory", "cannot allocate memory")
    )


def load(
    directory: str | Path,
    *,
    device: str,
    dtype: str,
    threads: int,
    name: str | None = None,
    quantize: str | None = None,
    placing: Mapping[str, Any] | None = None,
) -> LanguageModel:
    """Load a model folder in Hugging Face format and check that its parts are where expected.

    Args:
        quantize: `4bit`, `8bit` or None (see `engine.placing`).
        placing: how much of the machine it takes, by the names of `Placing`.

    Raises:
        UserError: unknown model type, device that is not there, unusable files, too little memory,
            or parts that a tiny forward pass does not find where the architecture says.
    """
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    where = architecture(directory)
    share = Placing(**(placing or {}))
    devices = pick_devices(device, share.gpus)

    from nnsight import TransformersModel

    read_config(directory)
    tokenizer = load_tokenizer(directory)
    try:
        module = placed(directory, getattr(torch, dtype), devices, share, where.blocks, quantize)
    except UserError:
        raise
    except Exception as error:  # whatever transformers raises at files that came as data
        if out_of_memory(error):
            raise UserError(
                f"{directory}: out of memory while the model is loaded onto "
                f"{', '.join(map(str, devices))} in {dtype}; raise gpus_per_job, set offload.to: "
                "cpu or disk (docs/clusters.md), or use a smaller model, a machine with more "
                "memory or a dtype of fewer bytes"
            ) from error
        raise UserError(f"{directory}: the model cannot be loaded: {told(error)}") from error
    with reading(f"{directory}: the model cannot be run"):
        return wrap(
            TransformersModel(module, task="text-generation", tokenizer=tokenizer),
            tokenizer,
            where,
            name or Path(directory).name,
        )


def wrap(nn: Any, tokenizer: Any, where: Architecture, name: str) -> LanguageModel:
    """Make a `LanguageModel` of an nnsight model, and check it by a tiny forward pass."""
    config = nn._module.config.get_text_config()
    blocks = list(part_of(nn, where.blocks, name))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    lm = LanguageModel(
        nn=nn,
        tokenizer=tokenizer,
        blocks=blocks,
        n_layers=len(blocks),
        width=config.hidden_size,
        context=getattr(config, "max_position_embeddings", None),
        pad=pad or 0,
        ends=_ends(nn._module, tokenizer),
        contiguous=getattr(config, "sliding_window", None) is not None,
        device=input_device(nn._module),
        name=name,
        where=where,
    )
    _check(lm, part_of(nn, where.final_norm, name), part_of(nn, where.unembedding, name))
    return lm


def _ends(module: Any, tokenizer: Any) -> frozenset[int]:
    named = getattr(module.generation_config, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return frozenset(id for id in [*several, tokenizer.eos_token_id] if id is not None)


def part_of(nn: Any, path: str, name: str) -> Any:
    """A module by its dotted path.

    Raises:
        UserError: there is none.
    """
    part = nn
    for step in path.split("."):
        try:
            part = getattr(part, step)
        except AttributeError as error:
            raise UserError(
                f"model {name}: has no module '{path}' ('{step}' is missing)"
            ) from error
    return part


def _check(lm: LanguageModel, final_norm: Any, unembedding: Any) -> None:
    # two tokens, since a padding token may be a row of zeros
    ids = torch.tensor([[0, 1]], device=lm.device)
    saved: list[Tensor]
    with lm.nn.trace({"input_ids": ids, "attention_mask": torch.ones_like(ids)}):
        saved = list().save()  # type: ignore[attr-defined]  # noqa: C408
        for block in lm.blocks:
            saved.append(block.output)
        saved.append(final_norm.input)
        saved.append(unembedding.output)
        logits = lm.nn.output.logits.save()
    for layer, residual in enumerate(saved[:-1]):
        if not isinstance(residual, Tensor) or residual.shape != (1, 2, lm.width):
            raise UserError(
                f"model {lm.name}: block {layer} returns {_shape(residual)}, "
                f"expected a tensor [1, 2, {lm.width}]"
            )
        if layer < lm.n_layers and not residual.isfinite().all():
            raise UserError(
                f"model {lm.name}: after block {layer} the residual stream is not finite in "
                f"{str(lm.dtype).removeprefix('torch.')}: {WAY_OUT}"
            )
    if not torch.equal(saved[lm.n_layers - 1], saved[lm.n_layers]):
        raise UserError(
            f"model {lm.name}: the final norm does not read the last block's output, "
            "so the residual stream is not where the architecture says"
        )
    if lm.readout:
        _check_logits(lm, lm.readout(saved[lm.n_layers]), logits.float())


def _check_logits(lm: LanguageModel, ours: Tensor, theirs: Tensor) -> None:
    """Compare float32 logits with the model's own, which are on a coarser grid."""
    off = float((ours.to(theirs.device) - theirs).abs().max() / theirs.abs().max())
    if off > OFF:
        raise UserError(
            f"model {lm.name}: its logits are not what final norm and unembedding give (off by "
            f"{off:.0%} of the largest): it does something else to them, which must be added to "
            "scripts/steerpaper/engine/unembed.py; or set dtype: float32"
        )


def _shape(value: Any) -> str:
    return (
        f"[{', '.join(map(str, value.shape))}]" if isinstance(value, Tensor) else str(type(value))
    )


def load_manifest(
    manifest: str | Path,
    *,
    device: str,
    dtype: str,
    threads: int,
    quantize: str | None = None,
    placing: Mapping[str, Any] | None = None,
) -> tuple[LanguageModel, dict[str, Any]]:
    """Load the model beside a manifest, and read the manifest.

    Args:
        device, dtype, threads, quantize, placing: as `load` takes them.
    """
    origin = read_json(manifest)
    directory = Path(manifest).parent
    lm = load(
        directory,
        device=device,
        dtype=dtype,
        threads=threads,
        name=origin["name"],
        quantize=quantize,
        placing=placing,
    )
    log.info("model %s on %s in %s, %d threads", lm.name, lm.device, dtype, threads)
    return lm, origin
