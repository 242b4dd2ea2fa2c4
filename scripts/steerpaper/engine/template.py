"""A model's chat template, tried once where it can do no harm: it is a program that came as data.

transformers renders it in jinja's sandbox, which stops escapes but no loop in a loop. So a process
of its own renders it with little time and memory (`python -m steerpaper.engine.template`).
"""

import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from steerpaper.errors import UserError

SECONDS = 3  # of the processor; a template takes some thousandths
MEMORY = 2**32  # bytes
LONGEST = 100_000  # characters
QUESTION = [{"role": "user", "content": "Tea or coffee?"}]
SYSTEM = [{"role": "system", "content": "You are a waiter."}]


def try_template(place: str, tokenizer: Any) -> str:
    """Render one question, alone and behind a system prompt (which a template may refuse).

    Args:
        place: where the template comes from, for messages.

    Returns:
        The question alone, rendered.

    Raises:
        UserError: the template is broken, or takes more than a prompt's time, memory or length.
    """
    asked = {
        "template": tokenizer.get_chat_template(),
        "tokens": {key: str(token) for key, token in tokenizer.special_tokens_map.items()},
    }
    scripts = str(Path(__file__).parents[2])
    result = subprocess.run(
        [sys.executable, "-m", "steerpaper.engine.template"],
        input=json.dumps(asked),
        env={**os.environ, "PYTHONPATH": scripts, "PYTHONUTF8": "1"},
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
    if result.returncode == 0:
        return result.stdout
    lines = (result.stdout or result.stderr).strip().splitlines()
    reason = lines[-1] if lines else f"its process ended with status {result.returncode}"
    if result.returncode in (-signal.SIGPROF, 128 + signal.SIGPROF):
        reason = f"it takes more than {SECONDS} seconds for one question"
    raise UserError(f"{place}: the chat template cannot be used: {reason}")


@contextmanager
def in_time(what: str) -> Iterator[None]:
    """End what takes a text without an end: a template may loop for some texts alone.

    Raises:
        UserError: it has taken more of the processor's time than a prompt does.
    """
    if threading.current_thread() is not threading.main_thread():
        yield  # no other thread is sent a signal
        return

    def stop(*_: object) -> None:
        raise UserError(f"{what} takes more than {SECONDS} seconds for this text; mend it")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def main() -> None:
    """Render the template that standard input holds; print the text, or why there is none."""
    from jinja2.exceptions import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    from steerpaper.engine.folder import told

    asked = json.load(sys.stdin)

    def render(turns: list[dict[str, str]]) -> str:
        (text,), _ = render_jinja_template(
            [turns],
            chat_template=asked["template"],
            add_generation_prompt=True,
            **asked["tokens"],
        )
        return str(text)

    # by default the signal ends a process, whatever it is doing
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = MEMORY if hard == resource.RLIM_INFINITY else min(MEMORY, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (most, hard))
    try:
        text = render(QUESTION)
        # a refusal is said where a study has a system prompt
        with suppress(TemplateError, ValueError):
            render(SYSTEM + QUESTION)
    except MemoryError:
        sys.exit(_say(f"it takes more than {MEMORY >> 30} GiB of memory for one question"))
    except Exception as error:  # it is a program: anything can come
        sys.exit(_say(told(error)))
    if len(text) > LONGEST:
        sys.exit(_say(f"it makes {len(text)} characters of one question"))
    sys.stdout.write(text)


def _say(reason: str) -> int:
    print(reason)
    return 1


if __name__ == "__main__":
    main()
