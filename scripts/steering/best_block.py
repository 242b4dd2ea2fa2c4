"""Join the sweep's shards; choose each contrast's block: the configured one, or the best on dev."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, log, run

if TYPE_CHECKING:
    import pandas as pd


class Params(TypedDict):
    """The rule's settings."""

    contrasts: list[str]
    layer: int | list[int] | str
    seed: int


def main(job: Job[Params]) -> None:
    import pandas as pd

    from steerpaper.steering import choose
    from steerpaper.workflow.files import read_table, write_json, write_table

    behavior, contrasts = job.wildcards["behavior"], job.params["contrasts"]
    # one contrast's shards after the other's; without dev items nothing was swept
    per_contrast = len(job.input["shards"]) // len(contrasts)
    for number, contrast in enumerate(contrasts):
        first = number * per_contrast
        shards = [read_table(one) for one in job.input["shards"][first : first + per_contrast]]
        scores = choose.join_shards(shards) if shards else pd.DataFrame()
        files = {name: paths[number] for name, paths in job.input.items() if name != "shards"}
        chosen = block_of(scores, files, job.params, [behavior, contrast])
        log.info(
            "%s (%s): block %s, chosen: %s%s",
            behavior,
            contrast,
            "+".join(map(str, chosen["layers"])),
            chosen["chosen"],
            "" if chosen.get("stands_out", True) else "; no block stands out from the controls",
        )
        write_table(job.output["scores"][number], scores)
        named = {"behavior": behavior, "contrast": contrast}
        write_json(job.output["block"][number], {**named, **chosen})


def block_of(
    scores: "pd.DataFrame", files: Mapping[str, str], params: Params, what: Sequence[str]
) -> dict[str, Any]:
    """The block to report of one contrast, and how much it is of the residual stream's norm.

    Args:
        scores: of the dev items; empty where nothing was swept.
        files: its vectors and, where a block is to be chosen, activations and gradients.
        what: names the draws of what chance does.
    """
    import numpy as np

    from steerpaper.steering import choose
    from steerpaper.steering.chance import by_chance, highest
    from steerpaper.steering.conditions import AT_RESIDUAL_NORM, BEHAVIOR
    from steerpaper.workflow.files import read_tensors

    layer, seed = params["layer"], params["seed"]
    vectors, _ = read_tensors(files["vectors"])
    norms, of_residual = (
        np.linalg.norm(vectors[name], axis=1) for name in (BEHAVIOR, AT_RESIDUAL_NORM)
    )
    chosen = choose.configured(layer) if isinstance(layer, (int, list)) else None
    if chosen is None:
        layers, slopes = choose.swept_slopes(scores)
        chosen = choose.best_block(layers, slopes, seed)
        gradients, _ = read_tensors(files["gradients"])
        activations, _ = read_tensors(files["activations"])
        null = by_chance(
            gradients["dev"],
            activations["matching"] - activations["other"],
            norms,
            layers,
            draws=choose.DRAWS,
            seed=seed,
            what=what,
        )
        chosen |= choose.stands_out(chosen["standardized"], highest(null))
    there = [number for number in chosen["layers"] if number < len(norms)]
    chosen["norm_share"] = float(np.mean(norms[there] / of_residual[there])) if there else None
    return chosen


if __name__ == "__main__":
    run(main)
