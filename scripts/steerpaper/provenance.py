"""Which files a result depends on."""

import ast
from functools import cache
from pathlib import Path


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
