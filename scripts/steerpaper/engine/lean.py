"""What torch and transformers import and a job does not use is imported when it is first used.

Half of a small job's time goes into imports: compilers, training over several machines, losses of
object detection. `put_off` lets the modules named here be imported in name only. A name that is
taken from one stands for the real one, and imports it when it is called or looked into; what is
asked whether it is an instance of it says no, since nothing is before its module was imported.

The list is of the versions that it was tried with; with any other nothing is put off. With them
`torch.Generator()` is not to be had, which is made ready by what compiles: draws are numpy's here.
"""

import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Any

TRIED = {"torch": "2.13", "transformers": "5.23", "nnsight": "0.8"}
# a module, and all below it
PUT_OFF = (
    # torch.compile and torch.export
    "torch._dynamo",
    "torch.export",
    # quantized modules
    "torch.ao",
    "torch.nn.intrinsic",
    "torch.nn.qat",
    "torch.nn.quantizable",
    "torch.nn.quantized",
    "torch.quantization",
    "transformers.quantizers.quantizer_torchao",
    # several devices and processes
    "accelerate",
    "torch.distributed.tensor",
    "torch.distributed.fsdp",
    "torch.distributed._composable",
    "torch.distributed.checkpoint",
    "torch.distributed._functional_collectives",
    "transformers.distributed.tensor_parallel",
    "transformers.distributed.pipeline_parallel",
    "transformers.distributed.expert_parallel",
    # serving
    "transformers.generation.continuous_batching",
    # losses, of which most are no language model's
    *(
        f"transformers.loss.loss_{name}"
        for name in (
            *("ctc", "d_fine", "deformable_detr", "deimv2", "for_object_detection"),
            *("grounding_dino", "lsd", "lw_detr", "rf_detr", "rnnt", "rt_detr", "tdt"),
        )
    ),
)
# what marks functions for a compiler
MARKS = {
    ("torch._dynamo", name) for name in ("disable", "allow_in_graph", "assume_constant_result")
}
# what registers itself and is asked for no name: shapes of operations that are compiled
REGISTERS = ("torch._meta_registrations", "torch.distributed._meta_registrations")
# shapes of what is done to tensors without numbers
SHAPES = REGISTERS[0]
# what reads all models' files to list what they hold, which its parent has done by then
LISTS = "transformers.models"


def marked(function: Any = None, *_: Any, **__: Any) -> Any:
    """A function as it is: a mark says what is to be compiled, and nothing is."""
    return marked if function is None else function


class Late:
    """A name out of a module that was put off."""

    def __init__(self, module: str, name: str) -> None:
        """Stand for a name of a module."""
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(real(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the real one gives."""
        return self._real()(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)

    def __instancecheck__(self, instance: Any) -> bool:
        there = not isinstance(sys.modules.get(self._module), Named | None)
        return there and isinstance(instance, self._real())

    def __mro_entries__(self, bases: tuple[Any, ...]) -> tuple[Any, ...]:
        # what is made of it has not what is put off
        return ()

    def __or__(self, other: Any) -> Any:
        return Any

    __ror__ = __or__


class Named(ModuleType):
    """A module that was imported in name only."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        found = marked if (self.__name__, name) in MARKS else Late(self.__name__, name)
        setattr(self, name, found)
        return found


class Folder(ModuleType):
    """A package's folder without what the package lists at its import: all models, by reading."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(sys.modules[self.__name__.partition(".")[0]], name)


class PutOff(MetaPathFinder, Loader):
    """Finds what is put off before Python does."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """A module's specification, of those that are put off."""
        if fullname == LISTS:
            found = PathFinder.find_spec(fullname, path, target)
            spec = ModuleSpec(fullname, self, is_package=True)
            spec.submodule_search_locations = found.submodule_search_locations if found else None
            return spec
        if not any(f"{fullname}.".startswith(f"{name}.") for name in (*PUT_OFF, *REGISTERS)):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """An empty module."""
        return Folder(spec.name) if spec.name == LISTS else Named(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing is run."""


FINDER = PutOff()


def put_off() -> None:
    """From here on, import in name only what a job does not use, if torch is not there yet."""
    if "torch" in sys.modules or FINDER in sys.meta_path or not _is_tried():
        return
    sys.meta_path.insert(0, FINDER)


def _is_tried() -> bool:
    try:
        return all(f"{version(name)}.".startswith(f"{told}.") for name, told in TRIED.items())
    except PackageNotFoundError:
        return False


def real(name: str) -> ModuleType:
    """Import a module that was put off, and whatever registers itself with it."""
    if FINDER in sys.meta_path:
        sys.meta_path.remove(FINDER)
        for held in [one for one, module in sys.modules.items() if isinstance(module, Named)]:
            del sys.modules[held]
        for registers in REGISTERS:
            import_module(registers)
    return import_module(name)
