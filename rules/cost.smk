rule cost_prompts:
    """Serialize the neutral texts and the knowledge questions, for every contrast."""
    input:
        neutral=theirs(STEERING["cost"]["neutral"]),
        knowledge=theirs(STEERING["cost"]["knowledge"]),
        template=theirs(TEMPLATE),
        model=f"{MODEL}/manifest.json",
    output:
        neutral=f"{RESULTS}/prompts/neutral.jsonl",
        knowledge=expand(
            f"{RESULTS}/prompts/knowledge.{{contrast}}.jsonl", contrast=CONTRASTS
        ),
    log:
        f"{LOGS}/cost_prompts.log",
    benchmark:
        f"{BENCHMARKS}/cost_prompts.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=dict(
            contrasts=CONTRASTS,
            system=STEERING["prompts"]["system"],
            template=content(TEMPLATE),
            date=config["model"]["date"],
            seed=config["seed"],
            data={
                kind: content(STEERING["cost"][kind])
                for kind in ("neutral", "knowledge")
            },
            **keys_of(STEERING["cost"], "texts questions"),
        ),
        code=code_of("steering/cost_prompts"),
        beside=ours(
            template=TEMPLATE,
            **keys_of(STEERING["cost"], "neutral knowledge"),
        ),
    message:
        "Serializing what the cost of steering is measured on"
    script:
        "../scripts/steering/cost_prompts.py"


rule cost:
    """Perplexity of neutral text and accuracy on knowledge questions at the chosen block."""
    input:
        neutral=rules.cost_prompts.output.neutral,
        knowledge=rules.cost_prompts.output.knowledge,
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=ENGINE,
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.cost.parquet",
    log:
        f"{LOGS}/cost/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/cost/{{behavior}}.tsv"
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
            **keys_of(STEERING["cost"], "multipliers random"),
        ),
        code=code_of("steering/cost"),
    message:
        "Measuring what steering for {wildcards.behavior} costs"
    script:
        "../scripts/steering/cost.py"
