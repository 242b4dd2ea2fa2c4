SWEEP_SHARDS = STEERING["sweep"]["shards"]


rule sweep:
    """Score the dev items under steering at one shard of the chosen blocks: which works best?"""
    input:
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.dev.jsonl",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        vectors=expand(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        model=f"{MODEL}/manifest.json",
        code=code_of("sweep"),
    output:
        scores=expand(
            f"{RESULTS}/steering/shards/{{behavior}}.{{contrast}}.dev.{{shard}}-of-{SWEEP_SHARDS}.parquet",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/sweep/{{behavior}}.{{shard}}-of-{SWEEP_SHARDS}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/{{behavior}}.{{shard}}-of-{SWEEP_SHARDS}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **STEERING["sweep"],
        **RUN_MODEL,
        contrasts=CONTRASTS,
        positions=STEERING["positions"],
    message:
        "Sweeping blocks and multipliers for {wildcards.behavior} (shard {wildcards.shard} of {params.shards})"
    script:
        "../scripts/sweep.py"


rule best_block:
    """Join the sweep's shards; choose the block whose mean slope on the dev items is highest."""
    input:
        shards=expand(
            f"{RESULTS}/steering/shards/{{behavior}}.{{contrast}}.dev.{{shard}}-of-{SWEEP_SHARDS}.parquet",
            shard=range(SWEEP_SHARDS),
            allow_missing=True,
        ),
        code=code_of("best_block"),
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.{{contrast}}.dev.parquet",
        block=f"{RESULTS}/steering/{{behavior}}.{{contrast}}.block.json",
    log:
        f"{LOGS}/best_block/{{behavior}}.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/best_block/{{behavior}}.{{contrast}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    params:
        layer=STEERING["layer"],
    message:
        "Choosing the block for {wildcards.behavior} ({wildcards.contrast})"
    script:
        "../scripts/best_block.py"


rule dose_response:
    """Score the test items at the chosen block under many multipliers; join them to dev's."""
    input:
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
        dev=expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.dev.parquet",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        model=f"{MODEL}/manifest.json",
        code=code_of("dose_response"),
    output:
        scores=expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.sweep.parquet",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/dose_response/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/dose_response/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **STEERING["dose_response"],
        **RUN_MODEL,
        contrasts=CONTRASTS,
        positions=STEERING["positions"],
    message:
        "Measuring the dose response of {wildcards.behavior}"
    script:
        "../scripts/dose_response.py"


rule steering_tables:
    """Means with bootstrap intervals, steerability slopes and anti-steerable shares, as tables."""
    input:
        scores=expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.sweep.parquet",
            behavior=BEHAVIORS,
            contrast=CONTRASTS,
        ),
        blocks=expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.block.json",
            behavior=BEHAVIORS,
            contrast=CONTRASTS,
        ),
        code=code_of("steering_tables"),
    output:
        layer_sweep=f"{RESULTS}/tables/layer_sweep.csv",
        heatmap=f"{RESULTS}/tables/heatmap.csv",
        dose_response=f"{RESULTS}/tables/dose_response.csv",
        steerability=f"{RESULTS}/tables/steerability.csv",
        steerability_items=f"{RESULTS}/tables/steerability_items.csv",
    log:
        f"{LOGS}/steering_tables.log",
    benchmark:
        f"{BENCHMARKS}/steering_tables.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=BEHAVIORS,
        contrasts=CONTRASTS,
        seed=config["seed"],
    message:
        "Summarising the scores"
    script:
        "../scripts/steering_tables.py"


rule steering:
    """The steering study's tables."""
    input:
        rules.geometry.output,
        rules.steering_tables.output,
        f"{RESULTS}/tables/completions.csv",
        f"{RESULTS}/tables/completion_labels.csv",
        expand(
            f"{RESULTS}/tables/{{part}}.csv",
            part=[part for part in PARTS if behaviors_of(part)],
        ),
        f"{RESULTS}/tables/logprobs.csv" if behaviors_of("fixed_completions") else [],
        f"{RESULTS}/tables/estimators.csv" if behaviors_of("compare_estimators") else [],
        f"{RESULTS}/tables/transfer.csv" if behaviors_of("transfer") else [],
        f"{RESULTS}/tables/steerability.tex",
        expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.csv",
            behavior=BEHAVIORS,
            contrast=CONTRASTS if STEERING["prompts"]["csv"] else [],
            split=SPLITS,
        ),
