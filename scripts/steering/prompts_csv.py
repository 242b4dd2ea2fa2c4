"""A prompt file as CSV, for a spreadsheet; nothing else reads it."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from steerpaper.workflow.job import Job, run


def main(job: Job[dict[str, object]]) -> None:
    import pandas as pd

    from steerpaper.workflow.files import read_jsonl, write_table

    write_table(job.output["csv"], pd.DataFrame(read_jsonl(job.input["prompts"])))


if __name__ == "__main__":
    run(main)
