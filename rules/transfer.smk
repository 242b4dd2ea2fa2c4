# What a vector depends on: the estimator, and the block that it comes from.


rule estimators:
    """Score the test items with every estimator's vector at the chosen block."""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=f"{MODEL}/manifest.json",
        code=code_of("estimators"),
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.estimators.parquet",
    log:
        f"{LOGS}/estimators/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/estimators/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(60),
    params:
        **RUN_MODEL,
        positions=STEERING["positions"],
        prompts=STEERING["compare_estimators"]["prompts"],
        multipliers=STEERING["compare_estimators"]["multipliers"],
    message:
        "Steering {wildcards.behavior} with every estimator's vector"
    script:
        "../scripts/estimators.py"


rule estimators_table:
    """How the estimators' vectors point, and how they steer."""
    input:
        scores=expand(
            f"{RESULTS}/steering/{{behavior}}.estimators.parquet",
            behavior=behaviors_of("compare_estimators"),
        ),
        vectors=expand(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors",
            behavior=behaviors_of("compare_estimators"),
            contrast=CONTRASTS,
        ),
        code=code_of("estimators_table"),
    output:
        table=f"{RESULTS}/tables/estimators.csv",
        cosines=f"{RESULTS}/tables/estimators_cosine.csv",
    log:
        f"{LOGS}/estimators_table.log",
    benchmark:
        f"{BENCHMARKS}/estimators_table.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=behaviors_of("compare_estimators"),
        contrasts=CONTRASTS,
        seed=config["seed"],
    message:
        "Comparing the estimators"
    script:
        "../scripts/estimators_table.py"


rule transfer:
    """Score the test items with one block's vector added at other blocks."""
    input:
        # the first contrast of the list leads: its vector and block are used
        prompts=f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=f"{MODEL}/manifest.json",
        code=code_of("transfer"),
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.transfer.parquet",
    log:
        f"{LOGS}/transfer/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/transfer/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **{
            key: STEERING["transfer"][key]
            for key in ("layers", "prompts", "multipliers", "norm")
        },
        **RUN_MODEL,
        positions=STEERING["positions"],
    message:
        "Adding the vectors of {wildcards.behavior} at other blocks"
    script:
        "../scripts/transfer.py"


rule transfer_table:
    """Steerability slope by the block that a vector comes from and the block it is added at."""
    input:
        scores=expand(
            f"{RESULTS}/steering/{{behavior}}.transfer.parquet",
            behavior=behaviors_of("transfer"),
        ),
        blocks=expand(
            f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
            behavior=behaviors_of("transfer"),
        ),
        code=code_of("transfer_table"),
    output:
        table=f"{RESULTS}/tables/transfer.csv",
    log:
        f"{LOGS}/transfer_table.log",
    benchmark:
        f"{BENCHMARKS}/transfer_table.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        seed=config["seed"],
    message:
        "Summarising transfer between blocks"
    script:
        "../scripts/transfer_table.py"
