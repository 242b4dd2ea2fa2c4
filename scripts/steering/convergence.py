"""Compare vectors made from few items with the vector made from all, over many draws."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    sizes: list[int]
    draws: int
    compare: dict[str, int]
    contrasts: list[str]
    seed: int


def main(job: Job[Params]) -> None:
    from steerpaper.steering.convergence import convergence
    from steerpaper.workflow.files import read_jsonl, read_tensors, table_writer

    params, behavior = job.params, job.wildcards["behavior"]
    with table_writer(job.output["draws"]) as append:
        for contrast, path, prompts in zip(
            params["contrasts"], job.input["activations"], job.input["prompts"], strict=True
        ):
            activations, _ = read_tensors(path)
            n = len(activations["matching"])
            few = params["compare"]["vectors"] * params["compare"]["items"]
            for key, size in [("sizes", max(params["sizes"])), ("compare", few)]:
                if size > n:
                    log.warning(
                        "steering.convergence.%s: %d items are asked for, %s (%s) has %d to make "
                        "vectors from; left out",
                        *(key, size, behavior, contrast, n),
                    )
            table = convergence(
                activations["matching"],
                activations["other"],
                [prompt["side"] for prompt in read_jsonl(prompts)],
                sizes=params["sizes"],
                draws=params["draws"],
                **params["compare"],
                seed=params["seed"],
                name=[behavior, contrast],
            )
            table.insert(0, "contrast", contrast)
            append(table)


if __name__ == "__main__":
    run(main)
