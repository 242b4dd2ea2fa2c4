"""The language model: how it is loaded, on which device, and what proves that its parts are there.

"residual stream after block l" is the output of block l, l = 0..L-1.
"""

import atexit
import logging
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steerpaper.engine.families import Architecture, architecture
from steerpaper.engine.folder import read_config, reading, told
from steerpaper.engine.pretrained import pretrained
from steerpaper.engine.rope import Stretch, stretch_of
from steerpaper.engine.text import load_tokenizer
from steerpaper.engine.unembed import Readout, readout_of
from steerpaper.errors import UserError
from steerpaper.finite import WAY_OUT
from steerpaper.workflow import garbage
from steerpaper.workflow.devices import hold
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
        device: where the weights are.
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
        """What the weights are in."""
        dtype: torch.dtype = next(self.nn._module.parameters()).dtype
        return dtype

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


def pick_device(device: str) -> torch.device:
    """Resolve the configuration's `device`; a CUDA device is this process's own until it ends.

    Raises:
        UserError: the device is asked for and this machine has none.
    """
    have = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        device = next(name for name, there in have.items() if there)
    if not have[device]:
        raise UserError(
            f"device: '{device}' is asked for, but torch {torch.__version__} finds none on this "
            "machine; set device: auto or cpu, or install a build of torch for your GPU"
        )
    return own_gpu() if device == "cuda" else torch.device(device)


@cache
def own_gpu() -> torch.device:
    """Take one of the CUDA devices, for this process alone.

    It is addressed by CUDA's number among the devices that CUDA shows: what CUDA_VISIBLE_DEVICES
    holds (numbers, UUIDs, MIG names) is left to CUDA, which has read it by now.
    """
    devices = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    number = hold([str(device.uuid) for device in devices])
    log.info(
        "GPU cuda:%d (%s, %s), one of %d",
        *(number, devices[number].name, devices[number].uuid, len(devices)),
    )
    device = torch.device("cuda", number)
    torch.cuda.set_device(device)
    atexit.register(_log_peak_memory, device)
    return device


def _log_peak_memory(device: torch.device) -> None:
    log.info(
        "peak memory of %s: %.0f MB in tensors, %.0f MB reserved",
        device,
        torch.cuda.max_memory_allocated(device) / 1e6,
        torch.cuda.max_memory_reserved(device) / 1e6,
    )


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error).lower()
        for phrase in ("out of memory", "can't allocate memory", "cannot allocate memory")
    )


def load(
    directory: str | Path, *, device: str, dtype: str, threads: int, name: str | None = None
) -> LanguageModel:
    """Load a model folder in Hugging Face format and check that its parts are where expected.

    Raises:
        UserError: unknown model type, device that is not there, unusable files, too little memory,
            or parts that a tiny forward pass does not find where the architecture says.
    """
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    where = architecture(directory)
    target = pick_device(device)

    from nnsight import TransformersModel

    read_config(directory)
    tokenizer = load_tokenizer(directory)
    try:
        module = pretrained(directory, getattr(torch, dtype))
        # weights are never differentiated: a pass that is keeps nothing for theirs
        module.to(target).eval().requires_grad_(False)
    except UserError:
        raise
    except Exception as error:  # whatever transformers raises at files that came as data
        if out_of_memory(error):
            raise UserError(
                f"{directory}: out of memory while the model is loaded onto {target} in {dtype}; "
                "use a smaller model, a machine with more memory or a dtype of fewer bytes"
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
        device=next(nn._module.parameters()).device,
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
    off = float((ours - theirs).abs().max() / theirs.abs().max())
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
    manifest: str | Path, *, device: str, dtype: str, threads: int
) -> tuple[LanguageModel, dict[str, Any]]:
    """Load the model beside a manifest, and read the manifest."""
    origin = read_json(manifest)
    directory = Path(manifest).parent
    lm = load(directory, device=device, dtype=dtype, threads=threads, name=origin["name"])
    log.info("model %s on %s in %s, %d threads", lm.name, lm.device, dtype, threads)
    garbage.resume()
    return lm, origin
