"""A judge out of what a study's configuration says of it."""

from collections.abc import Mapping
from typing import Any

from steerpaper.judges.endpoint import AnswerCache, Endpoint, EndpointJudge
from steerpaper.judges.judge import Judge


def local_judge(
    manifest: str,
    *,
    date: str,
    budget: int | str,
    max_new_tokens: int,
    section: str,
    **how: Any,
) -> Judge:
    """The study's own model as judge.

    Args:
        manifest: of the model.
        date: what chat templates are told is today.
        budget: as `budget_of` takes it.
        max_new_tokens, section: as `LocalJudge` takes them.
        how: as `load_manifest` takes it.
    """
    # an endpoint needs no torch
    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.text import fix_date
    from steerpaper.judges.local import LocalJudge

    lm, _ = load_manifest(manifest, **how)
    fix_date(lm.tokenizer, date)
    budget = budget_of(lm, budget)
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
