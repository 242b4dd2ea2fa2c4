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
    params:
        contrasts=CONTRASTS,
        positions=STEERING["positions"],
        system=STEERING["prompts"]["system"],
        seed=config["seed"],
        # the two files are inputs
        **{
            key: value
            for key, value in plain_part("cost").items()
            if key not in ("neutral", "knowledge")
        },
        **RUN_MODEL,
    log:
        f"{LOGS}/cost/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/cost/{{behavior}}.tsv"
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    conda:
        "../envs/model.yaml"
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
    params:
        behaviors=behaviors_of("cost"),
        seed=config["seed"],
        **config["statistics"],
    log:
        f"{LOGS}/cost_table.log",
    benchmark:
        f"{BENCHMARKS}/cost_table.tsv"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    conda:
        "../envs/figures.yaml"
    message:
        "Summarising the cost of steering"
    script:
        "../scripts/cost_table.py"
