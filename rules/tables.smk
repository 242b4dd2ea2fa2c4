"""Summaries: a rule for every row of report/tables.yaml."""

for _name, _row in TABLES.items():
    if "make" not in _row:
        continue
    _files = templates_of(_row)

    rule:
        name:
            _name
        input:
            **{
                key: paths_of(path, names_of(_row))
                for key, path in _files.items()
                if "{" in path
            },
            **{
                key: path
                for key, path in _files.items()
                if "{" not in path and not is_ours(path)
            },
        output:
            **{table: f"{RESULTS}/tables/{table}.csv" for table in _row["tables"]},
            **{page: f"{RESULTS}/tables/{page}" for page in _row.get("pages", [])},
        log:
            f"{LOGS}/{_name}.log",
        benchmark:
            f"{BENCHMARKS}/{_name}.tsv"
        conda:
            MODEL_ENV if _row.get("env") == "model" else "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=scaled(_row.get("mem_mb", 1000)),
            runtime=scaled(10),
        params:
            settings=dict(
                make=_row["make"],
                finish=_row.get("finish", ""),
                labels=labels_of(_row),
                names={
                    key: [
                        list(one.values())
                        for one in combinations(path, names_of(_row))
                    ]
                    for key, path in _files.items()
                },
                parts=_row.get("parts", []),
                settings=settings_of(_row, config),
                data=said_by(
                    *(
                        Path(path).relative_to(WORKFLOW).as_posix()
                        for path in _files.values()
                        if is_ours(path)
                    )
                ),
            ),
            code=code_of("table", _row["make"]),
            made=made_by(_files),
            beside=ours(**_files),
        message:
            _row["message"]
        script:
            "../scripts/table.py"


# of several measures, figures and the paper's tables show the first
rule latex_tables:
    """The headline tables as LaTeX, estimates with their intervals."""
    input:
        tables=expand(f"{RESULTS}/tables/{{name}}.csv", name=HEADLINES),
    output:
        tables=expand(f"{RESULTS}/tables/{{name}}.tex", name=HEADLINES),
    log:
        f"{LOGS}/latex_tables.log",
    benchmark:
        f"{BENCHMARKS}/latex_tables.tsv"
    conda:
        "../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=scaled(500),
        runtime=scaled(5),
    params:
        settings=dict(headlines=HEADLINES),
        code=code_of("latex_tables"),
    message:
        "Writing the headline tables as LaTeX"
    script:
        "../scripts/latex_tables.py"
