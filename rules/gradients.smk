rule gradients:
    """Read how far every dev and test item's score moves, to first order, with any vector."""
    input:
        dev=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.dev.jsonl"),
        test=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.test.jsonl"),
        model=ENGINE,
    output:
        gradients=of_contrasts(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.gradients.safetensors"
        ),
    log:
        f"{LOGS}/gradients/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/gradients/{{behavior}}.tsv"
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
            contrasts=CONTRASTS,
            positions=STEERING["positions"],
        ),
        code=code_of("steering/gradients"),
    message:
        "Reading the gradients of {wildcards.behavior}"
    script:
        "../scripts/steering/gradients.py"
