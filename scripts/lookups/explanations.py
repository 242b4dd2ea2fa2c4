"""Explain heads in words, and score how well the explanations tell where the heads are active."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.judges.judge import Judge
from steerpaper.workflow.job import Job, Run, log, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    date: str
    explainer: str
    examples: int
    published: bool
    max_new_tokens: int
    endpoint: dict[str, str]
    cache: str


def make_judge(job: Job[Params]) -> Judge:
    from steerpaper.judges.make import endpoint_judge, local_judge

    params, section = job.params, "lookups.explanations"
    if params["explainer"] == "local":
        return local_judge(
            job.input["model"],
            **params["run"],
            date=params["date"],
            **job.machine,
            budget=job.batch_tokens,
            max_new_tokens=params["max_new_tokens"],
            section=section,
        )
    return endpoint_judge(
        {**params["endpoint"], **job.how},
        params["cache"],
        max_new_tokens=params["max_new_tokens"],
        section=f"{section}.endpoint",
        fewer="lookups.heads.per_neuron",
    )


def main(job: Job[Params]) -> None:
    from steerpaper.lookups.explanations import explain_heads, score_heads
    from steerpaper.lookups.heads import prompts_of_heads
    from steerpaper.workflow.files import read_table, records, write_jsonl, write_table

    heads = read_table(job.input["heads"])
    prompts = prompts_of_heads(
        heads, read_table(job.input["attribution"]), read_table(job.input["truncated"])
    )
    neurons = read_table(job.input["neurons"])
    named = zip(neurons["layer"], neurons["neuron"], strict=True)
    tokens = dict(zip(named, neurons["token"], strict=True))
    published = job.params["published"]
    explanations, verdicts = explain_heads(
        make_judge(job),
        heads,
        prompts,
        examples=None if published else job.params["examples"],
        tokens=tokens if published else None,
    )
    scores = score_heads(explanations, verdicts)
    counts = scores["left_out"].value_counts()
    for reason in counts.index[counts.index != ""]:
        log.warning("%d of %d heads have no score: %s", counts[reason], len(scores), reason)
    unanswered = int(scores["unanswered"].sum())
    if unanswered:
        log.warning("%d of %d judgements had no usable answer", unanswered, len(verdicts))
    write_jsonl(job.output["explanations"], records(explanations))
    write_table(job.output["verdicts"], verdicts)
    write_table(job.output["scores"], scores)


if __name__ == "__main__":
    run(main)
