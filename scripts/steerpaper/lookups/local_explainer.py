"""The local model as explainer and classifier: no network, no cost, the same answers every time."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from steerpaper.lookups.explanations import Judgement, judgement_question
from steerpaper.model import LanguageModel
from steerpaper.progress import progress
from steerpaper.steering.completions import Request, complete
from steerpaper.steering.pairs import Pair
from steerpaper.steering.prompts import continuation_ids, render, token_ids
from steerpaper.steering.score import score

# what a judgement is compared with: how the model answers where there is no text to judge
NO_TEXT = "N/A"
# tokens a batch may hold: the explainer's own number and not the configured one, since the
# last bits of a row depend on its batch, and a choice between near equals on the last bits
BATCH_TOKENS = 1024


class LocalExplainer:
    """Explains by greedy decoding, and classifies by comparing log p(Yes) with log p(No).

    A small model leans to one of the two words whatever the text. So the difference of the two
    log-probabilities is compared with the one for a text without content (contextual calibration,
    Zhao et al. 2021, arXiv 2102.09690): the answer is yes where the text raises it.
    """

    def __init__(self, lm: LanguageModel, *, max_new_tokens: int) -> None:
        self.name = lm.name
        self._lm = lm
        self._max_new_tokens = max_new_tokens

    def fits(self, question: str) -> bool:
        """Whether the question and an answer are within the model's context."""
        return self._lm.context is None or (
            len(self._ids(question)) + self._max_new_tokens <= self._lm.context
        )

    def prepare(self, questions: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
        """Nothing is paid for here."""

    def explain(self, questions: Sequence[str]) -> list[str]:
        """Greedy completions of the questions."""
        if not questions:
            return []
        answers = complete(
            self._lm,
            [Request(self._ids(question), (), 0.0, None) for question in questions],
            np.zeros((self._lm.n_layers, self._lm.width), dtype=np.float32),
            positions="response",
            max_new_tokens=self._max_new_tokens,
            temperature=1.0,
            top_p=1.0,
            budget=BATCH_TOKENS,
        )
        return [self._lm.tokenizer.decode(ids, skip_special_tokens=True) for ids in answers]

    def judge(self, judgements: Sequence[Judgement]) -> list[bool | None]:
        """Forward passes only; questions on one explanation share what they begin with."""
        of_explanation: dict[str, list[int]] = {}
        for number, judgement in enumerate(judgements):
            of_explanation.setdefault(judgement.explanation, []).append(number)
        said: list[bool | None] = [None] * len(judgements)
        groups = (
            (numbers, self.differences(explanation, [judgements[n].text for n in numbers]))
            for explanation, numbers in of_explanation.items()
        )
        for numbers, differences in progress(groups, len(judgements), "judgements"):
            for number, difference in zip(numbers, differences, strict=True):
                said[number] = None if np.isnan(difference) else bool(difference > 0)
        return said

    def differences(self, explanation: str, texts: Sequence[str]) -> list[float]:
        """Log p(Yes) - log p(No) for every text, less that for no text; NaN if it does not fit."""
        questions = [judgement_question(Judgement(explanation, text)) for text in (*texts, NO_TEXT)]
        pairs = [self._pair(question) for question in questions]
        room = self._lm.context or np.inf
        read = [number for number, pair in enumerate(pairs) if pair.length <= room]
        found = np.full(len(pairs), np.nan)
        if read:
            logprobs, _ = score(
                self._lm,
                [pairs[number] for number in read],
                {},
                [],
                positions="response",
                budget=BATCH_TOKENS,
            )
            found[read] = logprobs[:, 0] - logprobs[:, 1]
        return list(found[:-1] - found[-1])

    def _pair(self, question: str) -> Pair:
        text = self._render(question)
        space = "" if text[-1:].isspace() or self._tokenizer.chat_template else " "
        yes, no = (
            continuation_ids(self._tokenizer, text, space + word)[0] for word in ("Yes", "No")
        )
        return Pair(question, token_ids(self._tokenizer, text), yes, no)

    def _ids(self, question: str) -> list[int]:
        return token_ids(self._tokenizer, self._render(question))

    def _render(self, question: str) -> str:
        # a corpus may hold the model's control tokens, and they would end the question
        for token in self._tokenizer.all_special_tokens:
            question = question.replace(token, "")
        return render(self._tokenizer, question, None, source="lookups.explanations")

    @property
    def _tokenizer(self) -> Any:
        return self._lm.tokenizer
