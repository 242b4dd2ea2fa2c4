rule activations:
    """Read the residual stream after every block, mean over the tokens of each continuation."""
    input:
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.train.jsonl",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        model=ENGINE,
    output:
        activations=expand(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/activations/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/activations/{{behavior}}.tsv"
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
        ),
        code=code_of("steering/activations"),
    message:
        "Reading the activations of {wildcards.behavior}"
    script:
        "../scripts/steering/activations.py"
