"""System prompts for and against a behaviour: the same items, asked under each of them."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from steerpaper.errors import UserError
from steerpaper.steering.items import Item
from steerpaper.steering.prompts import Prompt, serialize

log = logging.getLogger(__name__)

SYSTEM_PROMPTS = ("none", "for", "against")


def under_system_prompts(
    tokenizer: Any,
    items: Sequence[Item],
    texts: Mapping[str, str],
    *,
    behavior: str,
    contrast: str,
    seed: int,
    context: int | None,
) -> tuple[dict[str, list[Prompt]], dict[str, str]]:
    """Serialize the items without a system prompt, with the one for and the one against.

    Args:
        texts: the behaviour's system prompts, under `for` and `against`.

    Returns:
        the prompts under every system prompt that can be had, and why another cannot: the
        behaviour has none, or the model's chat template takes none.
    """
    found: dict[str, list[Prompt]] = {}
    missing: dict[str, str] = {}
    for name in SYSTEM_PROMPTS:
        if name != "none" and name not in texts:
            missing[name] = f"behaviors.{behavior}.about has no system_prompts.{name}"
            continue
        try:
            found[name] = serialize(
                tokenizer,
                items,
                behavior=behavior,
                contrast=contrast,
                split="test",
                system=texts[name].strip() if name != "none" else None,
                seed=seed,
                context=context,
            )
        except UserError as error:
            # what fails without a system prompt is not about system prompts
            if name == "none":
                raise
            missing[name] = f"not with this model: {error}"
    for name, reason in missing.items():
        log.warning("%s, system prompt '%s': left out (n = 0): %s", behavior, name, reason)
    return found, missing
