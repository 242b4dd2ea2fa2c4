"""A judge out of what a study's configuration says of it."""

from collections.abc import Mapping
from typing import Any

from steerpaper.judges.endpoint import AnswerCache, Endpoint, EndpointJudge
from steerpaper.judges.judge import Judge


def local_judge(
    manifest: str,
    *,
    device: str,
    dtype: str,
    date: str,
    threads: int,
    budget: int,
    max_new_tokens: int,
    section: str,
    quantize: str | None = None,
    placing: Mapping[str, Any] | None = None,
) -> Judge:
    """The study's own model as judge.

    Args:
        manifest: of the model.
        device, dtype, quantize, placing: as `load` takes them.
        date: what chat templates are told is today.
        budget, max_new_tokens, section: as `LocalJudge` takes them.
    """
    # an endpoint needs no torch
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import fix_date
    from steerpaper.judges.local import LocalJudge

    lm, _ = load_manifest(
        manifest, device=device, dtype=dtype, threads=threads, quantize=quantize, placing=placing
    )
    fix_date(lm.tokenizer, date)
    return LocalJudge(lm, max_new_tokens=max_new_tokens, budget=budget, section=section)


def endpoint_judge(
    options: Mapping[str, Any], cache: str, *, max_new_tokens: int, section: str, fewer: str
) -> Judge:
    """An OpenAI-compatible endpoint as judge.

    Args:
        options: the keys of a section `endpoint`.
        cache: the file that keeps its answers.
        section, fewer: as `Endpoint` takes them.

    Raises:
        UserError: the environment variable of its key is not set.
    """
    price = options["price"]
    rest = {key: value for key, value in options.items() if key != "price"}
    endpoint = Endpoint(
        **rest, price=(price["input"], price["output"]), section=section, fewer=fewer
    )
    return EndpointJudge(endpoint, AnswerCache(cache), max_new_tokens=max_new_tokens)
