SHARD = f"{RESULTS}/steering/shards/{{behavior}}.{{contrast}}.dev.{{shard}}-of-{{shards}}.parquet"
# into how many shards the work is split is no setting: no result depends on it
SWEEP = dict(
    run=RUN_MODEL,
    positions=STEERING["positions"],
    **keys_of(STEERING["sweep"], "layers multipliers"),
)
# what says what a control would do at every block, where one is to be chosen
CHANCE = dict(
    gradients=of_contrasts(
        f"{RESULTS}/steering/{{behavior}}.{{contrast}}.gradients.safetensors"
    ),
    activations=of_contrasts(
        f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors"
    ),
)


rule sweep:
    """Score the dev items under steering at one shard of the chosen blocks: which works best?"""
    input:
        prompts=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.dev.jsonl"),
        vectors=of_contrasts(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors"
        ),
        model=ENGINE,
    output:
        scores=expand(
            SHARD,
            contrast=CONTRASTS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/sweep/{{behavior}}.{{shard}}-of-{{shards}}.log",
    benchmark:
        f"{BENCHMARKS}/sweep/{{behavior}}.{{shard}}-of-{{shards}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        settings=SWEEP,
        code=code_of("steering/sweep"),
    message:
        "Sweeping blocks and multipliers for {wildcards.behavior} (shard {wildcards.shard} of {wildcards.shards})"
    script:
        "../scripts/steering/sweep.py"


rule best_block:
    """Join the sweep's shards; choose the block of each contrast whose slope on dev stands out most.

    Of a behaviour without dev items nothing is swept: its blocks are given.
    """
    input:
        **(CHANCE if STEERING["layer"] == "auto" else {}),
        shards=lambda wildcards: (
            [] if wildcards.behavior in WITHOUT_DEV else shards_alike(wildcards)
        ),
        vectors=of_contrasts(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors"
        ),
    output:
        scores=of_contrasts(f"{RESULTS}/steering/{{behavior}}.{{contrast}}.dev.parquet"),
        block=of_contrasts(f"{RESULTS}/steering/{{behavior}}.{{contrast}}.block.json"),
    log:
        f"{LOGS}/best_block/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/best_block/{{behavior}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(5),
    params:
        settings=dict(
            contrasts=CONTRASTS,
            layer=STEERING["layer"],
            seed=config["seed"],
        ),
        code=code_of("steering/best_block"),
    message:
        "Choosing the blocks for {wildcards.behavior}"
    script:
        "../scripts/steering/best_block.py"
