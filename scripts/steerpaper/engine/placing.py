"""Where a model's weights lie: on the devices of the job, and what does not fit there elsewhere.

A model that fits one device lies there whole. A larger one is laid over the job's devices block by
block (`gpus_per_job`), and what they do not hold waits in host memory or on the disk (`offload`)
until its block runs. A block is never split, and its residual stream stays on its own device.
What a model computes does not depend on where its weights lie, but for the last digits that
differ between kinds of devices.
"""

import atexit
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import torch
from torch import Tensor, nn

from steerpaper.errors import UserError
from steerpaper.workflow.devices import hold

log = logging.getLogger(__name__)

GB = 1e9
# of a GPU's free memory, what weights may take: batches need the rest
SHARE = 0.85
# bytes that bitsandbytes keeps for one number of a matrix, scales included
QUANTIZED = {"4bit": 0.5625, "8bit": 1.0}


@dataclass(frozen=True)
class Placing:
    """How much of a machine a job takes. No result depends on it.

    Attributes:
        gpus: devices of a job on CUDA.
        to: where weights wait that the devices do not hold: None (nowhere), `cpu` or `disk`.
        gpu_memory: GB of a device that weights may take; None for 85% of what is free.
        cpu_memory: GB of host memory that weights may take: with `cpu` None is all that is needed,
            with `disk` none.
    """

    gpus: int = 1
    to: str | None = None
    gpu_memory: float | None = None
    cpu_memory: float | None = None


# devices


