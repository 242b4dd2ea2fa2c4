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
    log:
        f"{LOGS}/completions/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/completions/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **STEERING["completions"],
        **RUN_MODEL,
        positions=STEERING["positions"],
        seed=config["seed"],
    message:
        "Sampling steered completions for {wildcards.behavior}"
    script:
        "../scripts/completions.py"


rule completions_table:
    """The sampled completions of all behaviours side by side, for a person to read."""
    input:
        samples=expand(
            f"{RESULTS}/steering/{{behavior}}.samples.parquet", behavior=BEHAVIORS
        ),
        prompts=expand(f"{RESULTS}/prompts/{{behavior}}.open.jsonl", behavior=BEHAVIORS),
        code=code_of("completions_table"),
    output:
        csv=f"{RESULTS}/tables/completions.csv",
        markdown=f"{RESULTS}/tables/completions.md",
    log:
        f"{LOGS}/completions_table.log",
    benchmark:
        f"{BENCHMARKS}/completions_table.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    params:
        behaviors=BEHAVIORS,
    message:
        "Writing the table of completions"
    script:
        "../scripts/completions_table.py"


rule completion_labels:
    """Shares of the sampled completions on either side, by the behaviours' markers."""
    input:
        samples=expand(
            f"{RESULTS}/steering/{{behavior}}.samples.parquet", behavior=BEHAVIORS
        ),
        abouts=[
            config["behaviors"][behavior]["about"]
            for behavior in BEHAVIORS
            if "about" in config["behaviors"][behavior]
        ],
        code=code_of("completion_labels"),
    output:
        table=f"{RESULTS}/tables/completion_labels.csv",
    log:
        f"{LOGS}/completion_labels.log",
    benchmark:
        f"{BENCHMARKS}/completion_labels.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    params:
        **config["statistics"],
        behaviors=BEHAVIORS,
        described=[name for name in BEHAVIORS if "about" in config["behaviors"][name]],
        seed=config["seed"],
    message:
        "Labelling the sampled completions"
    script:
        "../scripts/completion_labels.py"
