"""The conda environments: what they hold, and scripts that really run in them.

What holds for the files is asserted on them, without network. Then the workflow runs with
`--sdm conda`, through Snakemake's own code, with a stand-in for the conda command (conda/bin/conda)
and a local channel (conda/channel.py) in which `python` is the Python that runs this test.

That shows: rules and environments are wired; an environment's file is one that pip installs as it
stands, with every hash checked; scripts run in it and take what it holds out of it. It does not
show: conda itself, what conda-forge's solve gives for `python=3.11` and `pip`, torch's CUDA build.
"""

import ast
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from functools import cache
from importlib.metadata import distributions, packages_distributions, requires, version
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlparse
from urllib.request import url2pathname

import pytest
import yaml
from asked import rules_of
from conftest import ROOT, mostly_long
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from study import make_study

from steerpaper.workflow.code import imported_modules

pytestmark = pytest.mark.conda

ENVS = ROOT / "envs"
SCRIPTS = ROOT / "scripts"
CONDA = ROOT / "tests/conda"
NEEDS = {"model": "model.in", "model.cpu": "model.in", "figures": "figures.in"}


def pip_section(environment):
    *_, last = yaml.safe_load((ENVS / f"{environment}.yaml").read_text())["dependencies"]
    return last["pip"]


def locked(lock):
    text = (ENVS / lock).read_text()
    return [entry.rstrip("\n") for entry in re.split(r"(?m)^(?=[a-z0-9])", text) if "==" in entry]


def requirement(entry):
    return Requirement(entry.partition(" \\\n")[0])


def versions_here(entries):
    """name -> version of the entries that hold on this machine and Python."""
    requirements = map(requirement, entries)
    return {
        each.name: str(each.specifier).removeprefix("==")
        for each in requirements
        if not each.marker or each.marker.evaluate()
    }


CUDA = {requirement(entry).name for entry in locked("lock.cuda.txt")}


def pulled_in(needs):
    """All that a file of requirements pulls in here, by what the installed packages say."""
    todo = [Requirement(line) for line in needs.read_text().splitlines() if line[:1] not in "#"]
    found = set()
    while todo:
        each = todo.pop()
        name = canonicalize_name(each.name)
        for extra in {"", *each.extras} - {extra for known, extra in found if known == name}:
            found.add((name, extra))
            if name in CUDA:
                continue  # not installed here, and needs nothing else that the rest does not
            for line in requires(name) or []:
                need = Requirement(line)
                if not need.marker or need.marker.evaluate({"extra": extra}):
                    todo.append(need)
    return {name for name, _ in found}


@pytest.fixture(scope="module")
def rules_by_environment(tmp_path_factory):
    """The rules of each environment that run a script, as Snakemake has them, by name."""
    found = {"model.cpu": {}, "figures": {}}
    for name, rule in rules_of(tmp_path_factory.mktemp("rules")).items():
        # a rule may run a command instead
        if rule["script"]:
            environment = Path(rule["conda"]).stem.replace("model", "model.cpu")
            found[environment][name] = rule
    return found


def modules_of(rule):
    """A rule's script, and all modules of the library that it may import."""
    script = SCRIPTS / rule["script"].partition("scripts/")[2]
    settings = rule["params"]["settings"]
    named = [settings[key] for key in ("make", "draw") if key in settings]
    called = [f"steerpaper.{name.rpartition('.')[0]}" for name in named]
    return [script, *imported_modules(script, SCRIPTS, *called)]


