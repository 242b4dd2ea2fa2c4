"""How far completions show a behaviour, and which side, in a judge's eyes: questions and answers."""

from steerpaper.steering.about import read_about
from steerpaper.steering.judged_labels import description

RATINGS = STEERING["ratings"]
RATED = behaviors_of("ratings")
RATERS = judges_of(RATINGS)
RATED_LOCALLY = any(judge["judge"] == "local" for _, judge in RATERS)
RATED_AT_ENDPOINT = any(judge["judge"] == "openai" for _, judge in RATERS)
# a job that rates has one behaviour's files; with an endpoint those of all, so that all its requests
# are counted and priced before the first one is made
RATED_TOGETHER = dict(behavior=RATED) if RATED_AT_ENDPOINT else {}
ASKED, RATED_FILES, TO_LABEL, LABELLED_FILES = (
    expand(f"{RESULTS}/{template}", **RATED_TOGETHER, allow_missing=True)
    for template in (
        "prompts/{behavior}.ratings.jsonl",
        "steering/{behavior}.ratings.parquet",
        "prompts/{behavior}.to_label.jsonl",
        "steering/{behavior}.judged_labels.parquet",
    )
)
JUDGE_LABELS = RATINGS["labels"] == "judge"

# not after hours: a file that is mended makes the prompts and what follows anew
for _behavior in RATED if JUDGE_LABELS else []:
    if isinstance(_about := told_of(_behavior)["about"], str):
        try:
            description(read_about(_about), behavior=_behavior, file=_about)
        except UserError as error:
            raise WorkflowError(str(error))


rule rating_prompts:
    """Write down what a judge is asked about every completion of a behaviour."""
    input:
        **{
            name: lambda wildcards, name=name: theirs(
                told_of(wildcards.behavior).get(name, "")
            )
            for name in ("rating", "about")
        },
        samples=f"{RESULTS}/steering/{{behavior}}.samples.parquet",
        prompts=f"{RESULTS}/prompts/{{behavior}}.open.jsonl",
    output:
        **(
            {"to_label": f"{RESULTS}/prompts/{{behavior}}.to_label.jsonl"}
            if JUDGE_LABELS
            else {}
        ),
        asked=f"{RESULTS}/prompts/{{behavior}}.ratings.jsonl",
    log:
        f"{LOGS}/rating_prompts/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/rating_prompts/{{behavior}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=lambda wildcards: dict(
            data=content(told_of(wildcards.behavior)["rating"]),
            **(
                {"about": content(told_of(wildcards.behavior)["about"])}
                if JUDGE_LABELS
                else {}
            ),
        ),
        code=code_of("steering/rating_prompts"),
        beside=lambda wildcards: ours(**told_of(wildcards.behavior)),
    message:
        "Writing down what a judge is asked about {wildcards.behavior}"
    script:
        "../scripts/steering/rating_prompts.py"


rule ratings:
    """Rate the completions, by the local model, an endpoint, or both; the first may label them."""
    input:
        **({"model": ENGINE} if RATED_LOCALLY else {}),
        **({"to_label": TO_LABEL} if JUDGE_LABELS else {}),
        asked=ASKED,
    output:
        **({"labels": LABELLED_FILES} if JUDGE_LABELS else {}),
        ratings=RATED_FILES,
    log:
        f"{LOGS}/ratings.log"
        if RATED_AT_ENDPOINT
        else f"{LOGS}/ratings/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/ratings.tsv"
        if RATED_AT_ENDPOINT
        else f"{BENCHMARKS}/ratings/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"] if RATED_LOCALLY else 1
    resources:
        gpu=GPUS if RATED_LOCALLY else 0,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=dict(
            run=RUN_MODEL if RATED_LOCALLY else {},
            date=config["model"]["date"] if RATED_LOCALLY else "",
            judges=[
                dict(
                    section=section,
                    **keys_of(judge, "judge passes"),
                    endpoint=(
                        keys_of(judge["endpoint"], "base_url model")
                        if judge["judge"] == "openai"
                        else {}
                    ),
                )
                for section, judge in RATERS
            ],
            max_new_tokens=RATINGS["max_new_tokens"],
            # not an output: what an endpoint has answered outlives a job that fails
            cache=f"{RESULTS}/steering/cache/ratings.jsonl",
        ),
        code=code_of("steering/ratings"),
        # how an endpoint is asked; no result depends on it
        how=SimpleNamespace(
            judges=[
                keys_of(
                    judge["endpoint"],
                    "key_variable max_requests parallel timeout retries price",
                )
                for _, judge in RATERS
            ]
        ),
    message:
        "Rating completions"
    script:
        "../scripts/steering/ratings.py"
