"""From raw prompts to the paper's figures: `snakemake --cores 1 --resources gpu=1`."""

from snakemake.utils import min_version

min_version("9.0")


include: "rules/configfiles.smk"


configfile: "config.yaml"


for BASE in BASES:

    configfile: BASE


# what a file extends is a word to the workflow, no key of the study
if BASES:
    config.pop("extends")


report: "report/workflow.rst"


include: "rules/common.smk"
include: "rules/declared.smk"
include: "rules/model.smk"
include: "rules/data.smk"
include: "rules/prompts.smk"
include: "rules/activations.smk"
include: "rules/vectors.smk"
include: "rules/gradients.smk"
include: "rules/sweep.smk"
include: "rules/dose_response.smk"
include: "rules/completions.smk"
include: "rules/ratings.smk"
include: "rules/fixed_completions.smk"
include: "rules/reasoning.smk"
include: "rules/system_prompts.smk"
include: "rules/cost.smk"
include: "rules/benchmarks.smk"
include: "rules/convergence.smk"
include: "rules/projection.smk"
include: "rules/compare_estimators.smk"
include: "rules/transfer.smk"
include: "rules/prompt_kinds.smk"
include: "rules/lookups.smk"
include: "rules/explanations.smk"
include: "rules/ablations.smk"
include: "rules/chunks.smk"
include: "rules/tables.smk"
include: "rules/verdict.smk"
include: "rules/figures.smk"
include: "rules/targets.smk"
include: "rules/report.smk"
include: "rules/paper.smk"


wildcard_constraints:
    behavior="|".join(config["steering"]["behaviors"]),
    benchmark="|".join(SETS) or "(?!)",
    contrast="|".join(CONTRASTS),
    shard="[0-9]+",
    shards="[0-9]+",
    split="|".join(SPLITS),


rule all:
    """Everything: tables, figures and manuscript of both studies (the default target)."""
    input:
        rules.steering.input,
        rules.figures.input,
        rules.lookups.input,
        rules.published.input,
        REPORT_PAGES,
        f"{RESULTS}/ro-crate-metadata.json",
        rules.paper.input,


include: "rules/archive.smk"


write_notes()


onstart:
    hold_results()
    keep_chunks()
    plan_figures()
    look_for_jobs_when_one_ends()


onsuccess:
    let_go_of_chunks()
    let_go_of_drawings()
    print_run_times(RESULTS)
    print_flags(RESULTS)
