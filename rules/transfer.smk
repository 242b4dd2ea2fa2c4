rule transfer:
    """Score the test items with one block's vector added at other blocks."""
    input:
        # the first contrast of the list leads: its vector and block are used
        prompts=f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        gradients=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.gradients.safetensors",
        model=ENGINE,
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
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        settings=dict(
            run=RUN_MODEL,
            positions=STEERING["positions"],
            **plain_part("transfer"),
        ),
        code=code_of("steering/transfer"),
    message:
        "Adding the vectors of {wildcards.behavior} at other blocks"
    script:
        "../scripts/steering/transfer.py"
