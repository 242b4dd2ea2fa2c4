"""One file to share a study: all that its figures need, nothing of the machine that made it."""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from steerpaper.errors import UserError
from steerpaper.workflow.files import whole
from steerpaper.workflow.places import Config, data_files, model_files, named

Members = Mapping[str, Path | bytes]

# what was made is younger than scripts and data: to Snakemake nothing is out of date
TIME = 946684800
LATER = TIME + 3600

SNAKEFILE = """\
# Draws the study's figures from its tables. Of the workflow, only the rules that draw are taken, so
# nothing before the tables can run; the rules that made the tables are in workflow/ to be read.
configfile: "config.yaml"


module steerpaper:
    snakefile:
        "workflow/Snakefile"
    config:
        config


use rule figures, {plots} from steerpaper


rule all:
    default_target: True
    input:
        rules.figures.input,
"""
README = """\
# {study}

A study made with steerpaper. Its tables are in `results/{study}/tables/`, its figures in
`figures/{study}/`, the data that a figure shows beside it (`.csv`). `workflow/docs/results.md`
explains them. `config.yaml` is the configuration that was used, every key written out, and `data/`
holds the raw prompts that it names. `results/{study}/logs/` and `benchmarks/` say what each job did
and how long it took. The model, its activations and the vectors are not here.

The figures again, from the tables, without a model (remove `figures/` first to draw them all):

    snakemake figures --cores 1

That needs Snakemake 9 and the packages in `workflow/envs/figures.yaml`, or conda, which makes them:
`snakemake figures --cores 1 --sdm conda`.

Everything again, from the raw prompts, in an empty folder beside `workflow/`, with the packages in
`workflow/envs/lock.txt`{model}:

    mkdir again && cp -r config.yaml data again
    snakemake --snakefile workflow/Snakefile --directory again --cores 1 --resources gpu=1
"""


def shareable(config: Config) -> tuple[Config, dict[str, Path]]:
    """The configuration with the paths that files have in an archive, and those files by path.

    A file's path there is its key in the configuration, so that no folder of this machine shows.
    """
    shared: Config = json.loads(json.dumps(config))
    files = {}
    for name, place, key in data_files(shared):
        path = Path(place[key])
        place[key] = f"data/{name}{path.suffix}"
        if path.is_file():
            files[place[key]] = path
    for _, place, key in model_files(shared):
        place[key] = Path(place[key]).name
    return shared, files


def held(made: Mapping[str, Any], members: Members, data: Mapping[str, Path]) -> dict[str, Any]:
    """A study's provenance with the files that an archive holds, by their names there.

    Args:
        made: provenance.json; as a part of another workflow, what is made has a folder before it.
        data: the raw data's files by their names there.
    """
    names = {named(path): name for name, path in data.items()}
    made_here = re.compile(rf"(?:.*/)?((?:results|figures)/{re.escape(made['study'])}/.*)")
    files = {}
    for path, digest in made["files"].items():
        inner = made_here.fullmatch(path)
        name = inner[1] if inner else names.get(path, path)
        if name in members:
            files[name] = digest
    return {**made, "files": files}


def as_yaml(config: Config) -> bytes:
    """A configuration file, its keys sorted: the same for all that say the same."""
    return yaml.safe_dump(config, allow_unicode=True, width=100).encode()


def snakefile(plots: Iterable[str]) -> bytes:
    """The archive's own Snakefile: of the workflow's rules those that draw, and no other."""
    return SNAKEFILE.format(plots=", ".join(sorted(plots))).encode()


def readme(config: Config) -> bytes:
    """What is in an archive, and the commands that use it."""
    model = " and the model at the path that `config.yaml` gives"
    source = f"model.{config['model']['source']}"
    of_this_machine = any(key.startswith(source) for key, _, _ in model_files(config))
    return README.format(study=config["study"], model=model if of_this_machine else "").encode()


def logs(results: Path, own: Iterable[Path]) -> list[Path]:
    """What jobs wrote about themselves: logs, run times; not those of the job that packs them.

    Job notes stay behind: they hold this machine's paths, for debugging on this machine.
    """
    found = [*(results / "logs").rglob("*"), *(results / "benchmarks").rglob("*")]
    left = {*own}
    return sorted(
        path
        for path in found
        if path.is_file() and path not in left and not path.name.endswith(".job.json")
    )


def refuse_secrets(members: Members, secrets: Mapping[str, str]) -> None:
    """Raise where a file that would be shared holds a secret of the environment.

    Raises:
        UserError: names the file and the variable.
    """
    for member, content in members.items():
        with io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb") as lines:
            for number, line in enumerate(lines, start=1):
                held = [name for name, value in secrets.items() if value.encode() in line]
                if held:
                    raise UserError(
                        f"{member}, line {number}: holds the value of the environment variable "
                        f"{held[0]}; an archive is to be shared: take it out, or unset the "
                        "variable if it is no secret"
                    )


def pack(path: str | Path, folder: str, members: Members) -> None:
    """Write a .tar.gz whose bytes depend on names and contents alone: no times, no owners."""
    with (
        whole(path) as part,
        open(part, "wb") as out,
        gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in sorted(members.items()):
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.mtime = LATER if name.startswith(("results/", "figures/")) else TIME
            with io.BytesIO(content) if isinstance(content, bytes) else open(content, "rb") as file:
                entry.size = file.seek(0, io.SEEK_END)
                file.seek(0)
                tar.addfile(entry, file)
