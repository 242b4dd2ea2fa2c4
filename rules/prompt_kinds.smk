# The first contrast of the list leads: its items, its vector's norm and its block.


rule prompt_kinds_prompts:
    """Serialize train and test items as prompts of several kinds."""
    input:
        train=f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.train.jsonl",
        test=f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
        about=f"{RESULTS}/prompts/{{behavior}}.about.json",
        template=theirs(TEMPLATE),
        model=f"{MODEL}/manifest.json",
    output:
        prompts=f"{RESULTS}/prompts/{{behavior}}.prompt_kinds.jsonl",
    log:
        f"{LOGS}/prompt_kinds_prompts/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/prompt_kinds_prompts/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=dict(
            **keys_of(STEERING["prompts"], "letters system"),
            template=content(TEMPLATE),
            date=config["model"]["date"],
            seed=config["seed"],
            **keys_of(STEERING["prompt_kinds"], "kinds train prompts"),
        ),
        code=code_of("steering/prompt_kinds_prompts"),
        beside=ours(template=TEMPLATE),
        how=lambda wildcards: SimpleNamespace(
            about=file_of(config["behaviors"][wildcards.behavior].get("about", ""))
        ),
    message:
        "Serializing the prompts of {wildcards.behavior} of every kind"
    script:
        "../scripts/steering/prompt_kinds_prompts.py"


rule prompt_kinds:
    """Train a vector under prompts of each kind, and use each under all kinds."""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.prompt_kinds.jsonl",
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=ENGINE,
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.prompt_kinds.parquet",
    log:
        f"{LOGS}/prompt_kinds/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/prompt_kinds/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=dict(
            run=RUN_MODEL,
            positions=STEERING["positions"],
            estimator=STEERING["estimator"],
            **keys_of(STEERING["prompt_kinds"], "multipliers norm"),
        ),
        code=code_of("steering/prompt_kinds") | ESTIMATOR_CODE,
    message:
        "Using vectors of {wildcards.behavior} under prompts of every kind"
    script:
        "../scripts/steering/prompt_kinds.py"
