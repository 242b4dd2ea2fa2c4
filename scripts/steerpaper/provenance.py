"""Which files a result depends on."""

import ast
from functools import cache
from pathlib import Path

# what the workflow consists of; no data, no tests, nothing that a run leaves
PARTS = ("Snakefile", "config.schema.yaml", "LICENSE", "CITATION.cff", "data/published_lookups.csv")
FOLDERS = ("rules", "scripts", "envs", "profiles", "report", "docs")


def workflow_files(workflow: Path) -> list[Path]:
    """The files that the workflow consists of, sorted: all that it runs with but a study's data."""
    files = [workflow / part for part in PARTS]
    files += [path for folder in FOLDERS for path in (workflow / folder).rglob("*")]
    return sorted(
        path
        for path in files
        if path.is_file() and not path.name.startswith(".") and path.suffix not in (".pyc", ".png")
    )


@cache
def imported_modules(script: Path, root: Path) -> tuple[Path, ...]:
    """The modules under `root` that a script imports, directly or through another, sorted.

    Snakemake notices an edited script, but not an edited module that the script imports: rules
    name these files as inputs.
    """
    found: set[Path] = set()
    todo = [script]
    while todo:
        for node in ast.walk(ast.parse(todo.pop().read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                # what is imported from a package may be a module in it, or a name in its __init__
                names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            for name in names:
                stem = root.joinpath(*name.split("."))
                for path in (stem.with_suffix(".py"), stem / "__init__.py"):
                    if path.is_file() and path not in found:
                        found.add(path)
                        todo.append(path)
    return tuple(sorted(found))
