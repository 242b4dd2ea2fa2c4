rule convergence:
    """Cosine of vectors from few items with the vector from all, per block, over many draws."""
    input:
        activations=expand(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors",
            contrast=CONTRASTS,
            allow_missing=True,
        ),
        code=code_of("convergence"),
    output:
        draws=f"{RESULTS}/steering/{{behavior}}.convergence.parquet",
    log:
        f"{LOGS}/convergence/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/convergence/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **plain_part("convergence"),
        contrasts=CONTRASTS,
        seed=config["seed"],
    message:
        "Drawing subsets of the items of {wildcards.behavior}"
    script:
        "../scripts/convergence.py"


rule convergence_table:
    """Mean cosine by number of items, with the range of the draws."""
    input:
        draws=expand(
            f"{RESULTS}/steering/{{behavior}}.convergence.parquet",
            behavior=behaviors_of("convergence"),
        ),
        code=code_of("convergence_table"),
    output:
        table=f"{RESULTS}/tables/convergence.csv",
    log:
        f"{LOGS}/convergence_table.log",
    benchmark:
        f"{BENCHMARKS}/convergence_table.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        behaviors=behaviors_of("convergence"),
        confidence=config["statistics"]["confidence"],
    message:
        "Summarising the convergence of the vectors"
    script:
        "../scripts/convergence_table.py"


rule projection:
    """Project a few test items token by token on the vector at the chosen block."""
    input:
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{CONTRASTS[0]}.test.jsonl",
            behavior=behaviors_of("projection"),
        ),
        activations=expand(
            f"{RESULTS}/activations/{{behavior}}.{CONTRASTS[0]}.safetensors",
            behavior=behaviors_of("projection"),
        ),
        vectors=expand(
            f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
            behavior=behaviors_of("projection"),
        ),
        blocks=expand(
            f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
            behavior=behaviors_of("projection"),
        ),
        model=f"{MODEL}/manifest.json",
        code=code_of("projection"),
    output:
        table=f"{RESULTS}/tables/projection.csv",
    log:
        f"{LOGS}/projection.log",
    benchmark:
        f"{BENCHMARKS}/projection.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(30),
    params:
        **plain_part("projection"),
        **RUN_MODEL,
        behaviors=behaviors_of("projection"),
    message:
        "Projecting texts token by token"
    script:
        "../scripts/projection.py"
