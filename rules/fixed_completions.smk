# What the unsteered model says, and how likely it is when steered: two rules, since what is sampled
# once is scored under many conditions. The scores' file and table are called logprobs.
FIXED = STEERING["fixed_completions"]


rule fixed_completions:
    """Sample and label completions of the test prompts by the unsteered model."""
    input:
        prompts=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.test.jsonl"),
        about=f"{RESULTS}/prompts/{{behavior}}.about.json",
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        settings=dict(
            run=RUN_MODEL,
            seed=config["seed"],
            **keys_of(FIXED, "prompts samples max_new_tokens temperature top_p"),
        ),
        code=code_of("steering/fixed_completions"),
    message:
        "Sampling completions of the unsteered model for {wildcards.behavior}"
    script:
        "../scripts/steering/fixed_completions.py"


rule logprobs:
    """Log-probability of every fixed completion at every chosen block and multiplier."""
    input:
        completions=f"{RESULTS}/steering/{{behavior}}.fixed_completions.parquet",
        prompts=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.test.jsonl"),
        vectors=of_contrasts(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors"
        ),
        blocks=of_contrasts(f"{RESULTS}/steering/{{behavior}}.{{contrast}}.block.json"),
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        settings=dict(
            run=RUN_MODEL,
            positions=STEERING["positions"],
            contrasts=CONTRASTS,
            **keys_of(FIXED, "layers multipliers random"),
        ),
        code=code_of("steering/logprobs"),
    message:
        "Scoring the fixed completions of {wildcards.behavior}"
    script:
        "../scripts/steering/logprobs.py"
