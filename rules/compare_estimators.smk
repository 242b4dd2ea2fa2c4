# The rule, its file and its table are called estimators.


rule estimators:
    """Score the test items with every estimator's vector, at its own and at the chosen block."""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        gradients=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.gradients.safetensors",
        activations=f"{RESULTS}/activations/{{behavior}}.{CONTRASTS[0]}.safetensors",
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(60),
    params:
        settings=dict(
            run=RUN_MODEL,
            estimators=ESTIMATORS,
            layers=STEERING["sweep"]["layers"],
            positions=STEERING["positions"],
            **plain_part("compare_estimators"),
        ),
        code=code_of("steering/estimators"),
    message:
        "Steering {wildcards.behavior} with every estimator's vector"
    script:
        "../scripts/steering/estimators.py"
