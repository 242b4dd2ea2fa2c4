"""Summaries: a rule for every row of report/tables.yaml."""

TABLES = rows_of(REPORT / "tables.yaml")


def templates_of(row):
    """The files of a row's inputs, as templates of whole paths."""
    places = {"data": f"{WORKFLOW}/", "{model}": ""}
    return {
        key: places.get(template.split("/")[0], f"{RESULTS}/")
        + template.replace("{model}", f"{MODEL}/manifest.json")
        for key, template in row["from"].items()
    }


def names_of(row):
    """What a row's wildcards stand for."""
    behaviors = behaviors_of(row["section"]) if "section" in row else BEHAVIORS
    return {"behavior": behaviors, "contrast": CONTRASTS, "lead": CONTRASTS[:1]}


def labels_of(row):
    """Per call of a row's function, the columns that its tables get."""
    wildcards = "".join(f"{{{wildcard}}}" for wildcard in row.get("each", []))
    return [
        {"contrast" if key == "lead" else key: value for key, value in one.items()}
        for one in combinations(wildcards, names_of(row))
        if one
    ]


def is_asked_for(row):
    """Does the study have the part that a row is for?"""
    return "section" not in row or bool(behaviors_of(row["section"]))


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
            **{key: path for key, path in _files.items() if "{" not in path},
            code=code_of("table", _row["make"]),
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
            ),
        message:
            _row["message"]
        script:
            "../scripts/table.py"


# of several measures, figures and the paper's tables show the first
MEASURE = STATISTICS["measures"][0]
MEASURED = measured_tables(TABLES)
HEADLINES = headlines(
    {name: row for name, row in TABLES.items() if is_asked_for(row)},
    {
        "measure": MEASURE,
        "title": MEASURES[MEASURE].title,
        "Title": MEASURES[MEASURE].title.capitalize(),
        "unit": MEASURES[MEASURE].unit,
    },
)


rule latex_tables:
    """The headline tables as LaTeX, estimates with their intervals."""
    input:
        tables=expand(f"{RESULTS}/tables/{{name}}.csv", name=HEADLINES),
        code=code_of("latex_tables"),
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
    message:
        "Writing the headline tables as LaTeX"
    script:
        "../scripts/latex_tables.py"
