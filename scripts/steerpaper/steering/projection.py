"""Token by token on the vector: where in a text the behaviour shows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.batching import empty_prefix, padded, run_batches
from steerpaper.model import LanguageModel, forward
from steerpaper.steering.prompts import token_ids
from steerpaper.steering.vectors import Floats


@dataclass(frozen=True)
class Scale:
    """What a projection is measured by: 0 halfway between the answers, 1 at the matching ones.

    Attributes:
        middle: midpoint of the mean projections of the matching and the other answers.
        unit: half the distance between them.
    """

    middle: float
    unit: float


def project(
    lm: LanguageModel, texts: Sequence[Sequence[int]], layer: int, direction: Floats, budget: int
) -> list[NDArray[np.float64]]:
    """Projection of the residual stream after a block on a direction, for every token.

    Args:
        texts: token ids.
        direction: [d]; its norm does not matter.

    Returns:
        float64 [token] for every text.
    """
    unit = torch.as_tensor(direction / np.linalg.norm(direction), dtype=torch.float32)
    unit = unit.to(lm.device)

    def run(batch: list[int]) -> Tensor:
        ids, mask = (part.to(lm.device) for part in padded([texts[item] for item in batch], lm.pad))
        start = empty_prefix(lm, len(batch))
        found, _ = forward(
            lm, ids, start.extend(mask), start.cache, read={layer: lambda h: h.float() @ unit}
        )
        return found[layer].cpu()

    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(texts)
    for batch, values in run_batches([len(text) for text in texts], budget, run):
        for item, row in zip(batch, values, strict=True):
            found[item] = row[: len(texts[item])].double().numpy()
    return found


def scale(matching: Floats, other: Floats, direction: Floats) -> Scale:
    """The scale of a block from the train items' activations there.

    Args:
        matching, other: [item, d], mean over the answer's tokens.
        direction: [d].
    """
    unit = direction.astype(np.float64) / np.linalg.norm(direction)
    high, low = (float((part.astype(np.float64) @ unit).mean()) for part in (matching, other))
    return Scale(middle=(high + low) / 2, unit=(high - low) / 2)


def token_texts(tokenizer: Any, ids: Sequence[int]) -> list[str]:
    """The text that each token adds; characters of several tokens come with their last."""
    texts, before = [], ""
    for end in range(1, len(ids) + 1):
        whole = tokenizer.decode(ids[:end], clean_up_tokenization_spaces=False)
        # an unfinished character decodes to the replacement mark
        if whole.endswith("\N{REPLACEMENT CHARACTER}"):
            texts.append("")
            continue
        texts.append(whole[len(before) :])
        before = whole
    return texts


def parts(tokenizer: Any, text: str, question: str, n_text: int, n_answer: int) -> list[str]:
    """What every token of prompt and answer belongs to: template, question or answer.

    Choices that follow the question are part of it.

    Args:
        text: the rendered prompt.
        n_text, n_answer: tokens of the prompt and of the answer.
    """
    start = text.find(question)
    # a template that changes the question leaves no place to begin at
    start, end = (start, start + len(question)) if start >= 0 else (0, len(text))
    choice = text.find("\n (B) ", end)
    if choice >= 0:
        line_end = text.find("\n", choice + 1)
        end = line_end if line_end >= 0 else len(text)
        # the template may end the user's turn on the same line
        for token in tokenizer.all_special_tokens:
            mark = text.find(token, choice)
            end = min(end, mark) if mark >= 0 else end
    first, last = (len(token_ids(tokenizer, text[:place])) for place in (start, end))
    names = ["template"] * n_text
    names[first:last] = ["question"] * (min(last, n_text) - first)
    return names + ["answer"] * n_answer
