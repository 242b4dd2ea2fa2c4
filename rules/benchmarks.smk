"""Benchmarks of the steered model: multiple choice with any number of choices."""


rule benchmark_prompts:
    """Serialize a benchmark's questions, for every way that it is asked in."""
    input:
        raw=lambda wildcards: [
            path
            for source in files_of(wildcards.benchmark).values()
            if (path := theirs(source))
        ],
        template=theirs(TEMPLATE),
        model=f"{MODEL}/manifest.json",
    output:
        prompts=f"{RESULTS}/prompts/benchmarks.{{benchmark}}.jsonl",
    log:
        f"{LOGS}/benchmark_prompts/{{benchmark}}.log",
    benchmark:
        f"{BENCHMARKS}/benchmark_prompts/{{benchmark}}.tsv"
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(30),
    params:
        settings=lambda wildcards: dict(
            benchmark=wildcards.benchmark,
            categories=list(files_of(wildcards.benchmark)),
            **keys_of(SETS[wildcards.benchmark], "form contrasts questions bad_items"),
            system=STEERING["prompts"]["system"],
            template=content(TEMPLATE),
            date=config["model"]["date"],
            seed=config["seed"],
            data=[
                content(source) for source in files_of(wildcards.benchmark).values()
            ],
        ),
        code=code_of("steering/benchmark_prompts"),
        # all of a set's files, the workflow's own among them
        beside=lambda wildcards: SimpleNamespace(
            raw=[file_of(source) for source in files_of(wildcards.benchmark).values()],
            **vars(ours(template=TEMPLATE)),
        ),
    message:
        "Serializing the questions of {wildcards.benchmark}"
    script:
        "../scripts/steering/benchmark_prompts.py"


rule benchmarks:
    """Log-probabilities of a benchmark's choices, at the chosen block."""
    input:
        prompts=rules.benchmark_prompts.output.prompts,
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=ENGINE,
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.{{benchmark}}.benchmark.parquet",
    log:
        f"{LOGS}/benchmarks/{{behavior}}.{{benchmark}}.log",
    benchmark:
        f"{BENCHMARKS}/benchmarks/{{behavior}}.{{benchmark}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=GPUS,
        mem_mb=scaled(3000),
        runtime=scaled(240),
    params:
        settings=dict(
            run=RUN_MODEL,
            positions=STEERING["positions"],
            **keys_of(STEERING["benchmarks"], "multipliers random"),
        ),
        code=code_of("steering/benchmarks"),
    message:
        "Asking {wildcards.benchmark}, steered for {wildcards.behavior}"
    script:
        "../scripts/steering/benchmarks.py"
