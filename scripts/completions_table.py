"""Write the sampled completions side by side: a table, and a page for a person to read."""

from steerpaper.workflow.job import Job, run


def main(job: Job) -> None:
    import pandas as pd

    from steerpaper.steering.tables.page import completions_page
    from steerpaper.workflow.files import read_jsonl, read_table, whole, write_table

    tables = []
    for behavior, samples, prompts in zip(
        job.params["behaviors"], job.input["samples"], job.input["prompts"], strict=True
    ):
        questions = {prompt["id"]: prompt["question"] for prompt in read_jsonl(prompts)}
        table = read_table(samples)
        table.insert(0, "question", table["prompt_id"].map(questions))
        table.insert(0, "behavior", behavior)
        tables.append(table)
    table = pd.concat(tables, ignore_index=True)
    write_table(job.output["csv"], table)
    with whole(job.output["markdown"]) as part:
        part.write_text(completions_page(table), encoding="utf-8")


if __name__ == "__main__":
    run(main)
