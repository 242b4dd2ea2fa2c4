# The first contrast of the list leads: its vector, its block and its way of asking.


rule system_prompts:
    """Score the test items without, with a supporting and with an opposing system prompt."""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.system_prompts.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=ENGINE,
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.system_prompts.parquet",
    log:
        f"{LOGS}/system_prompts/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/system_prompts/{{behavior}}.tsv"
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
            **plain_part("system_prompts"),
        ),
        code=code_of("steering/system_prompts"),
    message:
        "Scoring {wildcards.behavior} under system prompts"
    script:
        "../scripts/steering/system_prompts.py"
