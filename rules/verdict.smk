"""The verdict: what papers printed beside the study's own numbers."""

try:
    PAPER_FILES = papers_of(config["verdict"])
    _registry = read_registry()
    PAPERS = {
        name: read_paper(files["numbers"], files["about"], _registry)
        for name, files in PAPER_FILES.items()
    }
except UserError as error:
    raise WorkflowError(str(error))

# the study's tables that hold what was published, by name
_WANTED = tables_wanted(PAPERS.values())
_TABLES = {
    table: f"{RESULTS}/tables/{table}.csv"
    for row in TABLES.values()
    if is_asked_for(row) and row.get("study") != "verdict"
    for table in row["tables"]
    if table in _WANTED
}
_FILES = [path for files in PAPER_FILES.values() for path in files.values()]
_SOURCES = {key: place[name] for key, place, name in data_sources(config)}


rule verdict:
    """Say of every published number that the study computes whether ours agrees with it."""
    input:
        **_TABLES,
        own=[theirs(path) for path in _FILES if theirs(path)],
    output:
        verdict=f"{RESULTS}/tables/verdict.csv",
        verdict_counts=f"{RESULTS}/tables/verdict_counts.csv",
    log:
        f"{LOGS}/verdict.log",
    benchmark:
        f"{BENCHMARKS}/verdict.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(10),
    params:
        settings=dict(
            papers=list(PAPERS),
            tables=list(_TABLES),
            **named_model(config["model"]),
            values=values_of(config, protocol_keys(PAPERS.values())),
            digests={
                key: pinned(_SOURCES[key])
                for key in data_keys(PAPERS.values())
                if key in _SOURCES
            },
            interval=settings_of({"settings": {"interval": "statistics"}}, config)[
                "interval"
            ],
            data={
                f"{name}.{key}": content(path)
                for name, files in PAPER_FILES.items()
                for key, path in files.items()
            },
        ),
        code=code_of("verdict")
        | said_by("report/published.yaml", "report/published.schema.yaml"),
        made=made_by(_TABLES),
        beside=SimpleNamespace(
            registry=str(REPORT / "published.yaml"),
            numbers=[files["numbers"] for files in PAPER_FILES.values()],
            abouts=[files["about"] for files in PAPER_FILES.values()],
        ),
    message:
        "Holding published numbers against the study's"
    script:
        "../scripts/verdict.py"
