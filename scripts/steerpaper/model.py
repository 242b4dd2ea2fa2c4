"""The language model: where its parts are, how it is loaded, and one forward pass through it.

All reading of and writing to activations goes through nnsight, here and nowhere else.
"residual stream after block l" is the output of block l, l = 0..L-1.
"""

import atexit
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from steerpaper.devices import hold
from steerpaper.errors import UserError
from steerpaper.files import read_json
from steerpaper.job import Job
from steerpaper.tokenizer import load_tokenizer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class BlockParts:
    """Where a block keeps its heads and neurons, as dotted paths from the block.

    Attributes:
        heads_out: the projection from the heads' outputs, side by side, to the residual stream.
        mlp_norm: the norm whose output the MLP reads.
        mlp_gate: a gated MLP's projection into the activation function; "" where there is none.
        mlp_in: the projection from the norm to the neurons (of a gated MLP: the ungated one).
        activation: the activation function.
        mlp_out: the projection from the neurons' activations to the residual stream.
        parallel: attention and MLP read the same residual; None where the configuration says it.
        gain_offset: what the norms add to their weight to get their gain.
    """

    heads_out: str
    mlp_norm: str
    mlp_gate: str
    mlp_in: str
    activation: str
    mlp_out: str
    parallel: bool | None = False
    gain_offset: float = 0.0


@dataclass(frozen=True)
class Architecture:
    """Where a family of models keeps its parts, as dotted paths from the causal language model.

    `parts` is None where a block is not the sum of its input, its heads and its neurons (norms
    after attention or MLP, fused projections, experts): there only the residual stream is known.
    """

    blocks: str
    final_norm: str
    unembedding: str
    parts: BlockParts | None = None


_GATED = BlockParts(
    heads_out="self_attn.o_proj",
    mlp_norm="post_attention_layernorm",
    mlp_gate="mlp.gate_proj",
    mlp_in="mlp.up_proj",
    activation="mlp.act_fn",
    mlp_out="mlp.down_proj",
)
_RESIDUAL_ONLY = Architecture("model.layers", "model.norm", "lm_head")
_LLAMA = replace(_RESIDUAL_ONLY, parts=_GATED)
_GEMMA = replace(_RESIDUAL_ONLY, parts=replace(_GATED, gain_offset=1.0))
_PLAIN = BlockParts("attn.c_proj", "ln_2", "", "mlp.c_fc", "mlp.act", "mlp.c_proj")
_GPT2 = Architecture("transformer.h", "transformer.ln_f", "lm_head", _PLAIN)
_NEOX = Architecture(
    "gpt_neox.layers",
    "gpt_neox.final_layer_norm",
    "lm_head",
    BlockParts(
        heads_out="attention.dense",
        mlp_norm="post_attention_layernorm",
        mlp_gate="",
        mlp_in="mlp.dense_h_to_4h",
        activation="mlp.act",
        mlp_out="mlp.dense_4h_to_h",
        parallel=None,
    ),
)

# by the model type that config.json names
ARCHITECTURES: Mapping[str, Architecture] = {
    "gpt2": _GPT2,
    "gpt_neox": _NEOX,
    "llama": _LLAMA,
    "mistral": _LLAMA,
    "mixtral": _RESIDUAL_ONLY,
    "qwen2": _LLAMA,
    "qwen3": _LLAMA,
    "gemma": _GEMMA,
    "gemma2": _RESIDUAL_ONLY,
    "gemma3_text": _RESIDUAL_ONLY,
    "phi3": _RESIDUAL_ONLY,
    "olmo2": _RESIDUAL_ONLY,
    "smollm3": _LLAMA,
}


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


# a place inside a block: (block, name), the names in the order in which a pass reaches them
Site = tuple[int, str]
SITES = ("heads", "mlp_norm", "mlp_gate", "mlp_in", "neurons")


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


def architecture(directory: str | Path) -> Architecture:
    """Look up the architecture of a model folder by the model type in its config.json.

    Raises:
        UserError: no config.json, or a model type that is not known.
    """
    path = Path(directory) / "config.json"
    try:
        model_type = json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: cannot be read as a model's configuration: {error}") from error
    if model_type not in ARCHITECTURES:
        raise UserError(
            f"{path}: model type '{model_type}' is not known, so its blocks, final norm and "
            f"unembedding cannot be found; known: {', '.join(sorted(ARCHITECTURES))}. "
            "A new family is one line in scripts/steerpaper/model.py"
        )
    return ARCHITECTURES[model_type]


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
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(directory)
    try:
        module = AutoModelForCausalLM.from_pretrained(
            directory, dtype=getattr(torch, dtype), local_files_only=True
        )
        module.to(target).eval()
    except (OSError, ValueError, RuntimeError, MemoryError) as error:
        if out_of_memory(error):
            raise UserError(
                f"{directory}: out of memory while the model is loaded onto {target} in {dtype}; "
                "use a smaller model, a machine with more memory or a dtype of fewer bytes"
            ) from error
        raise UserError(f"{directory}: the model cannot be loaded: {error}") from error
    return wrap(
        TransformersModel(module, task="text-generation", tokenizer=tokenizer),
        tokenizer,
        where,
        name or Path(directory).name,
    )


def wrap(nn: Any, tokenizer: Any, where: Architecture, name: str) -> LanguageModel:
    """Make a `LanguageModel` of an nnsight model, and check it by a tiny forward pass."""
    config = nn._module.config.get_text_config()
    blocks = list(_part(nn, where.blocks, name))
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
    _check(lm, _part(nn, where.final_norm, name), _part(nn, where.unembedding, name))
    return lm


