"""A behaviour's prompt files as CSV, for a spreadsheet; nothing else reads them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, run


def main(job: Job[dict[str, object]]) -> None:
    import pandas as pd

    from steerpaper.workflow.files import read_jsonl, write_table

    for prompts, path in zip(job.input["prompts"], job.output["csv"], strict=True):
        write_table(path, pd.DataFrame(read_jsonl(prompts)))


if __name__ == "__main__":
    run(main)
