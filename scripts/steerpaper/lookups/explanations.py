"""Explanations of heads in words, and how well they tell where a head is active.

Neo et al. 2024 (arXiv 2402.15055), section 4: a language model is shown prompts on which a head is
active and prompts on which it is not, and writes what sets them apart; from that text alone it then
says of unseen prompts whether the head is active. Who does this is a judge (see `judges`).
"""

import json
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from steerpaper.judges.judge import FollowUps, Judge, Judgement
from steerpaper.lookups.heads import PAIR

# why a head has no score; an empty text where it has one
ONE_CLASS = "test prompts of one class only"
TOO_LONG = "examples too long for the explainer"
NO_EXPLANATION = "no explanation given"
UNANSWERED = "no usable answers for a class"
# what a judgement is compared with: how a judge answers where there is no text to judge
NO_TEXT = "N/A"


def quoted(text: str) -> str:
    """A prompt as it is shown: on one line, in quotation marks."""
    return json.dumps(text, ensure_ascii=False)


def explanation_question(
    active: Sequence[str], inactive: Sequence[str], token: str | None = None
) -> str:
    """Ask what sets the prompts on which a head is active apart from those on which it is not.

    Args:
        token: the neuron's, which the texts end with; None where the explainer is not told.
    """
    lists = [
        "\n".join(f"{number}. {quoted(text)}" for number, text in enumerate(texts, 1))
        for texts in (active, inactive)
    ]
    told = (
        ""
        if token is None
        else f"It helps to predict the token {quoted(token)}, with which every text ends.\n\n"
    )
    return (
        "An attention head of a language model is active on some texts and inactive on others.\n\n"
        f"{told}It is active on these texts:\n{lists[0]}\n\n"
        f"It is inactive on these texts:\n{lists[1]}\n\n"
        "In one sentence: what do the texts on which it is active have in common, that the others "
        "lack? Begin with: The head is active when"
    )


def judgement_question(explanation: str, text: str) -> str:
    """Ask whether a head is active on a text, given the explanation alone.

    The text comes last, so that all questions on one explanation begin with the same tokens.
    """
    return (
        "An attention head of a language model is active on some texts and inactive on others. "
        f"This explanation says when it is active:\n{explanation}\n\n"
        "By this explanation, is the head active on the following text? Answer Yes or No, and "
        f"nothing else.\n\nText: {quoted(text)}"
    )


def judgement(explanation: str, text: str) -> Judgement:
    """Whether a head is active on a text, by the explanation."""
    return Judgement(
        judgement_question(explanation, text), judgement_question(explanation, NO_TEXT)
    )


