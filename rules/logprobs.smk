# Fixed completions: what the unsteered model says, and how likely it is when steered.
FIXED = STEERING["fixed_completions"]


rule fixed_completions:
    """Sample and label completions of the test prompts by the unsteered model."""
    input:
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.test.jsonl",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        about=lambda wildcards: config["behaviors"][wildcards.behavior].get("about", []),
        model=f"{MODEL}/manifest.json",
        code=code_of("fixed_completions"),
    output:
        completions=f"{RESULTS}/steering/{{behavior}}.fixed_completions.parquet",
    log:
        f"{LOGS}/fixed_completions/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/fixed_completions/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **{
            key: FIXED[key]
            for key in ("prompts", "samples", "max_new_tokens", "temperature", "top_p")
        },
        **RUN_MODEL,
        contrasts=CONTRASTS,
        seed=config["seed"],
    message:
        "Sampling completions of the unsteered model for {wildcards.behavior}"
    script:
        "../scripts/fixed_completions.py"


rule logprobs:
    """Log-probability of every fixed completion at every chosen block and multiplier."""
    input:
        completions=f"{RESULTS}/steering/{{behavior}}.fixed_completions.parquet",
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.test.jsonl",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        vectors=expand(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        blocks=expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.block.json",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        model=f"{MODEL}/manifest.json",
        code=code_of("logprobs"),
    output:
        logprobs=f"{RESULTS}/steering/{{behavior}}.logprobs.parquet",
    log:
        f"{LOGS}/logprobs/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/logprobs/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **{key: FIXED[key] for key in ("layers", "multipliers", "random")},
        **RUN_MODEL,
        contrasts=CONTRASTS,
        positions=STEERING["positions"],
    message:
        "Scoring the fixed completions of {wildcards.behavior}"
    script:
        "../scripts/logprobs.py"


rule logprobs_table:
    """Mean change of log-probability by label, with intervals clustered by prompt."""
    input:
        logprobs=expand(
            f"{RESULTS}/steering/{{behavior}}.logprobs.parquet",
            behavior=behaviors_of("fixed_completions"),
        ),
        code=code_of("logprobs_table"),
    output:
        table=f"{RESULTS}/tables/logprobs.csv",
    log:
        f"{LOGS}/logprobs_table.log",
    benchmark:
        f"{BENCHMARKS}/logprobs_table.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=behaviors_of("fixed_completions"),
        seed=config["seed"],
    message:
        "Summarising the fixed completions"
    script:
        "../scripts/logprobs_table.py"
