"""Sample what the unsteered model says after a behaviour's test prompts, and label it."""

from steerpaper.job import Job, log, run


def main(job: Job) -> None:
    import numpy as np
    import pandas as pd

    from steerpaper.files import read_jsonl, table_writer
    from steerpaper.model import load_job_model
    from steerpaper.steering.about import read_about
    from steerpaper.steering.completions import fixed_requests, sample_sequences
    from steerpaper.steering.labels import LABELS, label_by_letter, label_by_markers
    from steerpaper.steering.logprobs import tally
    from steerpaper.steering.prompts import token_ids

    params, behavior = job.params, job.wildcards["behavior"]
    markers = read_about(job.input["about"] or None).markers
    lm, _ = load_job_model(job)
    nothing = np.zeros((lm.n_layers, lm.width))
    with table_writer(job.output["completions"]) as append:
        for contrast, path in zip(params["contrasts"], job.input["prompts"], strict=True):
            prompts = read_jsonl(path)[: params["prompts"]]
            labelled = dict.fromkeys(LABELS, 0)
            # prompts that fill a batch together: no more than their completions are held
            longest = max(prompt["n_tokens"] for prompt in prompts) + params["max_new_tokens"]
            size = max(1, 8 * params["batch_tokens"] // (longest * params["samples"]))
            for start in range(0, len(prompts), size):
                chosen = prompts[start : start + size]
                requests = [
                    request
                    for prompt in chosen
                    for request in fixed_requests(
                        token_ids(lm.tokenizer, prompt["text"]),
                        samples=params["samples"],
                        seed=params["seed"],
                        behavior=behavior,
                        contrast=contrast,
                        prompt_id=prompt["id"],
                    )
                ]
                sequences = sample_sequences(
                    lm,
                    requests,
                    nothing,
                    positions="response",
                    max_new_tokens=params["max_new_tokens"],
                    temperature=params["temperature"],
                    top_p=params["top_p"],
                    budget=params["batch_tokens"],
                )
                rows = []
                for number, prompt in enumerate(chosen):
                    own = sequences[number * params["samples"] : (number + 1) * params["samples"]]
                    for completion, (ids, count) in enumerate(tally(own)):
                        text = lm.tokenizer.decode(ids, skip_special_tokens=True)
                        finished = ids[-1] in lm.ends
                        if contrast == "letters":
                            head = lm.tokenizer.decode(ids[:10], skip_special_tokens=True)
                            label = label_by_letter(head, prompt["matching"])
                        else:
                            label = label_by_markers(text, markers, finished=finished)
                        labelled[label] += count
                        rows.append(
                            {
                                "behavior": behavior,
                                "contrast": contrast,
                                "prompt_id": prompt["id"],
                                "completion_id": completion,
                                "count": count,
                                "label": label,
                                "finished": finished,
                                "ids": list(ids),
                                "text": text,
                                "seed": params["seed"],
                            }
                        )
                append(pd.DataFrame(rows))
            log.info(
                "%s (%s): completions labelled %s",
                behavior,
                contrast,
                ", ".join(f"{label}: {count}" for label, count in labelled.items()),
            )
            missing = [label for label in LABELS[:2] if not labelled[label]]
            if missing:
                log.warning(
                    "%s (%s): no completion is labelled %s, so its mean change has no number; "
                    "more samples, longer completions or other markers may find some",
                    behavior,
                    contrast,
                    " or ".join(missing),
                )


if __name__ == "__main__":
    run(main)
