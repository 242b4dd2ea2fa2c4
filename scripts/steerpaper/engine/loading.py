"""A model's weights put where they are to lie (see `engine.placing`), quantized or as they are."""

import atexit
import logging
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from steerpaper.engine.finding import block_lists
from steerpaper.engine.placing import GB, Parts, Placing, lay_out, parts_of, room_of
from steerpaper.engine.pretrained import pretrained
from steerpaper.errors import UserError

log = logging.getLogger(__name__)


def placed(
    directory: str | Path,
    dtype: torch.dtype,
    devices: Sequence[torch.device],
    placing: Placing,
    blocks: str | None,
    quantize: str | None = None,
    attention: str | None = None,
) -> Any:
    """Load a model folder's module onto a job's devices, ready to run.

    Args:
        blocks: the dotted path of its list of blocks; None where it is not known yet.
        quantize: `4bit` or `8bit`, by bitsandbytes on CUDA; None leaves the weights as they are.
        attention: transformers' name of how attention is computed; None for the model's own.

    Raises:
        UserError: it does not fit, or weights that are not the model's.
        Exception: whatever transformers raises at files that it cannot use.
    """
    way = {"attn_implementation": attention} if attention else {}
    if quantize is None and len(devices) == 1 and placing.to is None:
        module = pretrained(directory, dtype, **way).to(devices[0])
    else:
        outline = pretrained(directory, dtype, "meta")
        parts = parts_of(outline, blocks or block_lists(outline)[-1], quantize)
        where = lay_out(parts, devices, placing, room_of(devices, placing, parts))
        _log_places(parts, where)
        # what it warns of is said above
        logging.getLogger("accelerate.big_modeling").setLevel(logging.ERROR)
        module = pretrained(
            directory,
            dtype,
            _device_map(where),
            offload_folder=_folder() if "disk" in where.values() else None,
            quantization_config=quantization(quantize, dtype, devices[0]),
            **way,
        )
        for one in module.modules():
            if type(one).__name__ == "Linear8bitLt":
                one.compute_dtype = dtype  # as those of 4 bits say it of themselves
        if devices[0].type == "cpu":
            _wait_on_host(module, [name for name, place in where.items() if place == "host"])
    # weights are never differentiated: a pass that is keeps nothing for theirs
    module.eval().requires_grad_(False)
    _read_columns_together(module)
    return module


def _read_columns_together(module: Any) -> None:
    """Let the unembedding make one product of some columns of many rows.

    Where these lie apart, torch goes through all of its weights anew for every row.
    """
    unembedding = module.get_output_embeddings()
    if unembedding is not None:
        unembedding.register_forward_pre_hook(lambda _, given: (given[0].contiguous(), *given[1:]))


def _device_map(where: Mapping[str, str]) -> dict[str, int | str]:
    """As accelerate takes it: CUDA devices by number, so that the first of them is the main one."""
    found: dict[str, int | str] = {
        name: int(place.removeprefix("cuda:")) if place.startswith("cuda:") else place
        for name, place in where.items()
    }
    found = {name: "cpu" if place == "host" else place for name, place in found.items()}
    places = set(found.values())
    return {"": places.pop()} if len(places) == 1 and places != {"disk"} else found


def _log_places(parts: Parts, where: Mapping[str, str]) -> None:
    every = {**parts.first, **parts.blocks, **parts.last}
    for place in dict.fromkeys(where.values()):
        names = [name for name in where if where[name] == place]
        size = sum(every[name] for name in names)
        log.info(
            "%s: %d blocks, %.2f GB of weights",
            *(place, sum(name in parts.blocks for name in names), size / GB),
        )


@cache
def _folder() -> str:
    """Where weights are written that cannot be read from their own files; it goes with the job.

    transformers makes the tensors of some families out of several of the files' (experts): these
    alone are written.
    """
    folder = tempfile.TemporaryDirectory(prefix="steerpaper-offload-")
    atexit.register(folder.cleanup)
    return folder.name


def _wait_on_host(module: nn.Module, names: Sequence[str]) -> None:
    """Take blocks' weights out of them, as on a GPU, and put each in while it runs on the CPU.

    Where the CPU computes this saves nothing: it is what tests prove offload with.
    """
    from accelerate.hooks import (  # type: ignore[import-untyped]
        AlignDevicesHook,
        add_hook_to_module,
        attach_align_device_hook,
    )

    for name in names:
        block = module.get_submodule(name)
        attach_align_device_hook(block, execution_device=torch.device("cpu"), offload=True)
        if "_hf_hook" not in block.__dict__:
            add_hook_to_module(block, AlignDevicesHook(execution_device=torch.device("cpu")))


def quantization(quantize: str | None, dtype: torch.dtype, device: torch.device) -> Any:
    """How bitsandbytes is to quantize matrices while they are loaded; None where it is not.

    Raises:
        UserError: the device is not CUDA, or bitsandbytes is not installed.
    """
    if quantize is None:
        return None
    if device.type != "cuda":
        raise UserError(
            f"model.quantize: {quantize} needs a CUDA device, and the model runs on {device.type}; "
            "set model.quantize: null, or device: cuda on a machine that has one"
        )
    from importlib.util import find_spec

    if find_spec("bitsandbytes") is None:
        raise UserError(
            f"model.quantize: {quantize} needs the package bitsandbytes, which is not installed; "
            "it is in envs/lock.cuda.txt"
        )
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        # it says at every product that it computes in float16
        logging.getLogger("bitsandbytes.autograd._functions").setLevel(logging.ERROR)
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype
    )
