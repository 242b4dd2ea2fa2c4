"""Tasks side by side: each runs until it asks for something, and all is asked for at once.

For a model that runs elsewhere (`engine.remote`): many small requests wait long for their turn.
Tasks are greenlets of one thread: they take turns where they ask, and nowhere else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from greenlet import getcurrent, greenlet
from torch import Tensor

Result = TypeVar("Result")
# steps, tensors, the numbers of what is asked for
Program = tuple[Any, Any, list[int]]
# runs programs, and gives what each asks for
Send = Callable[[Sequence[Program]], list[list[Tensor]]]
# tokens, padding included, of passes that go in one request
TOGETHER = 2**17


class TooLargeError(MemoryError):
    """Where the model is, a request takes more memory or time than there is."""


@dataclass
class _Family:
    """Tasks that were begun together.

    Attributes:
        tasks: what they are.
        parent: the task that waits for them; None for what began them all.
        results: of those that are done.
        failed: one of them failed: the others do not matter.
    """

    tasks: Sequence[Callable[[], Any]]
    parent: Any
    results: dict[int, Any] = field(default_factory=dict)
    failed: bool = False


class Together:
    """Sends what tasks ask for, as much at a time as there is."""

    def __init__(self, send: Send) -> None:
        """Nothing is under way."""
        self.send = send
        self._main: Any = None
        self._todo: list[tuple[_Family, int]] = []
        self._of: dict[Any, tuple[_Family, int]] = {}
        self._waiting: list[tuple[Any, Program]] = []

    def ask(self, program: Program) -> list[Tensor]:
        """What a program gives; meanwhile other tasks go on."""
        if self._main is None:
            (found,) = self.send([program])
            return found
        answer: list[Tensor] = self._main.switch(program)
        return answer

    def at_once(self, tasks: Sequence[Callable[[], Result]]) -> list[Result]:
        """Do tasks side by side; one of them can have tasks of its own.

        Raises:
            Exception: what one of them raises.
        """
        if self._main is not None:
            results: list[Result] = self._main.switch(_Family(tasks, getcurrent()))
            return results
        self._main = getcurrent()
        try:
            return self._all(_Family(tasks, None))
        finally:
            self._main = None
            self._todo, self._of, self._waiting = [], {}, []

    def _all(self, family: _Family) -> list[Any]:
        self._begin(family)
        while self._todo or self._waiting:
            while self._todo and sum(tokens_of(one) for _, one in self._waiting) < TOGETHER:
                mine, number = self._todo.pop()
                if not mine.failed:
                    worker = greenlet(mine.tasks[number])
                    self._of[worker] = mine, number
                    self._go_on(worker, worker.switch)
            asked, self._waiting = self._waiting, []
            asked = [(worker, one) for worker, one in asked if not self._of[worker][0].failed]
            answers = self._answers([program for _, program in asked])
            for (worker, _), found in zip(asked, answers, strict=True):
                resume = worker.throw if isinstance(found, TooLargeError) else worker.switch
                self._go_on(worker, partial(resume, found))
        return [family.results[number] for number in range(len(family.tasks))]

    def _begin(self, family: _Family) -> None:
        # the first is on top
        self._todo += [(family, number) for number in reversed(range(len(family.tasks)))]

    def _go_on(self, worker: Any, resume: Callable[[], Any]) -> None:
        """Let a task run until it asks for something, begins others, or is done."""
        family, number = self._of[worker]
        try:
            value = resume()
        except Exception as error:
            if family.parent is None:
                raise
            family.failed = True
            self._go_on(family.parent, partial(family.parent.throw, error))
            return
        if worker.dead:
            family.results[number] = value
            del self._of[worker]
            if family.parent is not None:
                self._end(family)
        elif isinstance(value, _Family):
            self._begin(value)
            self._end(value)
        else:
            self._waiting.append((worker, value))

    def _end(self, family: _Family) -> None:
        """Give a task what its own tasks made, once all are done."""
        if len(family.results) == len(family.tasks) and not family.failed:
            results = [family.results[number] for number in range(len(family.tasks))]
            self._go_on(family.parent, partial(family.parent.switch, results))

    def _answers(self, programs: Sequence[Program]) -> list[list[Tensor] | TooLargeError]:
        """What programs ask for, or that one takes too much by itself."""
        if not programs:
            return []
        try:
            return list(self.send(programs))
        except TooLargeError as error:
            if len(programs) == 1:
                return [error]
            return [answer for one in programs for answer in self._answers([one])]


def tokens_of(program: Program) -> int:
    """Tokens, padding included, of a program's passes."""
    steps, given, _ = program
    passes: list[Mapping[str, Any]] = [args for kind, _, _, args, _ in steps if kind == "pass"]
    return sum(given[one["inputs"]["input_ids"]][0].numel() for one in passes)
