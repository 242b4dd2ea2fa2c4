"""What all rules share: the checked configuration, folders, and what each script does."""

from types import SimpleNamespace

from steerpaper.workflow.captions import for_captions
from steerpaper.workflow.clock import bring_back
from steerpaper.workflow.checks import named_behaviors, without_dev
from steerpaper.workflow.config import validated
from steerpaper.workflow.declared import (
    combinations,
    csv_names,
    headlines,
    measured_tables,
    paths_of,
    rows_of,
    settings_of,
    values_of,
)
from steerpaper.workflow.code import (
    code_digest,
    code_digests,
    read_notes,
    write_notes,
)
from steerpaper.workflow.data import content, pinned
from steerpaper.workflow.flagged import print_flags
from steerpaper.workflow.judges import judges_of
from steerpaper.workflow.places import data_files, data_sources
from steerpaper.workflow.provenance import without_folder, workflow_files
from steerpaper.workflow.records import portable, settings_digest
from steerpaper.workflow.shards import shards_there
from steerpaper.workflow.sources import fetched, named_model, texts_of, to_fetch
from steerpaper.workflow.run_times import print_run_times
from steerpaper.workflow.runs import claim, left_by_a_kill

from steerpaper.plots.pages import MANY
from steerpaper.published.registry import (
    data_keys,
    papers_of,
    protocol_keys,
    read_paper,
    read_registry,
    tables_wanted,
)
from steerpaper.steering.conditions import KINDS
from steerpaper.steering.estimators import NAMES as ESTIMATORS
from steerpaper.steering.measures import MEASURES

# not in jobs, which call Snakemake again
if workflow.is_main_process and (
    way_out := left_by_a_kill(Path(".snakemake"), ["snakemake", *sys.argv[1:]])
):
    print(way_out, file=sys.stderr)

# what the library does, as an earlier run here or in the workflow's own folder found it; written at
# the Snakefile's end
CODE_NOTES = Path(".snakemake/steerpaper.code.json")
read_notes(CODE_NOTES, WORKFLOW / CODE_NOTES)

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
# what a job that runs the model is given: where the model is, and how it is run
ENGINE = f"{RESULTS}/engine.json"

STEERING = config["steering"]
BEHAVIORS = STEERING["behaviors"]
WITHOUT_DEV = list(without_dev(config))
CONTRASTS = STEERING["contrasts"]
SPLITS = ["train", "dev", "test"]
# benchmarks; null leaves out one that another configuration file declares
SETS = {name: one for name, one in STEERING["benchmarks"]["sets"].items() if one}
# a chat template in the place of the tokenizer's own
TEMPLATE = config["model"]["chat_template"] or ""
LOOKUPS = config["lookups"]
STATISTICS = config["statistics"]
# the conda environment of rules that use torch: with CUDA libraries, or for torch's CPU build
MODEL_ENV = f"../envs/{'model.cpu' if config['torch'] == 'cpu' else 'model'}.yaml"
# how every job that runs the model is told to run it; no result depends on config["batch_tokens"],
# config["gpus_per_job"] and config["offload"], which jobs read themselves: others re-run nothing
RUN_MODEL = {key: config[key] for key in ("device", "dtype")}
if config["model"]["quantize"]:
    RUN_MODEL["quantize"] = config["model"]["quantize"]
# left out where they are what they ever were, so that no result is made anew
RUN_MODEL |= {key: config[key] for key in ("attention", "tf32") if config[key]}
# the GPUs of a job that runs the model; none where its passes run elsewhere
GPUS = 0 if config["model"]["remote"] else config["gpus_per_job"]
# Snakemake would cut a job's GPUs to the limit of them all, on a cluster too, where the limit of
# profiles/default does not count: a job that takes more runs by itself
if 0 < (workflow.global_resources.get("gpu").value or 0) < GPUS:
    workflow.register_resource("gpu", GPUS)


def of_contrasts(path):
    """A path of each contrast; other wildcards stay."""
    return expand(path, contrast=CONTRASTS, allow_missing=True)


def hold_results():
    """Let no other run make this study's results until this one ends."""
    if not workflow.is_main_process:
        return
    try:
        claim(Path(RESULTS))
    except UserError as error:
        raise WorkflowError(str(error))
    if ahead := bring_back(Path(made) for made in (RESULTS, FIGURES, MODEL)):
        print(
            f"{ahead} results are dated after now: this machine's clock was set back, or "
            "another's is ahead; they are dated now, nothing else is changed",
            file=sys.stderr,
        )