def pick_devices(device: str, gpus: int = 1) -> tuple[torch.device, ...]:
    """Resolve the configuration's `device`; CUDA devices are this process's own until it ends.

    Args:
        gpus: how many, where they are CUDA's; of others there is one.

    Raises:
        UserError: the device is asked for and this machine has none, or fewer than asked for.
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
    return own_gpus(gpus) if device == "cuda" else (torch.device(device),)


@cache
def own_gpus(gpus: int) -> tuple[torch.device, ...]:
    """Take some of the CUDA devices, for this process alone.

    They are addressed by CUDA's numbers among the devices that CUDA shows: what
    CUDA_VISIBLE_DEVICES holds (numbers, UUIDs, MIG names) is left to CUDA, which has read it by
    now.
    """
    shown = [torch.cuda.get_device_properties(k) for k in range(torch.cuda.device_count())]
    numbers = hold([str(one.uuid) for one in shown], gpus)
    taken = []
    for number in numbers:
        log.info(
            "GPU cuda:%d (%s, %s), one of %d",
            *(number, shown[number].name, shown[number].uuid, len(shown)),
        )
        taken.append(torch.device("cuda", number))
        atexit.register(_log_peak_memory, taken[-1])
    torch.cuda.set_device(taken[0])
    return tuple(taken)


def _log_peak_memory(device: torch.device) -> None:
    log.info(
        "peak memory of %s: %.0f MB in tensors, %.0f MB reserved",
        device,
        torch.cuda.max_memory_allocated(device) / 1e6,
        torch.cuda.max_memory_reserved(device) / 1e6,
    )


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; of this machine's memory to a GPU, without waiting for it there."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


# the plan


@dataclass(frozen=True)
class Parts:
    """A model's weights in pieces that are never split, with their bytes.

    Attributes:
        first, last: what stands before the blocks, and behind them: embedding, final norm,
            unembedding, and buffers such as rotary frequencies.
        blocks: in their order.
    """

    first: dict[str, int]
    blocks: dict[str, int]
    last: dict[str, int]

    @property
    def ends(self) -> int:
        """Bytes of all that is no block."""
        return sum(self.first.values()) + sum(self.last.values())

    def ends_on(self, devices: int) -> list[float]:
        """Bytes that these take of every device: the first has the one part, the last the other."""
        used = [0.0] * devices
        used[0] += sum(self.first.values())
        used[-1] += sum(self.last.values())
        return used


def parts_of(module: nn.Module, blocks: str, quantize: str | None = None) -> Parts:
    """The pieces of a model that is built without weights, in its dtype.

    Args:
        blocks: the dotted path of its list of blocks.
        quantize: how its blocks' matrices are quantized when they are loaded.
    """
    tied = {
        name.rpartition(".")[0]: source.rpartition(".")[0]
        for name, source in getattr(module, "all_tied_weights_keys", {}).items()
    }
    first: dict[str, int] = {}
    last: dict[str, int] = {}
    path: list[str] = []
    before = True
    for step in blocks.split("."):
        parent = module.get_submodule(".".join(path))
        path.append(step)
        own = [*parent.named_parameters(recurse=False), *parent.named_buffers(recurse=False)]
        for name, tensor in own:
            first[".".join([*path[:-1], name])] = tensor.nbytes
        before = True
        for name, child in parent.named_children():
            full = ".".join([*path[:-1], name])
            if name == step:
                before = False
                continue
            size = _bytes(child)
            # what only holds numbers for all blocks belongs with the inputs
            weightless = next(child.parameters(), None) is None
            (first if before or weightless or full in tied else last)[full] = size
    for name in tied:
        if name in first:
            first[name] = 0
    inside = {
        f"{blocks}.{name}": _bytes(block, quantize)
        for name, block in module.get_submodule(blocks).named_children()
    }
    return Parts(first, inside, last)


def _bytes(module: nn.Module, quantize: str | None = None) -> int:
    total = sum(buffer.nbytes for buffer in module.buffers())
    for part in module.modules():
        matrix = quantize is not None and isinstance(part, nn.Linear)
        for name, weight in part.named_parameters(recurse=False):
            if quantize and matrix and name == "weight":
                total += int(weight.numel() * QUANTIZED[quantize])
            else:
                total += weight.nbytes
    return total


def lay_out(
    parts: Parts, devices: Sequence[torch.device], placing: Placing, free: Sequence[float]
) -> dict[str, str]:
    """Which piece lies where: a device by its name, `host` or `disk`.

    Embedding, final norm and unembedding always lie on a device. Without offload the blocks are
    dealt over the devices by the memory that these have; with it the devices are filled one after
    the other, and the last blocks wait elsewhere.

    Args:
        free: bytes of every device that weights may take (see `room_of`).

    Raises:
        UserError: the model does not fit; it says what is needed and what there is.
    """
    deal = _dealt if placing.to is None else _filled
    return {
        **dict.fromkeys(parts.first, str(devices[0])),
        **dict(zip(parts.blocks, deal(parts, devices, placing, free), strict=True)),
        **dict.fromkeys(parts.last, str(devices[-1])),
    }


def _dealt(
    parts: Parts, devices: Sequence[torch.device], placing: Placing, free: Sequence[float]
) -> list[str]:
    """The device of every block, so that all devices are filled by about the same share."""
    total = parts.ends + sum(parts.blocks.values())
    until = [total * there / sum(free) for there in accumulate(free)]
    used = parts.ends_on(len(devices))
    before, found = used[0], []
    for size in parts.blocks.values():
        # by the block's middle; the last device takes what is over
        number = next((k for k, end in enumerate(until) if before + size / 2 < end), len(free) - 1)
        found.append(str(devices[number]))
        used[number] += size
        before += size
    if any(taken > there for taken, there in zip(used, free, strict=True)):
        raise UserError(
            f"the model's weights take {total / GB:.1f} GB, and the job's {len(devices)} devices "
            f"have {_listed(free)} GB free ({_listed(used)} would be taken); raise gpus_per_job, "
            "set offload.to: cpu or disk, or take a dtype of fewer bytes (or model.quantize)"
        )
    return found


def _listed(amounts: Sequence[float]) -> str:
    return " + ".join(f"{amount / GB:.1f}" for amount in amounts)


def _filled(
    parts: Parts, devices: Sequence[torch.device], placing: Placing, free: Sequence[float]
) -> list[str]:
    """Where every block lies if what the devices do not hold waits in host memory or on disk."""
    on_cpu = devices[0].type == "cpu"
    sizes, used = parts.blocks.values(), parts.ends_on(len(devices))
    largest = max(sizes, default=0)
    room = [there - taken for there, taken in zip(free, used, strict=True)]
    # blocks that wait elsewhere run on a device, one at a time
    if min(room) < largest:
        key = "cpu_memory" if on_cpu and placing.to == "disk" else "gpu_memory"
        raise UserError(
            f"offload.{key}: weights may take {min(free) / GB:.3g} GB of a device, but embedding, "
            f"unembedding and one block at a time need {(max(used) + largest) / GB:.3g} GB; raise "
            "it, or take a dtype of fewer bytes"
        )
    if sum(sizes) > sum(room):
        room = [there - largest for there in room]
    host = placing.cpu_memory
    held = (float("inf") if placing.to == "cpu" else 0.0) if host is None else host * GB
    tiers = list(zip(map(str, devices), room, strict=True))
    # where the CPU computes, its memory is the first tier
    tiers += [] if on_cpu and placing.to == "disk" else [("host", held)]
    tiers += [("disk", float("inf"))] if placing.to == "disk" else []
    found, left = [], tiers[0][1]
    for size in sizes:
        while size > left:
            tiers.pop(0)
            if not tiers:
                raise UserError(
                    f"offload.cpu_memory: {placing.cpu_memory:g} GB of host memory and the job's "
                    f"{len(devices)} devices do not hold {(parts.ends + sum(sizes)) / GB:.3g} GB "
                    "of weights; raise it, or set offload.to: disk"
                )
            left = tiers[0][1]
        found.append(tiers[0][0])
        left -= size
    return found


def room_of(devices: Sequence[torch.device], placing: Placing, parts: Parts) -> list[float]:
    """Bytes of every device that weights may take."""
    if devices[0].type == "cuda":
        share = 1.0 if placing.to is None else SHARE
        free = [torch.cuda.mem_get_info(device)[0] * share for device in devices]
        limit = float("inf") if placing.gpu_memory is None else placing.gpu_memory * GB
        return [min(limit, there) for there in free]
    if placing.to == "disk":
        least = float(parts.ends + max(parts.blocks.values(), default=0))
        return [least if placing.cpu_memory is None else placing.cpu_memory * GB]
    return [float("inf") if placing.gpu_memory is None else placing.gpu_memory * GB]