def explain_heads(
    judge: Judge,
    heads: pd.DataFrame,
    prompts: pd.DataFrame,
    *,
    examples: int | None,
    tokens: Mapping[tuple[int, int], str] | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Explain every head from train prompts, and classify its test prompts by the explanation.

    Args:
        heads: one row a neuron-head pair: layer, neuron, head_layer, head.
        prompts: one row a pair and prompt: layer, neuron, head_layer, head, split, rank,
            prompt_id, text, active.
        examples: at most so many active and so many inactive train prompts are shown, the
            highest-ranked first; None for all; fewer where the explainer cannot read as many.
        tokens: by (block, neuron), the neuron's token: the explainer is told it, and every prompt
            ends with it, as the authors have it (src/neuron_explain.py at f97f993, lines 33 to 73,
            generate_explanation_prompt_dict); None where it is not.

    Returns:
        explanations: `heads` with explainer, examples (a side), question, explanation, left_out.
        verdicts: one row a pair and test prompt: the pair, prompt_id, active, said (1, 0 or
            missing).
    """
    of_pair = {key: rows.sort_values("rank") for key, rows in prompts.groupby(PAIR, sort=True)}
    rows, tests = [], []
    for head in heads.to_dict("records"):
        here = of_pair[tuple(head[key] for key in PAIR)]
        token = tokens[head["layer"], head["neuron"]] if tokens else None
        here = here.assign(text=here["text"] + (token or ""))
        test = here[here["split"] == "test"]
        tests.append(test)
        train = here[here["split"] == "train"]
        texts = [list(train[train["active"] == side]["text"]) for side in (True, False)]
        shown, question = _longest_question(judge, texts, examples, token)
        left_out = "" if question else TOO_LONG
        if test["active"].nunique() < 2:
            left_out = ONE_CLASS
        rows.append(
            {
                **head,
                "explainer": judge.name,
                "examples": shown,
                "question": question,
                "explanation": "",
                "left_out": left_out,
            }
        )
    asked = [number for number, row in enumerate(rows) if not row["left_out"]]
    questions = [rows[number]["question"] for number in asked]
    judge.prepare(questions, [_follow_ups(list(tests[number]["text"])) for number in asked])
    for number, text in zip(asked, judge.write(questions), strict=True):
        rows[number]["explanation"] = " ".join(text.split())
        if not rows[number]["explanation"]:
            rows[number]["left_out"] = NO_EXPLANATION
    judged = [number for number in asked if rows[number]["explanation"]]
    judgements = [
        judgement(rows[number]["explanation"], text)
        for number in judged
        for text in tests[number]["text"]
    ]
    verdicts = pd.concat([tests[number] for number in judged] or [prompts.iloc[:0]])
    said = [np.nan if answer is None else float(answer) for answer in judge.judge(judgements)]
    verdicts = verdicts[[*PAIR, "prompt_id", "active"]].assign(said=np.array(said, dtype=float))
    columns = [*heads.columns, "explainer", "examples", "question", "explanation", "left_out"]
    return pd.DataFrame(rows, columns=columns), verdicts.reset_index(drop=True)


def _follow_ups(texts: Sequence[str]) -> FollowUps:
    return lambda explanation: [judgement_question(explanation, text) for text in texts]


def _longest_question(
    judge: Judge, texts: Sequence[Sequence[str]], examples: int | None, token: str | None
) -> tuple[int, str]:
    """The question with as many examples a side as the explainer can read; 0 and "" for none.

    All examples of both sides where none are asked for: then the sides need not be as long.
    """
    most = max(map(len, texts)) if examples is None else min(examples, *map(len, texts))
    for count in range(most, 0, -1):
        active, inactive = (side[:count] for side in texts)
        question = explanation_question(active, inactive, token)
        if judge.fits(question):
            return count, question
    return 0, ""


def score_heads(explanations: pd.DataFrame, verdicts: pd.DataFrame) -> pd.DataFrame:
    """Head explanation score = (true positive rate + true negative rate) / 2, with its counts.

    Prompts without a usable answer enter neither rate and are counted. A head without both
    classes has no score (NaN), and `left_out` says why.

    Args:
        explanations: the pair, left_out, and whatever else is to be kept.
        verdicts: the pair, active, said (1, 0 or missing).

    Returns:
        the pair, n_active, true_positives, n_inactive, true_negatives, unanswered,
        true_positive_rate, true_negative_rate, score, left_out.
    """
    answered = verdicts["said"].notna()
    active, said = verdicts["active"].astype(bool), verdicts["said"] == 1
    counts = (
        verdicts[PAIR]
        .assign(
            n_active=answered & active,
            true_positives=answered & active & said,
            n_inactive=answered & ~active,
            true_negatives=answered & ~active & ~said,
            unanswered=~answered,
        )
        .groupby(PAIR)
        .sum()
    )
    scores = explanations[[*PAIR, "left_out"]].merge(
        counts.reset_index(), on=PAIR, how="left", validate="1:1"
    )
    numbers = ["n_active", "true_positives", "n_inactive", "true_negatives", "unanswered"]
    scores[numbers] = scores[numbers].fillna(0).astype(int)
    scores["true_positive_rate"] = scores["true_positives"] / scores["n_active"].where(
        lambda n: n > 0
    )
    scores["true_negative_rate"] = scores["true_negatives"] / scores["n_inactive"].where(
        lambda n: n > 0
    )
    scores["score"] = (scores["true_positive_rate"] + scores["true_negative_rate"]) / 2
    scores.loc[scores["score"].isna() & (scores["left_out"] == ""), "left_out"] = UNANSWERED
    order = [*PAIR, *numbers, "true_positive_rate", "true_negative_rate", "score", "left_out"]
    return scores[order]
