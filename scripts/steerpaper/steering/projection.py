"""Token by token on the vector: where in a text the behaviour shows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from steerpaper.engine.batching import read_rows, run_rows
from steerpaper.engine.forward import RESIDUAL
from steerpaper.engine.model import LanguageModel
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
    unit = unit.to(lm.device_of(layer))
    site = (layer, RESIDUAL)

    def look(items: list[int], ids: Tensor, mask: Tensor) -> Tensor:
        # not a matrix product, whose order of sums may follow from the number of rows
        return read_rows(lm, ids, mask, {site: lambda h: (h.float() * unit).sum(-1)})[site].cpu()

    found: list[NDArray[np.float64]] = [np.zeros(0)] * len(texts)
    for batch, values in run_rows(lm, texts, budget, look):
        for item, row in zip(batch, values[: len(batch)], strict=True):
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


def project_answers(
    lm: LanguageModel,
    prompts: Sequence[Mapping[str, Any]],
    layer: int,
    direction: Floats,
    measure: Scale,
    budget: int,
) -> pd.DataFrame:
    """One row a token of every prompt with its matching and with its other answer.

    Args:
        prompts: rows of a prompt file.
        direction: [d], of the block `layer`.

    Returns:
        behavior, contrast, layer, prompt_id, answer, token, part, text, projection.
    """
    answers = [
        (prompt, side, prompt["ids"] + prompt[f"{side}_ids"])
        for prompt in prompts
        for side in ("matching", "other")
    ]
    projected = project(lm, [ids for _, _, ids in answers], layer, direction, budget)
    tables = []
    for (prompt, side, ids), values in zip(answers, projected, strict=True):
        texts = token_texts(lm.tokenizer, ids)
        table = {
            "behavior": prompt["behavior"],
            "contrast": prompt["contrast"],
            "layer": layer,
            "prompt_id": prompt["id"],
            "answer": side,
            "token": range(len(ids)),
            "part": parts(
                texts,
                prompt["text"],
                prompt["question"],
                len(prompt["ids"]),
                lm.tokenizer.all_special_tokens,
            ),
            "text": texts,
            "projection": (values - measure.middle) / measure.unit,
        }
        tables.append(pd.DataFrame(table))
    return pd.concat(tables, ignore_index=True)


def parts(
    texts: Sequence[str], text: str, question: str, n_text: int, special: Sequence[str]
) -> list[str]:
    """What every token of prompt and answer belongs to: template, question or answer.

    Choices that follow the question are part of it.

    Args:
        texts: the text that each token adds.
        text: the rendered prompt.
        n_text: tokens of the prompt.
        special: the tokenizer's control tokens.
    """
    start = text.find(question)
    # a template that changes the question leaves no place to begin at
    start, end = (start, start + len(question)) if start >= 0 else (0, len(text))
    choice = text.find("\n (B) ", end)
    if choice >= 0:
        line_end = text.find("\n", choice + 1)
        end = line_end if line_end >= 0 else len(text)
        # the template may end the user's turn on the same line
        for token in special:
            mark = text.find(token, choice)
            end = min(end, mark) if mark >= 0 else end
    names, place = [], 0
    for number, piece in enumerate(texts):
        inside = start <= place < end
        names.append("answer" if number >= n_text else "question" if inside else "template")
        place += len(piece)
    return names
