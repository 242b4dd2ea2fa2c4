rule activations:
    """Read the residual stream after every block, mean over the tokens of each continuation."""
    input:
        prompts=of_contrasts(f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.train.jsonl"),
        model=ENGINE,
    output:
        activations=of_contrasts(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors"
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
