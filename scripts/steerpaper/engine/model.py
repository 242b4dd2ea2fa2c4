"""The language model: how it is loaded, on which device, and what is known of it.

"residual stream after block l" is the output of block l, l = 0..L-1.
"""

import inspect
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from steerpaper.engine.finding import Architecture
from steerpaper.engine.folder import read_config, reading, told
from steerpaper.engine.how import PLAIN, How
from steerpaper.engine.loading import placed
from steerpaper.engine.offloaded import device_of, input_device
from steerpaper.engine.parts import BlockParts, find_parts, refuse
from steerpaper.engine.placing import Placing, pick_devices
from steerpaper.engine.rope import Stretch, stretch_of
from steerpaper.engine.text import load_tokenizer
from steerpaper.engine.unembed import Readout, readout_of
from steerpaper.errors import UserError
from steerpaper.workflow import garbage
from steerpaper.workflow.files import read_json

if TYPE_CHECKING:
    from steerpaper.engine.remote import Remote
    from steerpaper.engine.together import Together

log = logging.getLogger(__name__)


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
        device: where its inputs go and its logits come from.
        name: as the manifest has it, for messages.
        where: its architecture.
        how: how it is run (see `engine.proof`).
        takes: what its module can be given, by name.
        remote: where its passes run, if that is not this machine: then its module has no weights,
            and `device` is where token ids are made.
    """

    nn: Any
    tokenizer: Any
    blocks: list[Any]
    n_layers: int
    width: int
    context: int | None
    pad: int
    ends: frozenset[int]
    device: torch.device
    name: str
    where: Architecture
    how: How
    takes: frozenset[str]
    remote: "Remote | None" = None
    _shared: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

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

    @property
    def stretch(self) -> Stretch | None:
        """How rotary positions are stretched, if they are."""
        if "stretch" not in self._shared:
            self._shared["stretch"] = stretch_of(self.nn._module.config.get_text_config())
        stretch: Stretch | None = self._shared["stretch"]
        return stretch

    @property
    def parts(self) -> BlockParts:
        """Where its blocks keep heads and neurons.

        Raises:
            UserError: these cannot be told apart.
        """
        if self.nn._module.device.type == "meta":
            raise refuse(self.name, "its weights are at NDIF (model.remote)")
        if "parts" not in self._shared:
            blocks = [block._module for block in self.blocks]
            self._shared["parts"] = find_parts(self.name, self.nn._module, blocks)
        parts: BlockParts = self._shared["parts"]
        return parts

    @property
    def readout(self) -> Readout | None:
        """Makes logits in float32; None where the model's own are (see `engine.unembed`)."""
        if self.remote:
            return self.remote.readout
        if self.dtype == torch.float32:
            return None
        if "readout" not in self._shared:
            module, norm = self.nn._module, self.where.final_norm
            self._shared["readout"] = readout_of(
                module.get_submodule(norm) if norm else torch.nn.Identity(),
                module.get_submodule(self.where.unembedding),
                module.config.get_text_config(),
            )
        readout: Readout = self._shared["readout"]
        return readout

    @property
    def together(self) -> "Together | None":
        """What lets batches run side by side, of a model that runs elsewhere."""
        return self.remote.together if self.remote else None

    def run(self, how: How) -> "LanguageModel":
        """The same model, run in another way."""
        return self if how == self.how else replace(self, how=how)

    def for_length(self, length: int) -> "LanguageModel":
        """The model as sequences of up to so many tokens need it.

        Beyond the original length of rotary positions that move (see `engine.rope`), what was
        computed of a beginning is not the whole's, nor is a row's what it is beside a longer one.
        """
        if not (self.stretch and self.stretch.moves and length > self.stretch.original):
            return self
        if "told" not in self._shared:
            self._shared["told"] = True
            log.warning(
                "model %s: sequences of up to %d tokens; beyond %d its rotary positions (%s) "
                "change with the length for all tokens: run %s, which is slower",
                *(self.name, length, self.stretch.original, self.stretch.kind, PLAIN.told),
            )
        return self.run(PLAIN)


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that a device or the machine has no memory left."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or any(
        phrase in str(error).lower()
        for phrase in ("out of memory", "can't allocate memory", "cannot allocate memory")
    )


