"""Figures: a rule for every row of report/figures.yaml, from tables alone; no model and no torch.

What one job draws for the run's others, which then start without importing what draws: `ahead`.
"""

from steerpaper.workflow.ahead import forget as forget_drawings, plan

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


def plan_figures():
    """Tell the run's figures' jobs of each other."""
    if not IS_MAIN or not workflow.is_main_process:
        return
    jobs = list(workflow.dag.needrun_jobs())
    plan(
        Path(RESULTS),
        [
            dict(
                **{"rule": one.rule.name},
                input={key: str(value) for key, value in one.input.items()},
                output={key: str(value) for key, value in one.output.items()},
                wildcards={key: str(value) for key, value in one.wildcards.items()},
                log=str(one.log[0]),
                params=one.params.settings,
                code=one.params.code,
            )
            for one in jobs
            if one.rule.name.startswith("plot_")
        ],
        [path for one in jobs for path in one.output],
    )


def let_go_of_drawings():
    """Keep no drawing any longer: the run has put all in their places."""
    if IS_MAIN and workflow.is_main_process:
        forget_drawings(Path(RESULTS))
