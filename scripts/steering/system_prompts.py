"""Score the test items without, with a supporting and with an opposing system prompt, steered."""

import sys
from pathlib import Path
from typing import Any, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, Run, log, run


class Params(TypedDict):
    """The rule's settings."""

    run: Run
    prompts: int
    multipliers: list[float]
    positions: str


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.engine.budget import budget_of
    from steerpaper.engine.model import load_manifest
    from steerpaper.steering.balance import balanced_part
    from steerpaper.steering.conditions import chosen_layers, conditions, not_run
    from steerpaper.steering.scores import score_prompts, write_scores
    from steerpaper.workflow.files import read_json, read_jsonl, read_tensors

    params, behavior = job.params, job.wildcards["behavior"]
    lm, _ = load_manifest(job.input["model"], **params["run"], **job.machine)
    budget = budget_of(lm, job.batch_tokens)
    vectors, _ = read_tensors(job.input["vectors"])
    layers = chosen_layers(read_json(job.input["block"]), lm.n_layers)
    wanted = conditions([layers], params["multipliers"], {}, params["positions"])
    of_system: dict[str, list[dict[str, Any]]] = {}
    for row in read_jsonl(job.input["prompts"]):
        of_system.setdefault(row["system_prompt"], []).append(row)
    tables = []
    for name, rows in of_system.items():
        if "note" in rows[0]:
            note = rows[0]["note"]
            log.warning("%s, system prompt '%s': left out (n = 0): %s", behavior, name, note)
            table = not_run(behavior).assign(note=note)
        else:
            chosen = balanced_part(rows, params["prompts"])
            table = score_prompts(lm, chosen, vectors, wanted, budget=budget)
            table = table.assign(note=None)
        table.insert(0, "system_prompt", name)
        tables.append(table)
    write_scores(job.output["scores"], pd.concat(tables, ignore_index=True))


if __name__ == "__main__":
    run(main)
