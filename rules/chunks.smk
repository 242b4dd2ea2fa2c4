"""Jobs that do a part of the steering study for several behaviours: `behaviors_per_job`.

Of a rule that runs the model for one behaviour, further rules are made that do the same for
several, `chunk_<rule>_<number>`, and go before it. They have its settings and code, so that no
result is made anew where only the cut differs.
"""

from steerpaper.workflow.chunks import (
    cut,
    forget,
    keep,
    made_as_told,
    read_cuts,
    write_cuts,
)

# as part of another workflow the study lies in a folder that is not known here
IS_MAIN = workflow.modifier.is_main_snakefile()
PER_JOB = config["behaviors_per_job"]

# the rules that run the model for one behaviour, and for which behaviours they do
ONE_BY_ONE = {
    **dict.fromkeys(
        ["activations", "gradients", "dose_response", "completions"], BEHAVIORS
    ),
    "sweep": [name for name in BEHAVIORS if name not in WITHOUT_DEV],
    **{
        part: behaviors_of(part)
        for part in (
            "fixed_completions",
            "reasoning",
            "system_prompts",
            "cost",
            "benchmarks",
            "transfer",
            "prompt_kinds",
        )
    },
    "logprobs": behaviors_of("fixed_completions"),
    "estimators": behaviors_of("compare_estimators"),
    **({"ratings": RATED} if RATED_LOCALLY and not RATED_AT_ENDPOINT else {}),
}


def told_of_rule(name, wildcards):
    """What a rule is told and does, for `made_as_told`."""
    for one in workflow.rules:
        if one.name == name:
            settings = one.params.get("settings", {})
            if callable(settings):
                settings = settings(SimpleNamespace(**wildcards))
            return dict(settings=settings, code=one.params.get("code", {}))
    return None


def is_chunk(one):
    """Does a rule do for several behaviours what another does for one?"""
    return one.script is not None and Path(str(one.script)).name == "chunk.py"


def listed(value):
    """A named file, or several, as a list."""
    return value if isinstance(value, list) else [value]


def is_own(value):
    """Are named files a behaviour's own?"""
    return any("{behavior}" in one for one in listed(value))


def together(files, behaviors):
    """A rule's files for several behaviours, one behaviour after the other."""
    return {
        key: (
            [
                one.replace("{behavior}", name)
                for name in behaviors
                for one in listed(value)
            ]
            if is_own(value)
            else value
        )
        for key, value in files.items()
    }


def files_of_one(info, behavior):
    """What a rule makes for a behaviour, where all of it is there."""
    for value in together(info.output.kwpaths, [behavior]).values():
        for template in value:
            if "{shard}" in template:
                yield from shards_of(template, STEERING["sweep"]["shards"], SWEEP)
            elif "{benchmark}" in template:
                yield from expand(template, benchmark=list(SETS))
            else:
                yield template


def cuts_of_rules():
    """By rule, which behaviours its jobs do together; nothing where they never did."""
    before = read_cuts(Path(RESULTS)) if IS_MAIN else {}
    # jobs of a run read what the run has noted
    if not workflow.is_main_process and before:
        return before
    if PER_JOB == 1 and not before:
        return {}
    is_made = made_as_told(Path(RESULTS), told_of_rule) if IS_MAIN else lambda _: False
    return {
        name: cut(
            behaviors,
            max(1, len(behaviors)) if PER_JOB == "all" else PER_JOB,
            before.get(name, []),
            lambda behavior, name=name: any(
                map(is_made, files_of_one(INFOS[name], behavior))
            ),
        )
        for name, behaviors in ONE_BY_ONE.items()
        if name in INFOS
    }