def look_for_jobs_when_one_ends():
    """Let Snakemake choose what runs next when a job ends, and not many times a second besides.

    Its limit on the jobs it begins in a second, of no use on one machine, has it look again a second
    after every look: once a second for every job that has ended, all over the list of jobs.
    """
    scheduler = getattr(workflow, "scheduler", None)
    if workflow.local_exec and hasattr(scheduler, "job_rate_limiter"):
        scheduler.job_rate_limiter = None


def code_of(script, function="", helpers=False):
    """What a script does, as params: an edit re-runs what depends on it, a comment does not.

    Args:
        function: what the script calls by a name that it is given; its module counts too.
        helpers: count modules as well that no result depends on, for rules whose work they do.
    """
    called = [f"steerpaper.{function.rpartition('.')[0]}"] if function else []
    return code_digests(SCRIPTS / f"{script}.py", SCRIPTS, *called, helpers=helpers)


def is_ours(path):
    """Is a file the workflow's own, and not in the folder that the study is made in?"""
    return Path(path).is_absolute() and Path(path).is_relative_to(WORKFLOW)


def theirs(path):
    """A file of raw data as an input, by what it says and not by its time: see `content`.

    None where there is no such file, or it is the workflow's own: a moved or renamed clone makes
    nothing anew. What is fetched (see data.smk) is known by where it is from.
    """
    if isinstance(path, dict):
        return ancient(fetched(path))
    return [] if not path or is_ours(path) else ancient(path)


def file_of(source):
    """Where a file of raw data is, fetched or of this machine; empty without one."""
    return fetched(source) if isinstance(source, dict) else source


def ours(**paths):
    """Those files of raw data that are the workflow's own, for the job alone.

    Of this type Snakemake compares nothing: what counts is what they say (`content`).
    """
    return SimpleNamespace(
        **{
            key: path
            for key, path in paths.items()
            if path and isinstance(path, str) and is_ours(path)
        }
    )


def is_read(key):
    """Is raw data, by its key, what the studies that are made read?"""
    part, name, *_ = key.split(".") + [""]
    if part == "behaviors":
        return "steering" in config["studies"] and name in BEHAVIORS
    return part != "paper" and (
        part not in ("steering", "lookups") or part in config["studies"]
    )


def items_of(behavior):
    """The raw files of a behaviour's items: one that is dealt into splits, or one for each."""
    about = config["behaviors"][behavior]
    return about["splits"] if "splits" in about else {"raw": about["items"]}


def told_of(behavior):
    """The raw files by which a judge is asked about a behaviour's completions."""
    files = {"rating": config["behaviors"][behavior].get("rating", "")}
    if STEERING["ratings"]["labels"] == "judge":
        files["about"] = config["behaviors"][behavior].get("about", "")
    return files


def files_of(benchmark):
    """A benchmark's sources by their questions' category, which is "" where they have their own."""
    one = SETS[benchmark]
    return one.get("files") or {"": one["file"]}


def engine_code():
    """What says where the model's parts are and how it is run: the proof, and what all jobs share.

    What only some jobs use of what the proof tries would make the others run again.
    """
    shared = code_of("lookups/neurons")
    proof = ("engine.py", "steerpaper/engine/proof.py")
    return {
        path: digest
        for path, digest in code_of("engine").items()
        if path in shared or path in proof
    }


def said_by(*files):
    """What files of the workflow say that are no code, to be put beside a script's code."""
    return {file: content(WORKFLOW / file) for file in files}


def behaviors_of(part):
    """The behaviours that a part of the steering study is computed for."""
    return named_behaviors(STEERING[part]["behaviors"], BEHAVIORS)


def shards_of(template, wanted, settings):
    """The shards of some work, as many as there are or are to be."""
    shards = shards_there(Path(RESULTS), template, wanted, settings)
    return expand(template, shard=range(shards), shards=shards)


def keys_of(section, names):
    """Some keys of a section, named in one text, as params."""
    return {key: section[key] for key in names.split()}


def scaled(amount):
    """A resource that grows with every retry."""
    return lambda wildcards, attempt: amount * attempt


def plain_part(part):
    """A part of the steering study as params: its keys but the behaviours, which are wildcards."""
    return {key: value for key, value in STEERING[part].items() if key != "behaviors"}


# what summaries and figures are: report/tables.yaml, report/figures.yaml
REPORT = WORKFLOW / "report"
for_captions({name: measure.text for name, measure in MEASURES.items()}, MANY)
