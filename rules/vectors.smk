rule vectors:
    """Steering vectors of all blocks: the mean difference, and random directions of its norm."""
    input:
        activations=f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors",
        code=code_of("vectors"),
    output:
        vectors=f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors",
    log:
        f"{LOGS}/vectors/{{behavior}}.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/vectors/{{behavior}}.{{contrast}}.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        random_directions=max(
            STEERING[part]["random"]["directions"]
            for part in ("sweep", "dose_response")
        ),
        seed=config["seed"],
    message:
        "Computing the vectors of {wildcards.behavior} ({wildcards.contrast})"
    script:
        "../scripts/vectors.py"


rule geometry:
    """What the vectors look like: norms, cosine similarities, principal components, as tables."""
    input:
        activations=expand(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors",
            behavior=BEHAVIORS,
            contrast=CONTRASTS,
        ),
        vectors=expand(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors",
            behavior=BEHAVIORS,
            contrast=CONTRASTS,
        ),
        code=code_of("geometry"),
    output:
        norms=f"{RESULTS}/tables/norms.csv",
        cosine_blocks=f"{RESULTS}/tables/cosine_blocks.csv",
        cosine_behaviors=f"{RESULTS}/tables/cosine_behaviors.csv",
        pca=f"{RESULTS}/tables/pca.csv",
    log:
        f"{LOGS}/geometry.log",
    benchmark:
        f"{BENCHMARKS}/geometry.tsv"
    conda:
        "../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=BEHAVIORS,
        contrasts=CONTRASTS,
        layers=config["figures"]["layers"],
        seed=config["seed"],
    message:
        "Comparing the vectors of all behaviours"
    script:
        "../scripts/geometry.py"
