rule dose_response:
    """Score the test items at the chosen block under many multipliers; join them to dev's."""
    input:
        prompts=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.test.jsonl"),
        vectors=of_contrasts(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors"
        ),
        blocks=of_contrasts(f"{RESULTS}/steering/{{behavior}}.{{contrast}}.block.json"),
        dev=of_contrasts(f"{RESULTS}/steering/{{behavior}}.{{contrast}}.dev.parquet"),
        model=ENGINE,
    output:
        scores=of_contrasts(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.sweep.parquet"
        ),
    log:
        f"{LOGS}/dose_response/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/dose_response/{{behavior}}.tsv"
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
            **STEERING["dose_response"],
        ),
        code=code_of("steering/dose_response"),
    message:
        "Measuring the dose response of {wildcards.behavior}"
    script:
        "../scripts/steering/dose_response.py"
