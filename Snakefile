"""steerpaper: from raw prompts to the paper's figures. `snakemake --cores 1 --resources gpu=1`."""

from snakemake.utils import min_version

min_version("9.0")


configfile: "config.yaml"


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/model.smk"
include: "rules/prompts.smk"
include: "rules/activations.smk"
include: "rules/vectors.smk"
include: "rules/steering.smk"
include: "rules/completions.smk"
include: "rules/logprobs.smk"
include: "rules/reasoning.smk"
include: "rules/cost.smk"
include: "rules/convergence.smk"
include: "rules/latex.smk"
include: "rules/transfer.smk"
include: "rules/logprobs_figures.smk"
include: "rules/steering_full_figures.smk"
include: "rules/lookups.smk"
include: "rules/explanations.smk"
include: "rules/ablations.smk"
include: "rules/lookups_figures.smk"
include: "rules/figures.smk"
include: "rules/report.smk"


wildcard_constraints:
    behavior="|".join(config["steering"]["behaviors"]),
    contrast="|".join(CONTRASTS),
    shard="[0-9]+",


rule all:
    """Everything: the tables and figures of both studies (the default target)."""
    input:
        rules.steering.input,
        rules.figures.input,
        rules.lookups.input,
        REPORT_PAGES,


include: "rules/archive.smk"


onsuccess:
    print_run_times(RESULTS)
