rule vectors:
    """Vectors of all blocks by every estimator, and random directions of the same norm."""
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
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        random_directions=max(
            STEERING[part]["random"]["directions"]
            for part in ("sweep", "dose_response", "fixed_completions", "cost")
        ),
        seed=config["seed"],
    message:
        "Computing the vectors of {wildcards.behavior} ({wildcards.contrast})"
    script:
        "../scripts/vectors.py"


rule steering_vectors:
    """The vector that steers: the chosen estimator's, normalised, in the multiplier's unit."""
    input:
        vectors=f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors",
        all=expand(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors",
            behavior=BEHAVIORS if STEERING["normalise"] else [],
            allow_missing=True,
        ),
        activations=(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors"
            if STEERING["multiplier_unit"] == "residual"
            else []
        ),
        code=code_of("steering_vectors"),
    output:
        vectors=f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors",
    log:
        f"{LOGS}/steering_vectors/{{behavior}}.{{contrast}}.log",
    benchmark:
        f"{BENCHMARKS}/steering_vectors/{{behavior}}.{{contrast}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        estimator=STEERING["estimator"],
        normalise=STEERING["normalise"],
        multiplier_unit=STEERING["multiplier_unit"],
    message:
        "Scaling the vector of {wildcards.behavior} ({wildcards.contrast}) that steers"
    script:
        "../scripts/steering_vectors.py"


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
        MODEL_ENV
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
