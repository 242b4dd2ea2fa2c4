"""Several devices on a machine that has none: tensors on the CPU that say they lie elsewhere.

An operation on two tensors of two of these devices fails, as it does on GPUs; so does one on such
a tensor and one of the CPU, but for numbers and indices. What moves between devices is counted.
"""

from contextlib import contextmanager
from unittest import mock

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

aten = torch.ops.aten
# they take a tensor of another device by what they are
COPIES = {aten._to_copy.default, aten.copy_.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default}


def device(number):
    """A device in name; of a type that has no devices and no threads of its own."""
    return torch.device("lazy", number)


class OnDevice(torch.Tensor):
    """A tensor on a device in name."""

    @staticmethod
    def __new__(cls, inner, where):
        found = torch.Tensor._make_wrapper_subclass(
            cls,
            inner.size(),
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=where,
        )
        found.inner = inner
        return found

    def __repr__(self):
        return f"OnDevice({self.inner}, {self.device})"

    def tolist(self):
        return self.inner.tolist()

    def data_ptr(self):
        return self.inner.data_ptr()

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {}, [])


def run(func, args, kwargs, moved):
    """An operation on the tensors inside, if they are all on one device."""
    flat, _ = tree_flatten((args, kwargs))
    tensors = [one for one in flat if isinstance(one, torch.Tensor)]
    if func in INDEXED:
        # indices may be the CPU's
        tensors = [one for one in tensors if one.device.type != "cpu"] or tensors
    places = {one.device for one in tensors if one.ndim or one.device.type != "cpu"}
    wanted = kwargs.get("device")
    if func not in COPIES and len(places) > 1:
        raise RuntimeError(f"{func}: tensors on {sorted(map(str, places))}")
    where = wanted or (tensors[0].device if tensors else torch.device("cpu"))
    where = torch.device(where)
    if func is aten._to_copy.default and tensors[0].device != where:
        moved.append((str(tensors[0].device), str(where), tuple(tensors[0].shape)))

    def inside(one):
        return one.inner if isinstance(one, OnDevice) else one

    real = {key: value for key, value in kwargs.items() if key != "device"}
    if wanted is not None:
        real["device"] = torch.device("cpu")
    result = func(*tree_map(inside, args), **tree_map(inside, real))
    if where.type == "cpu" and func not in COPIES:
        return result
    # what is changed in place stays itself
    changed = {id(inside(one)): one for one in tensors}

    def outside(one):
        if not isinstance(one, torch.Tensor):
            return one
        if id(one) in changed:
            return changed[id(one)]
        if where.type == "cpu":
            # of a copy onto the CPU
            return one
        return OnDevice(one, where)

    return tree_map(outside, result)


class InName(TorchDispatchMode):
    """Makes tensors on devices in name; `moved` has what moves: from, to and shape."""

    def __init__(self):
        super().__init__()
        self.moved = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return run(func, args, kwargs or {}, self.moved)


def lay_over(module, where):
    """Lay a loaded module over devices in name, with accelerate's hooks, as it does on GPUs.

    Args:
        where: a device's name for every piece that is never split.
    """
    where = {name: torch.device(place) for name, place in where.items()}
    from accelerate.hooks import AlignDevicesHook, attach_align_device_hook_on_blocks

    seen = {}
    for name, place in where.items():
        for part in module.get_submodule(name).modules():
            for key, weight in part._parameters.items():
                if weight is not None:
                    twin = seen.setdefault(id(weight), OnDevice(weight.data, place))
                    part._parameters[key] = torch.nn.Parameter(twin, requires_grad=False)
            for key, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[key] = OnDevice(buffer, place)
    # else a pipeline moves all of it to one device
    module.hf_device_map = dict(where)
    places = list(dict.fromkeys(where.values()))
    put, AlignDevicesHook.init_hook = AlignDevicesHook.init_hook, lambda self, module: module
    try:
        attach_align_device_hook_on_blocks(
            module,
            execution_device={**where, "": places[0]},
            offload=dict.fromkeys(where, False),
            skip_keys=module._skip_keys_device_placement,
        )
    finally:
        AlignDevicesHook.init_hook = put
    return module


@contextmanager
def devices_in_name():
    """Within it tensors can be made on devices in name, and used."""
    # torch.tensor(…, device=…) else goes past what stands here
    torch._C._set_only_lift_cpu_tensors(True)
    try:
        with InName() as mode:
            yield mode
    finally:
        torch._C._set_only_lift_cpu_tensors(False)


def load_over(folder, devices, dtype="float32"):
    """Load a model folder as on a machine with so many GPUs, laid over all of them."""
    from steerpaper.engine import loading, model, proof

    def fake(directory, dtype, place=None, **options):
        if not isinstance(place, dict):
            return real(directory, dtype, place)
        return lay_over(real(directory, dtype), place)

    real = loading.pretrained
    there = tuple(map(device, range(devices)))
    with (
        mock.patch.object(model, "pick_devices", return_value=there),
        mock.patch.object(loading, "room_of", return_value=[80e9] * devices),
        mock.patch.object(loading, "pretrained", fake),
    ):
        return proof.load(folder, device="cuda", dtype=dtype, threads=1, placing={"gpus": devices})
