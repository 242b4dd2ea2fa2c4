"""Raw data that is fetched: each source once, for every study that names it."""

import re

FETCHED = to_fetch(config)


rule data:
    """Fetch a file of raw data from its address, repository or data set, as it was pinned."""
    output:
        file="results/data/{source}/{file}",
        manifest="results/data/{source}/{file}.manifest.json",
    log:
        f"{LOGS}/data/{{source}}.{{file}}.log",
    benchmark:
        f"{BENCHMARKS}/data/{{source}}.{{file}}.tsv"
    wildcard_constraints:
        source="[0-9a-f]{16}",
        file="|".join({re.escape(Path(path).name) for path in FETCHED}) or "(?!)",
    conda:
        MODEL_ENV
    threads: 1
    resources:
        mem_mb=scaled(1000),
        runtime=scaled(60),
    params:
        settings=lambda wildcards: dict(
            zip(
                ("key", "source"),
                FETCHED.get(f"results/data/{wildcards.source}/{wildcards.file}", ()),
            )
        ),
        code=code_of("data"),
    message:
        "Fetching {wildcards.file}"
    script:
        "../scripts/data.py"
