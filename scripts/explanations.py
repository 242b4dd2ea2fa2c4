"""Explain heads in words, and score how well the explanations tell where the heads are active."""

from steerpaper.job import Job, log, run


def make_explainer(job: Job):
    params = job.params
    if params["explainer"] == "local":
        from steerpaper.lookups.local_explainer import LocalExplainer
        from steerpaper.model import load_job_model

        lm, _ = load_job_model(job)
        return LocalExplainer(lm, max_new_tokens=params["max_new_tokens"])
    from steerpaper.lookups.endpoint import AnswerCache, Endpoint, EndpointExplainer

    options = dict(params["endpoint"])
    price = options.pop("price")
    return EndpointExplainer(
        Endpoint(**options, price=(price["input"], price["output"])),
        AnswerCache(params["cache"]),
        max_new_tokens=params["max_new_tokens"],
    )


def main(job: Job) -> None:
    from steerpaper.files import read_table, write_jsonl, write_table
    from steerpaper.lookups.explanations import explain_heads, score_heads
    from steerpaper.lookups.heads import prompts_of_heads

    heads = read_table(job.input["heads"])
    prompts = prompts_of_heads(
        heads, read_table(job.input["attribution"]), read_table(job.input["truncated"])
    )
    explanations, verdicts = explain_heads(
        make_explainer(job), heads, prompts, examples=job.params["examples"]
    )
    scores = score_heads(explanations, verdicts)
    counts = scores["left_out"].value_counts()
    for reason in counts.index[counts.index != ""]:
        log.warning("%d of %d heads have no score: %s", counts[reason], len(scores), reason)
    unanswered = int(scores["unanswered"].sum())
    if unanswered:
        log.warning("%d of %d judgements had no usable answer", unanswered, len(verdicts))
    write_jsonl(job.output["explanations"], explanations.to_dict("records"))
    write_table(job.output["verdicts"], verdicts)
    write_table(job.output["scores"], scores)


if __name__ == "__main__":
    run(main)
