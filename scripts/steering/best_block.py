"""Join the sweep's shards; choose the block to report: the configured one, or the best on dev."""

import sys
from pathlib import Path
from typing import TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run


class Params(TypedDict):
    """The rule's settings."""

    layer: int | list[int] | str
    seed: int


def main(job: Job[Params]) -> None:
    import numpy as np
    import pandas as pd

    from steerpaper.steering import choose
    from steerpaper.steering.chance import by_chance, highest
    from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR
    from steerpaper.workflow.files import read_table, read_tensors, write_json, write_table

    layer, seed = job.params["layer"], job.params["seed"]
    # without dev items nothing was swept
    shards = [read_table(shard) for shard in job.input["shards"]]
    scores = choose.join_shards(shards) if shards else pd.DataFrame()
    vectors, _ = read_tensors(job.input["vectors"])
    norms, of_residual = (
        np.linalg.norm(vectors[name], axis=1) for name in (BEHAVIOR, AT_RESIDUAL_NORM)
    )
    chosen = choose.configured(layer) if isinstance(layer, (int, list)) else None
    if chosen is None:
        layers, slopes = choose.swept_slopes(scores)
        chosen = choose.best_block(layers, slopes, seed)
        gradients, _ = read_tensors(job.input["gradients"])
        activations, _ = read_tensors(job.input["activations"])
        null = by_chance(
            gradients["dev"],
            activations["matching"] - activations["other"],
            norms,
            layers,
            draws=choose.DRAWS,
            seed=seed,
            what=[*job.wildcards.values()],
        )
        chosen |= choose.stands_out(chosen["standardized"], highest(null))
    there = [number for number in chosen["layers"] if number < len(norms)]
    chosen["norm_share"] = float(np.mean(norms[there] / of_residual[there])) if there else None
    log.info(
        "%s (%s): block %s, chosen: %s%s",
        job.wildcards["behavior"],
        job.wildcards["contrast"],
        "+".join(map(str, chosen["layers"])),
        chosen["chosen"],
        "" if chosen.get("stands_out", True) else "; no block stands out from the controls",
    )
    write_table(job.output["scores"], scores)
    write_json(job.output["block"], {**job.wildcards, **chosen})


if __name__ == "__main__":
    run(main)
