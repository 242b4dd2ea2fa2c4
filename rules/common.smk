"""What all rules share: the checked configuration, folders, and each script's library files."""

import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

# where this file is: used as a module, workflow.basedir is the outer workflow's folder
WORKFLOW = Path(str(workflow.current_basedir)).parent
SCRIPTS = WORKFLOW / "scripts"
if not SCRIPTS.is_dir():
    raise WorkflowError(
        f"{WORKFLOW} is not a folder on this machine; steerpaper reads its scripts and data from "
        "disk: clone it and name the clone's Snakefile"
    )
sys.path.insert(0, str(SCRIPTS))

from steerpaper.workflow.captions import for_captions
from steerpaper.workflow.config import data_files, named_behaviors, validated
from steerpaper.errors import UserError
from steerpaper.workflow.provenance import imported_modules, without_folder, workflow_files
from steerpaper.workflow.run_times import print_run_times

from steerpaper.steering.estimators import NAMES as ESTIMATORS
from steerpaper.steering.measures import MEASURES

try:
    config = validated(
        config,
        WORKFLOW / "config.schema.yaml",
        known={"estimator": ESTIMATORS, "measure": list(MEASURES)},
    )
except UserError as error:
    raise WorkflowError(str(error))
# a module's prefix is for what the workflow makes, not for the files that its user names
for _, place, key in data_files(config):
    place[key] = local(place[key])

RESULTS = f"results/{config['study']}"
FIGURES = f"figures/{config['study']}"
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
MODEL = f"results/models/{config['model']['name']}"

STEERING = config["steering"]
BEHAVIORS = STEERING["behaviors"]
CONTRASTS = STEERING["contrasts"]
# parts that run on some behaviours, each with a table of its name
PARTS = ["reasoning", "system_prompts", "cost", "convergence", "projection"]
SPLITS = ["train", "dev", "test"]
# the look of all figures
STYLE = str(SCRIPTS / "steerpaper" / "plots" / "paper.mplstyle")
LOOKUPS = config["lookups"]
# the conda environment of rules that use torch: with CUDA libraries, or for torch's CPU build
MODEL_ENV = f"../envs/{'model.cpu' if config['torch'] == 'cpu' else 'model'}.yaml"
# how every job that runs the model is told to run it; no result depends on config["batch_tokens"],
# which jobs read themselves, so that another budget re-runs nothing
RUN_MODEL = {key: config[key] for key in ("device", "dtype")}


def code_of(script):
    """The library files that a script imports, so that editing one re-runs what depends on it."""
    return [str(path) for path in imported_modules(SCRIPTS / f"{script}.py", SCRIPTS)]


def behaviors_of(part):
    """The behaviours that a part of the steering study is computed for."""
    return named_behaviors(STEERING[part]["behaviors"], BEHAVIORS)


def keys_of(section, names):
    """Some keys of a section, named in one text, as params."""
    return {key: section[key] for key in names.split()}


def scaled(amount):
    """A resource that grows with every retry."""
    return lambda wildcards, attempt: amount * attempt


def plain_part(part):
    """A part of the steering study as params: its keys but the behaviours, which are wildcards."""
    return {key: value for key, value in STEERING[part].items() if key != "behaviors"}


# files of figure rules that are included before figures.smk add theirs, for the target `figures`
FIGURE_NAMES = []
FIGURE_KINDS = ["pdf", "png", "csv"]
# where the report puts each figure, and under which title
REPORT = WORKFLOW / "report"
FIGURE_TITLES = yaml.safe_load((REPORT / "figures.yaml").read_text(encoding="utf-8"))
for_captions()


def figure_files(name):
    """A figure rule's outputs: PDF, PNG, which the report shows, and the data that it shows."""
    figure, _, contrast = name.partition(".")
    about = FIGURE_TITLES[figure]
    files = {kind: f"{FIGURES}/{name}.{kind}" for kind in FIGURE_KINDS}
    files["png"] = report(
        files["png"],
        # beside the rules, as conda's environments are
        caption=f"../report/captions/{figure}.rst",
        category=about["category"],
        subcategory=about["subcategory"],
        labels={
            "figure": about["title"],
            **({"contrast": contrast} if contrast else {}),
        },
    )
    return files


def figure_paths(names):
    """The files of figures, for a target."""
    return expand(f"{FIGURES}/{{name}}.{{kind}}", name=names, kind=FIGURE_KINDS)
