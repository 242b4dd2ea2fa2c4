rule gradients:
    """Gradients of the dev and test items' scores: what any direction would do at any block."""
    input:
        **{
            split: expand(
                f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{split}.jsonl",
                contrast=CONTRASTS,
                allow_missing=True,
            )
            for split in ("dev", "test")
        },
        model=f"{MODEL}/manifest.json",
    output:
        gradients=expand(
            f"{RESULTS}/steering/{{behavior}}.{{contrast}}.gradients.safetensors",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/gradients/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/gradients/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(60),
    params:
        settings=dict(
            run=RUN_MODEL,
            positions=STEERING["positions"],
        ),
        code=code_of("steering/gradients"),
    message:
        "Differentiating the scores of {wildcards.behavior}"
    script:
        "../scripts/steering/gradients.py"
