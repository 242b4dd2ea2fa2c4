"""Figures: a rule for every row of report/figures.yaml, from tables alone; no model and no torch."""

for _name, _row in FIGURE_ROWS.items():

    rule:
        name:
            f"plot_{_name}"
        input:
            **{
                key: f"{RESULTS}/tables/{table}.csv"
                for key, table in _row["tables"].items()
            },
        output:
            **figure_files(_name, _row),
        log:
            f"{LOGS}/figures/{_name}"
            + (".{contrast}" if "each" in _row else "")
            + ".log",
        benchmark:
            f"{BENCHMARKS}/plot_{_name}/"
            + ("{contrast}" if "each" in _row else "all")
            + ".tsv"
        conda:
            "../envs/figures.yaml"
        threads: 1
        resources:
            mem_mb=scaled(1000),
            # panels of a hundred behaviours are many pages
            runtime=scaled(60 if config["figures"]["panels"] else 5),
        params:
            settings=dict(
                draw=f"plots.{_row['draw']}",
                many=f"plots.{_row['many']}" if "many" in _row else None,
                cut="panels" in _row,
                panels=config["figures"]["panels"] if "panels" in _row else False,
                tables=list(_row["tables"]),
                measured=[
                    key for key, table in _row["tables"].items() if table in MEASURED
                ],
                measure=MEASURE,
                blocks=config["figures"]["layers"] if _row.get("blocks") else None,
            ),
            # and the look of all figures
            code=code_of("figure", f"plots.{_row['draw']}")
            | (code_of("figure", f"plots.{_row['many']}") if "many" in _row else {})
            | said_by("scripts/steerpaper/plots/paper.mplstyle"),
        message:
            _row["message"]
        script:
            "../scripts/figure.py"
