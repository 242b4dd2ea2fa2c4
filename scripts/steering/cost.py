"""Measure what steering costs: perplexity of neutral text, accuracy on knowledge questions."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    multipliers: list[float]
    random: dict[str, object]
    positions: str


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.engine.score import score
    from steerpaper.engine.text import choices
    from steerpaper.finite import finite
    from steerpaper.steering.beyond import with_beyond
    from steerpaper.steering.conditions import chosen_layers, conditions
    from steerpaper.steering.cost import knowledge_rows, text_logprobs, text_rows
    from steerpaper.steering.scores import with_norms
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors, write_table

    params = job.params
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = [chosen_layers(read_json(job.input["block"]), lm.n_layers)]
    controls = {"random": params["random"]}
    # of a text every token is steered, of a question what is configured
    wanted = conditions(layers, params["multipliers"], controls)
    texts = read_jsonl(job.input["neutral"])
    logprobs = text_logprobs(lm, [text["ids"] for text in texts], vectors, wanted, budget)
    table = with_norms(text_rows(texts, wanted, logprobs), vectors, wanted)
    tables = [with_beyond(table, lm, [len(text["ids"]) for text in texts])]
    wanted = conditions(layers, params["multipliers"], controls, params["positions"])
    for path in job.input["knowledge"]:
        prompts = read_jsonl(path)
        asked = choices(prompts)
        scores = score(lm, asked, vectors, wanted, budget=budget)
        table = with_norms(knowledge_rows(prompts, wanted, *scores), vectors, wanted)
        tables.append(with_beyond(table, lm, [one.length for one in asked]))
    path = job.output["scores"]
    for table in tables:
        finite(path, table, [name for name in ("logprob", "logprob_wrong") if name in table])
    write_table(path, pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
