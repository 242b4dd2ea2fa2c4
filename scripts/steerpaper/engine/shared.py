"""One loaded model for all that a process does with it."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from steerpaper.engine import model

P = ParamSpec("P")
T = TypeVar("T")


def share_model() -> None:
    """Give, from here on, to whoever loads a model the one that was loaded in the same way before.

    Who loads it imports `load_manifest` when it is called, as scripts do.
    """
    if not hasattr(model.load_manifest, "__wrapped__"):
        model.load_manifest = _once(model.load_manifest)


def _once(load: Callable[P, T]) -> Callable[P, T]:
    """The same as `load`, which is called once for the same arguments."""
    loaded: dict[str, T] = {}

    @wraps(load)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        key = repr((args, sorted(kwargs.items())))
        if key not in loaded:
            loaded[key] = load(*args, **kwargs)
        return loaded[key]

    return again