@cache
def third_parties(path):
    """The top-level modules that a file imports, anywhere in it, from outside this project."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module]
        for name in names:
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "steerpaper":
                found.add(top)
    return found


@pytest.mark.parametrize("environment", NEEDS)
def test_pip_entries_are_the_locks_letter_for_letter(environment):
    entries = pip_section(environment)
    assert len(set(entries)) == len(entries) > 10
    locks = {*locked("lock.txt"), *locked("lock.cuda.txt")}
    assert [entry for entry in entries if entry not in locks] == []
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("environment", NEEDS)
def test_an_environment_holds_what_it_needs_and_all_that_this_pulls_in_and_no_more(environment):
    held = versions_here(pip_section(environment))
    names = pulled_in(ENVS / NEEDS[environment])
    assert set(held) - CUDA == names - CUDA
    # what pulls in what was read from the packages that the lock names
    known = names & set(held) - CUDA
    assert {name: version(name).partition("+")[0] for name in known} == {
        name: held[name] for name in known
    }


def test_only_the_cuda_environment_holds_torchs_cuda_libraries():
    assert pip_section("model") == pip_section("model.cpu") + locked("lock.cuda.txt")
    assert not CUDA & {requirement(entry).name for entry in pip_section("model.cpu")}
    figures = {requirement(entry).name for entry in pip_section("figures")}
    assert not figures & {*CUDA, "torch", "transformers", "nnsight"}


def test_what_scripts_import_is_in_their_rules_environment(rules_by_environment):
    packages = packages_distributions()
    for environment, rules in rules_by_environment.items():
        assert len(rules) > 10
        held = versions_here(pip_section(environment))
        for name, rule in rules.items():
            for path in modules_of(rule):
                for module in third_parties(path):
                    names = {canonicalize_name(name) for name in packages[module]}
                    assert names & set(held), (environment, name, path.name, module)


def snakemake(folder, *arguments, env=None):
    command = [sys.executable, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    command += [*arguments, "--directory", folder, "--cores", "1", "--resources", "gpu=1"]
    environment = {**os.environ, **(env or {})}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.fixture(scope="module")
def stand_in():
    """The variables under which Snakemake finds the stand-in for conda."""
    pytest.importorskip("rattler", reason="the stand-in for conda needs py-rattler")
    places = [str(CONDA / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]
    return {"PATH": os.pathsep.join(places)}


@pytest.mark.parametrize("torch", ["cuda", "cpu"])
def test_containerize_gives_a_file_that_names_the_same_versions(
    tmp_path, model_folders, stand_in, torch
):
    config = make_study(tmp_path, model_folders["llama"])
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**config, "torch": torch}))
    process = snakemake(tmp_path, "--containerize", env=stand_in)
    assert process.returncode == 0, process.stderr
    environments = ["figures", "model" if torch == "cuda" else "model.cpu"]
    copied = re.findall(r"^COPY (\S+) (\S+)/environment.yaml$", process.stdout, flags=re.M)
    assert [Path(file).name for file, _ in copied] == [f"{name}.yaml" for name in environments]
    for file, prefix in copied:
        text = (tmp_path / file).resolve().read_text()
        # the file is shown as it is, then given to conda
        assert "".join(f"#   {line}\n" for line in text.splitlines()) in process.stdout
        command = f"conda env create --prefix {prefix} --file {prefix}/environment.yaml"
        assert command in process.stdout
    named = set(re.findall(r"^#\s+([a-z0-9][\w.-]*==\S+)", process.stdout, flags=re.M))
    entries = [entry for name in environments for entry in pip_section(name)]
    assert named == {entry.split()[0] for entry in entries}


TARGETS = [
    "figures/tiny/layer_sweep.pdf",
    "figures/tiny/norms.pdf",
    "results/tiny/tables/steerability.tex",
]


def cpu_builds(folder):
    """A page with the CPU build of torch that pip knows of, as torch's index has it: with its hash.

    Without, pip prefers the registry's build, whose hash it sees before the download.
    """
    torch = f"torch=={versions_here(pip_section('model.cpu'))['torch']}"
    pip = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--no-deps"]
    found = subprocess.run(
        [*pip, "--quiet", "--report", "-", torch, "cycler"], capture_output=True, text=True
    )
    if found.returncode:
        pytest.skip(f"pip finds no packages to install: {found.stderr.strip()[-200:]}")
    link, _ = (item["download_info"]["url"] for item in json.loads(found.stdout)["install"])
    page = folder / "torch.html"
    if sys.platform == "linux" and "cpu" not in Path(link).name:
        pytest.skip("pip knows no CPU build of torch; the other one takes gigabytes of libraries")
    if link.startswith("file:"):
        digest = hashlib.sha256(Path(url2pathname(urlparse(link).path)).read_bytes()).hexdigest()
        link = f"{link}#sha256={digest}"
    page.write_text(f'<a href="{link}">torch</a>')
    return page.as_uri()


@pytest.fixture(scope="module")
def conda(stand_in, tmp_path_factory):
    """The variables under which the stand-in can make environments, and jobs leave notes."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted, *_ = yaml.safe_load((ENVS / "figures.yaml").read_text())["dependencies"]
    if wanted != f"python={python}":
        pytest.skip(f"the environments want {wanted}; the local channel has Python {python}")
    home = tmp_path_factory.mktemp("conda")
    channel = home / "channels/conda-forge"
    subprocess.run([sys.executable, CONDA / "channel.py", channel], check=True)
    return {
        **stand_in,
        "CONDA_CHANNEL_ALIAS": (home / "channels").as_uri(),
        "CONDA_PKGS_DIRS": str(home / "packages"),
        "PIP_FIND_LINKS": f"{os.environ.get('PIP_FIND_LINKS', '')} {cpu_builds(home)}".strip(),
        # modules are compiled when a job imports them: most never are
        "PIP_COMPILE": "0",
    }


