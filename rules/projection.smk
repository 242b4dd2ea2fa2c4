rule projection:
    """Project a few test items token by token on the vector at the chosen block."""
    input:
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
            behavior=behaviors_of("projection"),
        ),
        activations=expand(
            f"{RESULTS}/activations/{{behavior}}.{CONTRASTS[0]}.safetensors",
            behavior=behaviors_of("projection"),
        ),
        vectors=expand(
            f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
            behavior=behaviors_of("projection"),
        ),
        blocks=expand(
            f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
            behavior=behaviors_of("projection"),
        ),
        model=ENGINE,
    output:
        table=f"{RESULTS}/tables/projection.csv",
    log:
        f"{LOGS}/projection.log",
    benchmark:
        f"{BENCHMARKS}/projection.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(30),
    params:
        settings=dict(
            run=RUN_MODEL,
            behaviors=behaviors_of("projection"),
            **plain_part("projection"),
        ),
        code=code_of("steering/projection"),
    message:
        "Projecting texts token by token"
    script:
        "../scripts/steering/projection.py"
