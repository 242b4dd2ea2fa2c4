"""Figures: a rule for every row of report/figures.yaml, from tables alone; no model and no torch."""

FIGURE_ROWS = rows_of(REPORT / "figures.yaml")
# the look of all figures
STYLE = str(SCRIPTS / "steerpaper" / "plots" / "paper.mplstyle")
FIGURE_KINDS = ["pdf", "png", "csv"]


def figure_files(name, row):
    """A figure rule's outputs: PDF, PNG, which the report shows, and the data that it shows."""
    wildcard = f".{{{row['each']}}}" if "each" in row else ""
    files = {kind: f"{FIGURES}/{name}{wildcard}.{kind}" for kind in FIGURE_KINDS}
    files["png"] = report(
        files["png"],
        # beside the rules, as conda's environments are
        caption=f"../report/captions/{name}.rst",
        category=row["category"],
        subcategory=row["subcategory"],
        labels={
            "figure": row["title"],
            **({row["each"]: f"{{{row['each']}}}"} if "each" in row else {}),
        },
    )
    return files


for _name, _row in FIGURE_ROWS.items():

    rule:
        name:
            f"plot_{_name}"
        input:
            **{
                key: f"{RESULTS}/tables/{table}.csv"
                for key, table in _row["tables"].items()
            },
            code=code_of("figure", f"plots.{_row['draw']}"),
            style=STYLE,
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
            runtime=scaled(5),
        params:
            settings=dict(
                draw=f"plots.{_row['draw']}",
                tables=list(_row["tables"]),
                measured=[
                    key for key, table in _row["tables"].items() if table in MEASURED
                ],
                measure=MEASURE,
                blocks=config["figures"]["layers"] if _row.get("blocks") else None,
            ),
        message:
            _row["message"]
        script:
            "../scripts/figure.py"


def figure_paths(study=""):
    """The files of all figures that the study has, or of one of both studies, for a target."""
    return [
        f"{FIGURES}/{name}{contrast}.{kind}"
        for name, row in FIGURE_ROWS.items()
        if is_asked_for(row) and study in ("", row["category"].lower())
        for contrast in ([f".{one}" for one in CONTRASTS] if "each" in row else [""])
        for kind in FIGURE_KINDS
    ]
