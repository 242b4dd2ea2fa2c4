"""What is done to tensors, as data: so that it can be done where the model is.

Edits and reads are functions. Called on a `Recorded`, which has a shape and a type but no numbers,
inside `recording`, such a function leaves behind the steps of torch that it takes, and the tensors
that it brings with it. What asks for numbers on the way cannot be recorded and is refused.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from steerpaper.errors import UserError

# tensors from so many bytes on are made where the model is, if they are made of less
LARGE = 2**16
# what may be: the same numbers come of it everywhere
GROWS = {"__mul__", "__rmul__", "mul", "__add__", "__radd__", "add", "__sub__", "sub"}
GROWS |= {"__getitem__", "index_select", "expand", "repeat"}
# what brings a tensor elsewhere: where it is made, all is brought to one place
MOVES = {"cpu", "cuda", "contiguous", "detach"}

# kind, name, the number of what it makes (or numbers; None where that is nothing), arguments
Step = tuple[str, str, int | list[int] | None, Any, dict[str, Any]]


class Recorded(Tensor):
    """A tensor without numbers.

    Attributes:
        number: among all of its tape.
        meta: on torch's meta device: shape and type.
    """

    number: int
    meta: Tensor

    def __new__(cls, number: int, meta: Tensor) -> "Recorded":
        """A tensor of a tape."""
        made: Recorded = torch.Tensor._make_subclass(cls, meta)
        made.number, made.meta = number, meta
        return made

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Outside `recording` nothing is done to it."""
        raise RuntimeError(f"{func}: outside a recording")


class Tape:
    """Steps, in order, and the tensors that they are given.

    Attributes:
        steps: to be done one after the other.
        given: what they are given.
    """

    def __init__(self) -> None:
        """Nothing so far."""
        self.steps: list[Step] = []
        self.given: list[Tensor] = []
        self._versions: list[int] = []
        self._numbers: dict[tuple[int, int], int] = {}
        self._made = 0

    def new(self, meta: Tensor) -> Recorded:
        """A tensor to come."""
        self._made += 1
        return Recorded(self._made - 1, meta)

    def give(self, tensor: Tensor) -> int:
        """The number of a tensor that is sent."""
        key = id(tensor), tensor._version
        if key not in self._numbers:
            self._numbers[key] = len(self.given)
            self.given.append(tensor)
            self._versions.append(tensor._version)
        return self._numbers[key]

    def aside(self, change: Callable[[], Any]) -> tuple[list[Step], range, Any]:
        """Record steps by themselves: these, the numbers that they make, and what is returned."""
        outer, self.steps, first = self.steps, [], self._made
        try:
            result = change()
            return self.steps, range(first, self._made), result
        finally:
            self.steps = outer

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do something with tensors that have numbers, or record it."""
        kind, name = _name_of(func)
        tensors = list(_tensors((args, kwargs)))
        if not any(isinstance(one, Recorded) for one in tensors):
            if name not in GROWS or not _grows(func, args, kwargs, tensors):
                return func(*args, **kwargs)
        elif kind == "attribute" and name == "device":
            return torch.device("cpu")
        elif name in MOVES and kind == "method":
            return args[0]
        elif not kind:
            raise UserError(f"{func} cannot be done where the model is (model.remote)")
        elif _changes(name) and not isinstance(args[0], Recorded):
            raise UserError(
                f"torch's {name} would change a tensor of this machine where the model is "
                "(model.remote)"
            )
        args, kwargs = _placeless(name, args, kwargs)
        meta = _map(args, _meta), _map(kwargs, _meta)
        try:
            result = func(*meta[0], **meta[1])
        except (NotImplementedError, RuntimeError) as error:
            raise UserError(
                f"torch's {name} needs numbers that are only where the model is, or cannot be done "
                f"there (model.remote): {str(error)[:200]}"
            ) from error
        if not any(True for _ in _tensors(result)) and result is not None:
            return result
        return self._recorded(kind, name, args, kwargs, meta[0], result)

    def _recorded(
        self, kind: str, name: str, args: Any, kwargs: Any, meta: Any, result: Any
    ) -> Any:
        made: int | list[int] | None = None
        returned: Any = None
        if isinstance(result, Tensor) and any(result is one for one in meta[:1]):
            # changed in its place
            returned = args[0]
            made = returned.number
        elif isinstance(result, Tensor):
            returned = self.new(result)
            made = returned.number
        elif result is not None:
            parts = [self.new(part) for part in result]
            made = [part.number for part in parts]
            returned = type(result)(parts)
        self.steps.append((kind, name, made, _map(args, self._mark), _map(kwargs, self._mark)))
        return returned

    def _mark(self, tensor: Tensor) -> dict[str, int]:
        if isinstance(tensor, Recorded):
            return {"made": tensor.number}
        return {"given": self.give(tensor)}

    def logits(self, residual: Tensor, size: int) -> Recorded:
        """The step from a residual stream [..., d] to float32 logits [..., V]."""
        assert isinstance(residual, Recorded)
        made = self.new(torch.empty(*residual.meta.shape[:-1], size, device="meta"))
        self.steps.append(("logits", "", made.number, ({"made": residual.number},), {}))
        return made

    def gradients(self, of: Tensor, along: Sequence[Tensor]) -> list[Tensor]:
        """The step from a number to its derivatives."""
        assert isinstance(of, Recorded)
        made = [self.new(_meta(one)) for one in along]
        args = self._mark(of), [self._mark(one) for one in along]
        self.steps.append(("gradients", "", [one.number for one in made], args, {}))
        return list(made)

    def program(self, wanted: Sequence[Tensor]) -> tuple[Any, Any, list[int]]:
        """What is sent: steps, tensors, and the numbers of what is asked for."""
        numbers = [one.number for one in wanted if isinstance(one, Recorded)]
        assert len(numbers) == len(wanted)
        # what is sent is what was there when it was recorded
        assert self._versions == [tensor._version for tensor in self.given]
        needed = set(numbers)
        for kind, _, _, args, named in reversed(self.steps):
            if kind == "pass":
                args["drop"] = sorted(set(args.pop("inside")) - needed)
            needed.update(_numbers((args, named)))
        return self.steps, [packed(tensor) for tensor in self.given], numbers


def packed(tensor: Tensor) -> tuple[Tensor, Tensor | None]:
    """A tensor as it is sent: rows that are there often, as one vector for many rows, go once."""
    if tensor.dim() > 1 and tensor.shape[0] > 1 and tensor.nbytes >= LARGE:
        rows, inverse = torch.unique(tensor, dim=0, return_inverse=True)
        if 2 * len(rows) <= len(tensor):
            return rows, inverse
    # a view would be sent with all that it is a view of
    return tensor.detach().clone(memory_format=torch.contiguous_format), None


class _Recording(TorchFunctionMode):
    def __init__(self, tape: Tape) -> None:
        super().__init__()
        self._tape = tape

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self._tape.call(func, args, kwargs or {})


@contextmanager
def recording() -> Iterator[Tape]:
    """What is done with a tape's tensors is recorded on it."""
    tape = Tape()
    with _Recording(tape):
        yield tape