def like(name, behaviors):
    """What a rule for several behaviours has of the one for one behaviour."""
    info = INFOS[name]
    settings = info.params[1]
    log = Path(info.log.paths[0])
    chunk = {
        "rule": getattr(rules, name).rule.name,
        "script": Path(info.script).name,
        "behaviors": behaviors,
        "log": str(log.relative_to(RESULTS)),
        **{
            kind: {
                key: isinstance(value, list)
                for key, value in files.kwpaths.items()
                if is_own(value)
            }
            for kind, files in (("input", info.input), ("output", info.output))
        },
    }
    how = vars(settings.get("how", SimpleNamespace()))
    return settings | dict(how=SimpleNamespace(**how, chunk=chunk))


def resources_like(name, behaviors):
    """A rule's resources, those of the profile among them; of its minutes as many times more."""

    def times(resource, factor):
        def value(wildcards, input, attempt, threads, rulename, async_run):
            told = dict(input=input, attempt=attempt, threads=threads)
            told |= dict(rulename=rulename, async_run=async_run)
            found = resource.evaluate(wildcards, **told).value
            return found if isinstance(found, str) else found * factor

        return value

    return {
        key: times(resource, len(behaviors) if key == "runtime" else 1)
        for key, resource in getattr(rules, name).rule.resources.items()
        # what Snakemake adds itself
        if not key.startswith("_") and key != "tmpdir"
    }


# a rule that another workflow leaves out has none
INFOS = {
    name: info
    for name in ONE_BY_ONE
    if (info := getattr(getattr(rules, name).rule, "ruleinfo", None))
}
CUTS = cuts_of_rules()
CHUNKS = {
    f"chunk_{name}_{number}": (name, behaviors)
    for name, groups in CUTS.items()
    for number, behaviors in enumerate(groups, 1)
    if len(behaviors) > 1
}

for _chunk, (_name, _behaviors) in CHUNKS.items():

    rule:
        name:
            _chunk
        input:
            **together(INFOS[_name].input.kwpaths, _behaviors),
        output:
            **together(INFOS[_name].output.kwpaths, _behaviors),
        log:
            f"{LOGS}/{_chunk}/"
            + Path(INFOS[_name].log.paths[0]).name.replace("{behavior}", "job"),
        benchmark:
            f"{BENCHMARKS}/{_chunk}/"
            + Path(INFOS[_name].log.paths[0]).stem.replace("{behavior}", "job")
            + ".tsv"
        conda:
            MODEL_ENV
        threads: config["threads"]
        resources:
            **resources_like(_name, _behaviors),
        params:
            **like(_name, _behaviors),
        message:
            f"Rule {_name} for {len(_behaviors)} behaviors: {', '.join(_behaviors)}"
        script:
            "../scripts/chunk.py"

    workflow.ruleorder(_chunk, _name)


def shards_alike(wildcards):
    """The shards that a behaviour's sweep has or is to have: those of its chunk have as many.

    One contrast's after the other's.
    """
    wanted = STEERING["sweep"]["shards"]
    group = next(
        (one for one in CUTS.get("sweep", []) if wildcards.behavior in one),
        [wildcards.behavior],
    )
    alike = {
        shards_there(
            Path(RESULTS),
            *expand(SHARD, behavior=name, contrast=CONTRASTS[0], allow_missing=True),
            wanted,
            SWEEP,
        )
        for name in group
    }
    shards = alike.pop() if len(alike) == 1 else wanted
    return expand(
        SHARD,
        behavior=wildcards.behavior,
        contrast=CONTRASTS,
        shard=range(shards),
        shards=shards,
    )


def keep_chunks():
    """Note the cuts, and keep what chunks have made, which their jobs would remove."""
    if not CUTS or not IS_MAIN or not workflow.is_main_process:
        return
    write_cuts(Path(RESULTS), CUTS)
    for name, behaviors in CHUNKS.values():
        for behavior in behaviors:
            keep(Path(RESULTS), files_of_one(INFOS[name], behavior))


def let_go_of_chunks():
    """Keep nothing any longer: the run has made all that it was to make."""
    if IS_MAIN and workflow.is_main_process:
        forget(Path(RESULTS))