def open_folder(
    directory: str | Path,
    *,
    device: str,
    dtype: str,
    threads: int,
    quantize: str | None = None,
    attention: str | None = None,
    tf32: bool = False,
    placing: Mapping[str, Any] | None = None,
    blocks: str | None = None,
) -> tuple[Any, Any]:
    """Load a model folder in Hugging Face format: its module, on its devices, and its tokenizer.

    Args:
        quantize: `4bit`, `8bit` or None (see `engine.placing`).
        attention: transformers' name of how attention is computed; None for the model's own.
        tf32: products of float32 matrices may be of ten bits' mantissa on CUDA.
        placing: how much of the machine it takes, by the names of `Placing`.
        blocks: the path of its list of blocks, where it is known.

    Raises:
        UserError: a device that is not there, unusable files, or too little memory.
    """
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    # torch's own choice is different for the two, and for other versions of it
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = tf32
    share = Placing(**(placing or {}))
    devices = pick_devices(device, share.gpus)
    read_config(directory)
    tokenizer = load_tokenizer(directory)
    try:
        kind = getattr(torch, dtype)
        module = placed(directory, kind, devices, share, blocks, quantize, attention)
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
    garbage.resume()
    return module, tokenizer


def wrap(module: Any, tokenizer: Any, where: Architecture, how: How, name: str) -> LanguageModel:
    """Make a `LanguageModel` of a module of which it is known where its parts are."""
    from nnsight import TransformersModel

    device = next(module.parameters()).device
    elsewhere = device.type == "meta"
    # else it is moved to the first of CUDA's devices, wherever it is
    stay = {} if getattr(module, "hf_device_map", None) else {"device": device}
    nn = TransformersModel(module, task="text-generation", tokenizer=tokenizer, **stay)
    config = module.config.get_text_config()
    blocks = list(part_of(nn, where.blocks, name))
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    return LanguageModel(
        nn=nn,
        tokenizer=tokenizer,
        blocks=blocks,
        n_layers=len(blocks),
        width=config.hidden_size,
        context=context_of(config),
        pad=pad or 0,
        ends=_ends(module, tokenizer),
        device=torch.device("cpu") if elsewhere else input_device(module),
        name=name,
        where=where,
        how=how,
        takes=frozenset(inspect.signature(type(module).forward).parameters),
    )


def context_of(config: Any) -> int | None:
    """The longest sequence that a text model's configuration allows, or None."""
    # as MPT calls it
    longest = getattr(config, "max_position_embeddings", None) or getattr(config, "max_seq_len", 0)
    return longest or None


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


def load_manifest(
    engine: str | Path,
    *,
    device: str,
    dtype: str,
    threads: int,
    placing: Mapping[str, Any] | None = None,
    **how: Any,
) -> tuple[LanguageModel, dict[str, Any]]:
    """Load the model that rule `engine` has proved, and read its manifest.

    Args:
        engine: that rule's file: where the model is, where its parts are, and how it is run.
        device, dtype, threads, placing, how: as `open_folder` takes them.
    """
    proved = read_json(engine)
    directory = Path(engine).parent / proved["model"]
    origin = read_json(directory / "manifest.json")
    where, way = Architecture(**proved["where"]), How(**proved["how"])
    if origin.get("remote"):
        from steerpaper.engine.service import open_remote

        lm = open_remote(directory, origin, dtype, threads, where, way)
        garbage.resume()
        return lm, origin
    module, tokenizer = open_folder(
        directory,
        device=device,
        dtype=dtype,
        threads=threads,
        placing=placing,
        blocks=where.blocks,
        **how,
    )
    with reading(f"{directory}: the model cannot be run"):
        lm = wrap(module, tokenizer, where, way, origin["name"])
    from steerpaper.engine.limit import watch

    told = {"dtype": dtype, "threads": threads, "placing": placing, **how}
    watch(lm, directory, origin.get("files", {}), told)
    log.info("model %s on %s in %s, %d threads", lm.name, lm.device, dtype, threads)
    if way != How():
        log.info("it is run %s", way.told)
    return lm, origin
