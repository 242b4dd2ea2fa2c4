rule completions:
    """Sample answers to open questions at the chosen block, greedily and by seeded draws."""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.open.jsonl",
        # the first contrast of the list leads: its vector and block are used
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=ENGINE,
    output:
        samples=f"{RESULTS}/steering/{{behavior}}.samples.parquet",
    log:
        f"{LOGS}/completions/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/completions/{{behavior}}.tsv"
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
            seed=config["seed"],
            **STEERING["completions"],
        ),
        code=code_of("steering/completions"),
    message:
        "Sampling steered completions for {wildcards.behavior}"
    script:
        "../scripts/steering/completions.py"
