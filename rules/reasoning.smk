# The first contrast of the list leads: its vector, its block and its way of asking.


rule reasoning:
    """Sample reasoning, steered or not, then score both answers: which part must be steered?"""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.reasoning.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=ENGINE,
    output:
        chains=f"{RESULTS}/steering/{{behavior}}.cot.parquet",
    log:
        f"{LOGS}/reasoning/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/reasoning/{{behavior}}.tsv"
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
            seed=config["seed"],
            **plain_part("reasoning"),
        ),
        code=code_of("steering/reasoning"),
    message:
        "Reasoning before the answer: {wildcards.behavior}"
    script:
        "../scripts/steering/reasoning.py"
