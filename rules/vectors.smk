# every file of the folder is an estimator
ESTIMATOR_CODE = {
    f"steerpaper/steering/estimators/{name}.py": code_digest(
        SCRIPTS / "steerpaper" / "steering" / "estimators" / f"{name}.py"
    )
    for name in ESTIMATORS
}
# controls are drawn one by one from the seed and their number: a few more than a study asks for,
# so that another number of controls makes the vectors, and all that follows, not anew
CONTROLS = 20


rule vectors:
    """Vectors of all blocks by every estimator, and controls of the same norm."""
    input:
        activations=of_contrasts(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors"
        ),
    output:
        vectors=of_contrasts(f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors"),
    log:
        f"{LOGS}/vectors/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/vectors/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=dict(
            controls=CONTROLS
            * max(
                -(-section[kind]["directions"] // CONTROLS)
                for section in STEERING.values()
                if isinstance(section, dict)
                for kind in KINDS
                if kind in section
            ),
            seed=config["seed"],
        ),
        code=code_of("steering/vectors") | ESTIMATOR_CODE,
    message:
        "Computing the vectors of {wildcards.behavior}"
    script:
        "../scripts/steering/vectors.py"


rule steering_vectors:
    """The vectors that steer: the chosen estimator's, normalized, in the multiplier's unit."""
    input:
        vectors=of_contrasts(f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors"),
        all=expand(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.safetensors",
            behavior=BEHAVIORS if STEERING["normalize"] else [],
            contrast=CONTRASTS,
        ),
        activations=of_contrasts(
            f"{RESULTS}/activations/{{behavior}}.{{contrast}}.safetensors"
        ),
    output:
        vectors=of_contrasts(
            f"{RESULTS}/vectors/{{behavior}}.{{contrast}}.steering.safetensors"
        ),
    log:
        f"{LOGS}/steering_vectors/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/steering_vectors/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=dict(
            estimator=STEERING["estimator"],
            normalize=STEERING["normalize"],
            multiplier_unit=STEERING["multiplier_unit"],
        ),
        code=code_of("steering/steering_vectors"),
    message:
        "Scaling the vectors of {wildcards.behavior} that steer"
    script:
        "../scripts/steering/steering_vectors.py"
