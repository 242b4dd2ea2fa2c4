# Chain of thought and system prompts, under steering at the chosen block.
# The first contrast of the list leads: its vector, its block and its way of asking.


rule reasoning:
    """Sample reasoning, steered or not, then score both answers: which part must be steered?"""
    input:
        raw=lambda wildcards: config["behaviors"][wildcards.behavior]["items"],
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=f"{MODEL}/manifest.json",
        code=code_of("reasoning"),
    output:
        chains=f"{RESULTS}/steering/{{behavior}}.cot.parquet",
    log:
        f"{LOGS}/reasoning/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/reasoning/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **plain_part("reasoning"),
        **RUN_MODEL,
        contrast=CONTRASTS[0],
        split=STEERING["prompts"]["split"],
        system=STEERING["prompts"]["system"],
        seed=config["seed"],
    message:
        "Reasoning before the answer: {wildcards.behavior}"
    script:
        "../scripts/reasoning.py"


rule reasoning_table:
    """Mean score after a chain of thought by steered part, intervals clustered by prompt."""
    input:
        chains=expand(
            f"{RESULTS}/steering/{{behavior}}.cot.parquet",
            behavior=behaviors_of("reasoning"),
        ),
        code=code_of("reasoning_table"),
    output:
        table=f"{RESULTS}/tables/reasoning.csv",
    log:
        f"{LOGS}/reasoning_table.log",
    benchmark:
        f"{BENCHMARKS}/reasoning_table.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=behaviors_of("reasoning"),
        seed=config["seed"],
    message:
        "Summarising the chains of thought"
    script:
        "../scripts/reasoning_table.py"


rule system_prompts:
    """Score the test items without, with a supporting and with an opposing system prompt."""
    input:
        raw=lambda wildcards: config["behaviors"][wildcards.behavior]["items"],
        about=lambda wildcards: config["behaviors"][wildcards.behavior].get("about", []),
        vectors=f"{RESULTS}/vectors/{{behavior}}.{CONTRASTS[0]}.steering.safetensors",
        block=f"{RESULTS}/steering/{{behavior}}.{CONTRASTS[0]}.block.json",
        model=f"{MODEL}/manifest.json",
        code=code_of("system_prompts"),
    output:
        scores=f"{RESULTS}/steering/{{behavior}}.system_prompts.parquet",
    log:
        f"{LOGS}/system_prompts/{{behavior}}.log",
    benchmark:
        f"{BENCHMARKS}/system_prompts/{{behavior}}.tsv"
    conda:
        MODEL_ENV
    threads: config["threads"]
    resources:
        gpu=1,
        mem_mb=scaled(3000),
        runtime=scaled(120),
    params:
        **plain_part("system_prompts"),
        **RUN_MODEL,
        contrast=CONTRASTS[0],
        positions=STEERING["positions"],
        split=STEERING["prompts"]["split"],
        seed=config["seed"],
    message:
        "Scoring {wildcards.behavior} under system prompts"
    script:
        "../scripts/system_prompts.py"


rule system_prompts_table:
    """Mean score by system prompt and multiplier, with intervals; what could not be had as n = 0."""
    input:
        scores=expand(
            f"{RESULTS}/steering/{{behavior}}.system_prompts.parquet",
            behavior=behaviors_of("system_prompts"),
        ),
        code=code_of("system_prompts_table"),
    output:
        table=f"{RESULTS}/tables/system_prompts.csv",
    log:
        f"{LOGS}/system_prompts_table.log",
    benchmark:
        f"{BENCHMARKS}/system_prompts_table.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(10),
    params:
        **config["statistics"],
        behaviors=behaviors_of("system_prompts"),
        seed=config["seed"],
    message:
        "Summarising the system prompts"
    script:
        "../scripts/system_prompts_table.py"
