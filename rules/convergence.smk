rule convergence:
    """Cosine of vectors from few items with the vector from all, per block, over many draws."""
    input:
        activations=of_contrasts(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors"
        ),
        prompts=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.train.jsonl"),
    output:
        draws=f"{RESULTS}/steering/{{behavior}}.convergence.parquet",
    log:
        f"{LOGS}/convergence/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/convergence/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=dict(
            contrasts=CONTRASTS,
            seed=config["seed"],
            **plain_part("convergence"),
        ),
        code=code_of("steering/convergence"),
    message:
        "Drawing subsets of the items of {wildcards.behavior}"
    script:
        "../scripts/steering/convergence.py"
