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
        code=code_of("steering/sweep"),
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
        settings=dict(
            run=RUN_MODEL,
            positions=STEERING["positions"],
            **STEERING["sweep"],
        ),
    message:
        "Sweeping blocks and multipliers for {wildcards.behavior} (shard {wildcards.shard} of {params.settings[shards]})"
    script:
        "../scripts/steering/sweep.py"


rule best_block:
    """Join the sweep's shards; choose the block whose mean slope on the dev items is highest."""
    input:
        shards=expand(
            f"{RESULTS}/steering/shards/{{behavior}}.{{contrast}}.dev.{{shard}}-of-{SWEEP_SHARDS}.parquet",
            shard=range(SWEEP_SHARDS),
            allow_missing=True,
        ),
        code=code_of("steering/best_block"),
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
        settings=dict(
            layer=STEERING["layer"],
        ),
    message:
        "Choosing the block for {wildcards.behavior} ({wildcards.contrast})"
    script:
        "../scripts/steering/best_block.py"
