"""The tokenizer of a model folder, loaded without torch."""

from pathlib import Path
from typing import Any

from steerpaper.errors import UserError


def load_tokenizer(directory: str | Path) -> Any:
    """Load the tokenizer of a model folder; nothing is fetched and no remote code runs."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(directory, local_files_only=True)
    except (OSError, ValueError) as error:
        raise UserError(f"{directory}: the tokenizer cannot be loaded: {error}") from error
