# what the rule is told beside its two data files, which are inputs
COST_KEYS = ["texts", "questions", "multipliers", "random"]


rule cost:
    """Perplexity of neutral text and accuracy on knowledge questions at the chosen block."""
    input:
        neutral=STEERING["cost"]["neutral"],
        knowledge=STEERING["cost"]["knowledge"],
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=f"{MODEL}/manifest.json",
        code=code_of("cost"),
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
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **{key: STEERING["cost"][key] for key in COST_KEYS},
        **RUN_MODEL,
        contrasts=CONTRASTS,
        positions=STEERING["positions"],
        system=STEERING["prompts"]["system"],
        seed=config["seed"],
    message:
        "Measuring what steering for {wildcards.behavior} costs"
    script:
        "../scripts/cost.py"


rule cost_table:
    """Perplexity and accuracy by multiplier, with intervals and the factor or difference."""
    input:
        scores=expand(
            f"{RESULTS}/steering/{{behavior}}.cost.parquet",
            behavior=behaviors_of("cost"),
        ),
        code=code_of("cost_table"),
    output:
        table=f"{RESULTS}/tables/cost.csv",
    log:
        f"{LOGS}/cost_table.log",
    benchmark:
        f"{BENCHMARKS}/cost_table.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=behaviors_of("cost"),
        seed=config["seed"],
    message:
        "Summarising the cost of steering"
    script:
        "../scripts/cost_table.py"
