"""A causal language model from a folder's safetensors: every tensor in its place, or none.

The one call that reads weights: on a device, over several, or on torch's meta device, where only
names and shapes are read.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from steerpaper.engine.folder import refuse_adapter
from steerpaper.errors import UserError

# a constant that old versions of transformers saved beside GPT-2's weights
CONSTANT = re.compile(r"\.attn\.masked_bias$")


def pretrained(
    directory: str | Path,
    dtype: torch.dtype,
    place: str | Mapping[str, int | str] | None = None,
    **options: Any,
) -> Any:
    """Load a model folder's module.

    Args:
        place: `meta`: names and shapes alone, no weights; or what lies where, as accelerate takes
            it.
        options: more of what transformers takes.

    Raises:
        UserError: the weights are not those of the model that config.json describes.
        Exception: whatever transformers raises at files that it cannot use.
    """
    from transformers import AutoModelForCausalLM
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    refuse_adapter(directory)
    module, loaded = AutoModelForCausalLM.from_pretrained(
        directory,
        dtype=dtype,
        device_map=place,
        local_files_only=True,
        use_safetensors=True,
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # they are named below
        output_loading_info=True,
        **options,
    )
    refuse_misfits(directory, loaded)
    return module


def described(directory: str | Path, dtype: torch.dtype) -> Any:
    """The module that a model folder's configuration describes, without weights.

    Raises:
        Exception: whatever transformers raises at files that it cannot use.
    """
    from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig

    config = AutoConfig.from_pretrained(directory, local_files_only=True, trust_remote_code=False)
    with torch.device("meta"):
        module = AutoModelForCausalLM.from_config(config, dtype=dtype, trust_remote_code=False)
    if (Path(directory) / "generation_config.json").exists():
        module.generation_config = GenerationConfig.from_pretrained(
            directory, local_files_only=True
        )
    return module.eval().requires_grad_(False)


def refuse_misfits(place: str | Path, loaded: Mapping[str, Any]) -> None:
    """Refuse weights that are not the model's: what is missing would be random, anew in every job.

    Args:
        place: what was loaded, for the message.
        loaded: what transformers says of the tensors: missing_keys, unexpected_keys,
            mismatched_keys.

    Raises:
        UserError: names the tensors.
    """
    kinds = {
        "missing_keys": "are missing in the files",
        "unexpected_keys": "are in the files and not in the model that config.json describes",
        "mismatched_keys": "have another shape than config.json says",
    }
    problems = []
    for key, kind in kinds.items():
        keys = (one[0] if isinstance(one, tuple) else one for one in loaded[key])
        names = sorted(name for name in keys if not CONSTANT.search(name))
        if names:
            shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
            problems.append(f"{len(names)} tensors {kind} ({shown})")
    if problems:
        raise UserError(
            f"{place}: the weights do not fit the model: {'; '.join(problems)}; "
            "fetch or save the model again, weights and config.json together"
        )
