rule prompts:
    """Serialize a behaviour's raw items: split, render, check the tokens, for every contrast."""
    input:
        **{
            name: lambda wildcards, name=name: theirs(
                items_of(wildcards.behavior).get(name, "")
            )
            for name in ("raw", *SPLITS)
        },
        **{
            name: lambda wildcards, name=name: theirs(
                config["behaviors"][wildcards.behavior].get(name, "")
            )
            for name in ("about", "open")
        },
        template=theirs(TEMPLATE),
        model=f"{MODEL}/manifest.json",
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
            **keys_of(STEERING["prompts"], "split letters balance system"),
            template=content(TEMPLATE),
            date=config["model"]["date"],
            bad_items=config["behaviors"][wildcards.behavior].get("bad_items", "stop"),
            seed=config["seed"],
            data={
                kind: content(path)
                for kind, path in {
                    **config["behaviors"][wildcards.behavior],
                    **config["behaviors"][wildcards.behavior].get("splits", {}),
                }.items()
                if kind not in ("bad_items", "splits", "rating")
            },
        ),
        code=code_of("steering/prompts"),
        beside=lambda wildcards: ours(
            template=TEMPLATE,
            **items_of(wildcards.behavior),
            **{
                kind: path
                for kind, path in config["behaviors"][wildcards.behavior].items()
                if kind in ("about", "open")
            },
        ),
    message:
        "Serializing the prompts of {wildcards.behavior}"
    script:
        "../scripts/steering/prompts.py"


rule prompts_csv:
    """A behaviour's prompt files as CSV, for a spreadsheet; nothing else reads them."""
    input:
        prompts=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.jsonl",
            contrast=CONTRASTS,
            split=SPLITS,
            allow_missing=True,
        ),
    output:
        csv=expand(
            f"{RESULTS}/prompts/{{behavior}}.{{contrast}}.{{split}}.csv",
            contrast=CONTRASTS,
            split=SPLITS,
            allow_missing=True,
        ),
    log:
        f"{LOGS}/prompts_csv/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/prompts_csv/{{behavior}}.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    params:
        settings={},
        code=code_of("steering/prompts_csv"),
    message:
        "Writing the prompts of {wildcards.behavior} as CSV"
    script:
        "../scripts/steering/prompts_csv.py"
