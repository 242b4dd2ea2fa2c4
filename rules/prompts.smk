rule prompts:
    """Serialize a behaviour's raw items: split, render, check the tokens, for every contrast."""
    input:
        raw=lambda wildcards: config["behaviors"][wildcards.behavior]["items"],
        about=lambda wildcards: config["behaviors"][wildcards.behavior].get("about", []),
        model=f"{MODEL}/manifest.json",
        code=code_of("steering/prompts"),
    output:
        **{
            name: f"{RESULTS}/prompts/{{behavior}}.{name}.jsonl"
            for name in ("open", "reasoning", "system_prompts")
        },
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.jsonl",
            contrast=CONTRASTS,
            split=SPLITS,
            allow_missing=True,
        ),
        about=f"{RESULTS}/prompts/{{behavior}}.about.json",
        csv=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.csv",
            contrast=CONTRASTS if STEERING["prompts"]["csv"] else [],
            split=SPLITS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/prompts/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/prompts/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        settings=lambda wildcards: dict(
            contrasts=CONTRASTS,
            split=STEERING["prompts"]["split"],
            system=STEERING["prompts"]["system"],
            date=config["model"]["date"],
            bad_items=config["behaviors"][wildcards.behavior].get("bad_items", "stop"),
            seed=config["seed"],
        ),
    message:
        "Serializing the prompts of {wildcards.behavior}"
    script:
        "../scripts/steering/prompts.py"