@pytest.fixture(scope="module", params=mostly_long(["figures", "whole"], "figures"))
def ran(request, conda, tmp_path_factory, model_folders, finished_study):
    """A study after `--sdm conda`: its folder and environments, how it ran, what its jobs noted.

    Of a finished study figures and LaTeX are made anew, in the environment that has no torch.
    """
    folder = tmp_path_factory.mktemp("study")
    notes = folder / "notes"
    if request.param == "figures":
        shutil.copytree(finished_study[0], folder, symlinks=True, dirs_exist_ok=True)
        for path in TARGETS:
            (folder / path).unlink()
        # an environment is made of every rule of the graph, whether it has a job or not
        drawing = ["plot_layer_sweep", "plot_norms", "latex_tables"]
        environments, how = ["figures"], ["--sdm", "conda", "--allowed-rules", *drawing]
    else:
        config = make_study(folder, model_folders["llama"])
        config["steering"] |= {"behaviors": ["one"], "contrasts": ["answers"]}
        (folder / "config.yaml").write_text(yaml.safe_dump({**config, "torch": "cpu"}))
        environments, how = ["model.cpu", "figures"], ["--sdm", "conda"]
    notes.mkdir()
    env = {**conda, "MODULES_OF_JOBS": str(notes)}
    process = snakemake(folder, *TARGETS, *how, env=env)
    assert process.returncode == 0, process.stderr
    found = [json.loads(path.read_text()) for path in notes.iterdir()]
    yield SimpleNamespace(
        folder=folder, environments=environments, how=how, env=env, notes=found, kind=request.param
    )
    shutil.rmtree(folder / ".snakemake/conda")  # 2 GB


def prefix_of(folder, environment):
    """Where Snakemake put an environment: it keeps a copy of the file beside it."""
    text = (ENVS / f"{environment}.yaml").read_text()
    (copy,) = [
        path for path in (folder / ".snakemake/conda").glob("*.yaml") if path.read_text() == text
    ]
    return copy.with_suffix("")


def installed(prefix):
    """The packages in an environment."""
    return list(distributions(path=[sysconfig.get_path("purelib", vars={"base": prefix})]))


def test_an_environment_is_installed_at_the_locks_versions(ran):
    for environment in ran.environments:
        packages = installed(prefix_of(ran.folder, environment))
        builds = {canonicalize_name(each.name): each.version for each in packages}
        del builds["pip"]  # conda's
        versions = {name: build.partition("+")[0] for name, build in builds.items()}
        assert versions == versions_here(pip_section(environment))
        if sys.platform == "linux" and environment == "model.cpu":
            assert builds["torch"].endswith("+cpu")


def test_scripts_run_in_their_rules_environment_and_take_all_that_it_holds_from_there(
    ran, rules_by_environment
):
    loaded = {}
    for environment in ran.environments:
        prefix, rules = prefix_of(ran.folder, environment), rules_by_environment[environment]
        held = {
            Path(file).parts[0].removesuffix(".py")
            for each in installed(prefix)
            for file in each.files or []
        }
        for note in ran.notes:
            if note["rule"] in rules:
                assert Path(note["prefix"]) == prefix, note["rule"]
                files = {name: Path(file) for name, file in note["modules"].items()}
                inside = {name for name in files if prefix in files[name].parents}
                # Snakemake puts its own packages behind the environment's. What a library would
                # use if it were there (seaborn: scipy) then comes from Snakemake's; what the
                # environment holds must not
                host = {
                    name.partition(".")[0]
                    for name in files
                    if Path(sys.prefix) in files[name].parents
                }
                assert "snakemake" in host, note["rule"]
                assert not held & host, note["rule"]
                assert ("torch" in files) <= (environment == "model.cpu"), note["rule"]
                loaded[note["rule"]] = inside
    for script, inside in loaded.items():
        # what another job has drawn is put in its place without it
        assert ("matplotlib" in inside) <= script.startswith("plot_"), script
    if ran.kind == "whole":
        assert len(loaded) > 10
        assert {"torch", "transformers", "nnsight"} <= loaded["activations"]
    drawing = [inside for inside in loaded.values() if "matplotlib" in inside]
    assert drawing
    assert all({"seaborn", "pandas"} <= inside for inside in drawing)
    assert {"pandas", "jinja2"} <= loaded["latex_tables"]


def test_with_conda_a_second_run_has_nothing_to_do_and_without_it_all_is_changed(ran):
    again = snakemake(ran.folder, *TARGETS, *ran.how, "--dry-run", env=ran.env)
    assert "Nothing to be done" in again.stdout + again.stderr
    without = snakemake(ran.folder, *TARGETS, *ran.how[2:], "--dry-run")
    assert "Software environment definition has changed" in without.stdout