def _ends(module: Any, tokenizer: Any) -> frozenset[int]:
    named = getattr(module.generation_config, "eos_token_id", None)
    several = named if isinstance(named, list) else [named]
    return frozenset(id for id in [*several, tokenizer.eos_token_id] if id is not None)


def _part(nn: Any, path: str, name: str) -> Any:
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
    ids = torch.tensor([[lm.pad, lm.pad]], device=lm.device)
    saved: list[Tensor]
    with lm.nn.trace({"input_ids": ids, "attention_mask": torch.ones_like(ids)}):
        saved = list().save()  # type: ignore[attr-defined]  # noqa: C408
        for block in lm.blocks:
            saved.append(block.output)
        saved.append(final_norm.input)
        saved.append(unembedding.output)
    for layer, residual in enumerate(saved[:-1]):
        if not isinstance(residual, Tensor) or residual.shape != (1, 2, lm.width):
            raise UserError(
                f"model {lm.name}: block {layer} returns {_shape(residual)}, "
                f"expected a tensor [1, 2, {lm.width}]"
            )
    if not torch.equal(saved[lm.n_layers - 1], saved[lm.n_layers]):
        raise UserError(
            f"model {lm.name}: the final norm does not read the last block's output, "
            "so the residual stream is not where the architecture says"
        )


def _shape(value: Any) -> str:
    return (
        f"[{', '.join(map(str, value.shape))}]" if isinstance(value, Tensor) else str(type(value))
    )


def forward(
    lm: LanguageModel,
    ids: Tensor,
    mask: Tensor,
    cache: Any,
    *,
    add: Mapping[int, Tensor] | None = None,
    enter: tuple[int, Tensor] | None = None,
    read: Mapping[int, Callable[[Tensor], Tensor]] | None = None,
    inside: Mapping[Site, Callable[[Tensor], Tensor]] | None = None,
    edit: Mapping[Site, Callable[[Tensor], Tensor]] | None = None,
    logits: Callable[[Tensor], Tensor] | None = None,
    logits_of_last: int = 0,
) -> tuple[dict[int | Site, Tensor], Tensor | None]:
    """Run one forward pass of new tokens after a cache, and keep only what is asked for.

    Args:
        ids: [row, token] the new tokens' ids.
        mask: [row, cached + token] 1 for tokens, 0 for padding; positions are counted from it.
        cache: a transformers `DynamicCache` of the same rows; it grows by the new tokens.
        add: per block, what to add to the residual stream after it, [row, token, d].
        enter: (l, residual [row, token, d]): blocks 0..l do not run, block l's output is this.
        read: per block, a function of the residual stream after it [row, token, d] (with what
            was added); the value is kept. The pass stops after the last block that is read.
        logits: a function of the logits [row, token, V]; without it no logits are computed.
        logits_of_last: compute them for so many last columns only; 0 for all.

    Returns:
        what `read` gave per block and `inside` per site, and what `logits` gave (None without).
    """
    add, read, inside, edit = add or {}, read or {}, inside or {}, edit or {}
    positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
    inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
    deepest = max([*read, *(layer for layer, _ in inside)], default=lm.n_layers - 1)
    last = lm.n_layers - 1 if logits else deepest
    # in the order in which the pass reaches them
    kept: list[int | Site] = []
    for layer in range(last + 1):
        kept += [(layer, site) for site in SITES if (layer, site) in inside]
        kept += [layer] if layer in read else []
    whole = not kept or kept[-1] == last
    skipped = enter[0] if enter else -1
    options = {"logits_to_keep": logits_of_last} if logits_of_last else {}
    saved: list[Tensor]
    with lm.nn.trace(inputs, past_key_values=cache, use_cache=True, **options) as tracer:
        saved = list().save()  # type: ignore[attr-defined]  # noqa: C408
        for layer in range(skipped + 1):
            lm.blocks[layer].skip(enter[1])  # type: ignore[index]
        for layer in range(skipped + 1, last + 1):
            for site in SITES:
                if (layer, site) in edit:
                    _module(lm, layer, site).input[:] = edit[layer, site](
                        _module(lm, layer, site).input
                    )
                if (layer, site) in inside:
                    module = _module(lm, layer, site)
                    value = module.output if site in ("mlp_gate", "mlp_in") else module.input
                    saved.append(inside[layer, site](value))
            if layer in add:
                lm.blocks[layer].output[:] += add[layer]
            if layer in read:
                saved.append(read[layer](lm.blocks[layer].output))
        if logits:
            saved.append(logits(lm.nn.output.logits))
        else:
            if whole:
                # touching the block's output is what lets the pass reach it before it stops
                _ = lm.blocks[last].output
            tracer.stop()
    return dict(zip(kept, saved, strict=False)), saved[-1] if logits else None


def _module(lm: LanguageModel, layer: int, site: str) -> Any:
    """The module at whose input (of `mlp_gate` and `mlp_in`: output) a site is found."""
    parts = lm.where.parts
    assert parts is not None
    paths = {
        "heads": parts.heads_out,
        "mlp_norm": parts.mlp_norm,
        "mlp_gate": parts.mlp_gate,
        "mlp_in": parts.mlp_in,
        "neurons": parts.mlp_out,
    }
    return _part(lm.blocks[layer], paths[site], lm.name)


def load_job_model(job: Job) -> tuple[LanguageModel, dict[str, Any]]:
    """Load the model of the manifest that a job names, as its configuration says to run it."""
    manifest = read_json(job.input["model"])
    directory = Path(job.input["model"]).parent
    device, dtype = job.params["device"], job.params["dtype"]
    lm = load(directory, device=device, dtype=dtype, threads=job.threads, name=manifest["name"])
    log.info("model %s on %s in %s, %d threads", lm.name, lm.device, dtype, job.threads)
    return lm, manifest
