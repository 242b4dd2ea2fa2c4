"""Have judges rate and label the completions: the local model, an endpoint, or both."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.judges.judge import Judge
from steerpaper.workflow.job import Job, Run, run


class JudgeSettings(TypedDict):
    """A judge as the rule has it: which, under what key, asked how often, and where it is."""

    judge: str
    section: str
    passes: int
    endpoint: dict[str, str]


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    date: str
    judges: list[JudgeSettings]
    max_new_tokens: int
    cache: str


# what makes fewer questions
FEWER = "steering.completions.questions, multipliers or samples"


def make_judge(job: Job[Params], rater: JudgeSettings, how: Mapping[str, Any]) -> Judge:
    """A judge of the rule.

    Args:
        how: how its endpoint is asked.
    """
    from steerpaper.judges.make import endpoint_judge, local_judge

    params = job.params
    if rater["judge"] == "local":
        return local_judge(
            job.input["model"],
            **params["run"],
            date=params["date"],
            **job.machine,
            budget=job.batch_tokens,
            max_new_tokens=params["max_new_tokens"],
            section="steering.ratings",
        )
    return endpoint_judge(
        {**rater["endpoint"], **how},
        params["cache"],
        max_new_tokens=params["max_new_tokens"],
        section=f"{rater['section']}.endpoint",
        fewer=FEWER,
    )


def main(job: Job[Params]) -> None:
    from steerpaper.steering.judged_labels import label
    from steerpaper.steering.ratings import Rater, prepare, rate
    from steerpaper.workflow.files import read_jsonl, write_table

    raters = [
        Rater(make_judge(job, rater, how), rater["passes"])
        for rater, how in zip(job.params["judges"], job.how["judges"], strict=True)
    ]
    # one behaviour's, or those of all
    of_behavior = [read_jsonl(path) for path in job.input["asked"]]
    prompts = [row for rows in of_behavior for row in rows]
    to_label = [row for path in job.input.get("to_label", []) for row in read_jsonl(path)]
    prepare(raters, prompts, to_label)
    tables = {"ratings": rate(raters, prompts)}
    if to_label:
        tables["labels"] = label(raters[0].judge, to_label)
    for output, table in tables.items():
        for rows, path in zip(of_behavior, job.output[output], strict=True):
            own = table["behavior"].isin([row["behavior"] for row in rows])
            write_table(path, table[own].drop(columns="behavior"))


if __name__ == "__main__":
    run(main)