def _name_of(func: Any) -> tuple[str, str]:
    """How something of torch is called where the model is; ("", its name) if it is not known."""
    name = getattr(func, "__name__", str(func))
    if name == "__get__":
        return "attribute", func.__self__.__name__
    if name == "__set__":
        return "", name
    if getattr(Tensor, name, None) == func:
        return "method", name
    if getattr(torch, name, None) is func:
        return "function", name
    if getattr(functional, name, None) is func:
        return "functional", name
    return "", name


def _changes(name: str) -> bool:
    """Whether torch's function of a name changes a tensor in its place."""
    if name.startswith("__"):
        return name == "__setitem__" or (name.startswith("__i") and name not in ("__invert__",))
    return name.endswith("_")


def _grows(func: Any, args: Any, kwargs: Any, tensors: Sequence[Tensor]) -> bool:
    """Whether what is made of tensors of this machine is large, and larger than they are."""
    try:
        made = func(*_map(args, _meta), **_map(kwargs, _meta))
    except (NotImplementedError, RuntimeError, IndexError):
        return False
    if not isinstance(made, Tensor) or made.device.type != "meta":
        return False
    size = made.numel() * made.element_size()
    return size >= LARGE and size >= 2 * sum(one.nbytes for one in tensors)


def _placeless(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any]:
    """Arguments without devices: where the model is, tensors are where they meet others."""
    kwargs = {key: one for key, one in kwargs.items() if key not in ("device", "pin_memory")}
    if name == "to":
        # another tensor gives its type
        first, *others = args
        others = [_meta(one).dtype if isinstance(one, Tensor) else one for one in others]
        others = [one for one in others if not isinstance(one, (torch.device, str))]
        args = first, *(others or ([] if kwargs else [_meta(first).dtype]))
    return args, kwargs


def _meta(tensor: Tensor) -> Tensor:
    return tensor.meta if isinstance(tensor, Recorded) else tensor.to("meta")


def _map(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Arguments with something else in the place of each tensor."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_map(one, change) for one in value)
    if isinstance(value, dict):
        return {key: _map(one, change) for key, one in value.items()}
    return value


def _numbers(value: Any) -> Iterator[int]:
    """The numbers of recorded tensors in what is sent."""
    if isinstance(value, dict):
        if "made" in value:
            yield value["made"]
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for one in value:
            yield from _numbers(one)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for one in value:
            yield from _tensors(one)
    elif isinstance(value, dict):
        for one in value.values():
            yield from _tensors(one)
