rule completions:
    """Sample answers to open questions at the chosen block, greedily and by seeded draws."""
    input:
        prompts=f"{RESULTS}/prompts/{{behavior}}.open.jsonl",
        # the first contrast of the list leads: its vector and block are used
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=f"{MODEL}/manifest.json",
        code=code_of("completions"),
    output:
        samples=f"{RESULTS}/steering/{{behavior}}.samples.parquet",
    params:
        positions=STEERING["positions"],
        seed=config["seed"],
        **STEERING["completions"],
        **RUN_MODEL,
    log:
        f"{LOGS}/completions/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/completions/{{behavior}}.tsv"
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    conda:
        "../envs/model.yaml"
    message:
        "Sampling steered completions for {wildcards.behavior}"
    script:
        "../scripts/completions.py"


rule completions_table:
    """The sampled completions of all behaviours side by side, for a person to read."""
    input:
        samples=expand(f"{RESULTS}/steering/{{behavior}}.samples.parquet", behavior=BEHAVIORS),
        prompts=expand(f"{RESULTS}/prompts/{{behavior}}.open.jsonl", behavior=BEHAVIORS),
        code=code_of("completions_table"),
    output:
        csv=f"{RESULTS}/tables/completions.csv",
        markdown=f"{RESULTS}/tables/completions.md",
    params:
        behaviors=BEHAVIORS,
    log:
        f"{LOGS}/completions_table.log",
    benchmark:
        f"{BENCHMARKS}/completions_table.tsv"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    conda:
        "../envs/figures.yaml"
    message:
        "Writing the table of completions"
    script:
        "../scripts/completions_table.py"
