"""The local model as judge: no network, no cost, the same answers every time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.model import LanguageModel
from steerpaper.engine.score import score
from steerpaper.engine.text import (
    Choice,
    continuation_ids,
    token_ids,
    without_control_tokens,
)
from steerpaper.engine.turns import Turn, render
from steerpaper.judges.judge import Asked, FollowUps, Judgement, as_question
from steerpaper.progress import progress


class LocalJudge:
    """Writes by greedy decoding, and judges by comparing log p(Yes) with log p(No).

    A small model leans to one of the two words whatever the text. So the difference of the two
    log-probabilities is compared with the one for a text without content (contextual calibration,
    Zhao et al. 2021, arXiv 2102.09690): the answer is yes where the text raises it.
    """

    def __init__(
        self, lm: LanguageModel, *, max_new_tokens: int, budget: int, section: str
    ) -> None:
        """Judge by a loaded model.

        Args:
            max_new_tokens: of what is written.
            budget: tokens a forward pass may hold.
            section: of the configuration, that the questions come from.
        """
        self.name = lm.name
        self._lm = lm
        self._section = section
        key = f"{section}.max_new_tokens"
        self._decoding = Decoding(max_new_tokens, 1.0, 1.0, budget=budget, key=key)

    def fits(self, question: Asked) -> bool:
        """Whether the question and an answer are within the model's context."""
        length = len(self._ids(question)) + self._decoding.max_new_tokens
        return length <= (self._lm.context or np.inf)

    def prepare(self, questions: Sequence[Asked], follow_ups: Sequence[FollowUps] = ()) -> None:
        """Nothing is paid for here."""

    def write(self, questions: Sequence[Asked]) -> list[str]:
        """Greedy completions of the questions."""
        if not questions:
            return []
        requests = [
            Request(self._ids(text), None, None, "a question to the local judge")
            for text in questions
        ]
        answers = complete(self._lm, requests, {}, self._decoding)
        return [self._tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]

    def judge(self, judgements: Sequence[Judgement]) -> list[bool | None]:
        """Forward passes only; questions of one baseline share what they begin with."""
        of_baseline: dict[str, list[int]] = {}
        for number, judgement in enumerate(judgements):
            of_baseline.setdefault(judgement.baseline, []).append(number)
        said: list[bool | None] = [None] * len(judgements)
        groups = (
            (numbers, self.differences([judgements[n].question for n in numbers], baseline))
            for baseline, numbers in of_baseline.items()
        )
        for numbers, differences in progress(groups, len(judgements), "judgements"):
            for number, difference in zip(numbers, differences, strict=True):
                said[number] = None if np.isnan(difference) else bool(difference > 0)
        return said

    def differences(self, questions: Sequence[str], baseline: str) -> list[float]:
        """Log p(Yes) - log p(No) of every question, less the baseline's; NaN if it does not fit."""
        asked = [self._choice(question) for question in (*questions, baseline)]
        room = self._lm.context or np.inf
        read = [number for number, choice in enumerate(asked) if choice.length <= room]
        found = np.full(len(asked), np.nan)
        if read:
            chosen = [asked[number] for number in read]
            logprobs, _ = score(self._lm, chosen, {}, [], budget=self._decoding.budget)
            found[read] = logprobs[:, 0] - logprobs[:, 1]
        return list(found[:-1] - found[-1])

    def _choice(self, question: str) -> Choice:
        turn = self._render(question)
        yes, no = (
            continuation_ids(self._tokenizer, turn.text, turn.lead + word)[0]
            for word in ("Yes", "No")
        )
        return Choice(question, token_ids(self._tokenizer, turn.text), yes, no)

    def _ids(self, asked: Asked) -> list[int]:
        question = as_question(asked)
        # in the user's turn: not every template has a place for a system prompt
        text = f"{question.system}\n\n{question.text}" if question.system else question.text
        return token_ids(self._tokenizer, self._render(text).text)

    def _render(self, question: str) -> Turn:
        # a corpus may hold the model's control tokens, and they would end the question
        question = without_control_tokens(self._tokenizer, question)
        return render(self._tokenizer, question, None, source=self._section)

    @property
    def _tokenizer(self) -> Any:
        return self._lm.tokenizer
