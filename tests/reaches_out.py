"""Places of the workflow that reach out: open a connection, start a process, run what a name names.

Found in the syntax, not in texts; tests/reaches_out.yaml says of each why it is there, and
`python tests/reaches_out.py` prints them as a table for a reader.
"""

import ast
import io
import re
import tokenize
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
LISTED = ROOT / "tests/reaches_out.yaml"
# whatever is used of these
MODULES = {
    *("subprocess", "multiprocessing", "pty", "ctypes", "cffi", "runpy", "code", "webbrowser"),
    *("socket", "ssl", "urllib", "urllib3", "http", "httpx", "requests", "aiohttp", "websockets"),
    *("ftplib", "smtplib", "xmlrpc", "socketserver", "paramiko", "fsspec", "boto3"),
    *("huggingface_hub", "openai", "anthropic", "datasets", "pip", "ensurepip", "venv"),
    *("pickle", "cloudpickle", "dill", "marshal", "shelve", "joblib", "importlib"),
}
# these of modules that do much else
NAMES = re.compile(
    r"os\.(system|popen|exec\w*|spawn\w*|posix_spawn\w*|fork\w*|startfile)"
    r"|asyncio\.(create_subprocess_\w+|open_connection|start_server)"
    r"|concurrent\.futures\.(ProcessPoolExecutor|process)"
    r"|torch\.(load|hub|jit|compile|utils\.cpp_extension)\b.*"
    r"|yaml\.(load|load_all|full_load\w*|unsafe_load\w*|Loader|FullLoader|UnsafeLoader)"
    r"|numpy\.(load|memmap|DataSource)|pandas\.(read_pickle|eval|read_html|read_sql\w*)"
    r"|nnsight\..*\bRemoteBackend"
    r"|transformers\.(pipeline|AutoModel\w*|AutoTokenizer|AutoConfig|AutoProcessor)\.?.*"
)
# options that let a call run what it was given
OPTIONS = {"allow_pickle", "trust_remote_code", "shell"}
BUILTINS = {"eval", "exec", "compile", "__import__", "breakpoint"}
# what a module has beside what it does
HARMLESS = re.compile(
    r"subprocess\.(CalledProcessError|TimeoutExpired|STDOUT|PIPE|DEVNULL)"
    r"|(huggingface_hub|openai|httpx)\.(errors\.)?(\w*Error|InvalidURL)|urllib\.parse\b.*|importlib\.(metadata|resources)\b.*"
)
DIRECTIVES = {"shell", "run", "wrapper", "notebook", "container", "containerized"}

Place = tuple[str, str, str]  # file, function or rule, what


def places() -> list[Place]:
    """All of them, sorted."""
    found: set[Place] = set()
    for path in sorted((ROOT / "scripts").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        found |= {(name, *place) for place in of_python(path.read_text(encoding="utf-8"))}
    for path in [ROOT / "Snakefile", *sorted((ROOT / "rules").rglob("*.smk"))]:
        name = path.relative_to(ROOT).as_posix()
        found |= {(name, *place) for place in of_rules(path.read_text(encoding="utf-8"))}
    return sorted(found)


def of_python(source: str) -> set[tuple[str, str]]:
    """What a Python file reaches out by: (function, dotted name)."""
    tree = ast.parse(source)
    aliases = _aliases(tree)
    found = set()
    for node, function in _with_function(tree, ""):
        name = _dotted(node, aliases)
        if name and (what := _watched(name)):
            found.add((function, what))
        if isinstance(node, ast.keyword) and node.arg in OPTIONS and not _is_false(node.value):
            found.add((function, node.arg))
    return found


def _is_false(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and node.value is False


def of_rules(source: str) -> set[tuple[str, str]]:
    """What a Snakefile reaches out by: (rule, directive or name)."""
    found, rule, names = set(), "", []
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    for before, token, after in zip([None, *tokens], tokens, [*tokens[1:], None], strict=False):
        first = before is None or before.type in (tokenize.NEWLINE, tokenize.NL, tokenize.INDENT)
        first = first or before.type == tokenize.DEDENT
        if token.type == tokenize.NAME and before is not None and before.string == "rule":
            rule = token.string
        directive = first and after is not None and after.string == ":"
        if token.type == tokenize.NAME and directive and token.string in DIRECTIVES:
            found.add((rule, f"{token.string}:"))
        if token.type == tokenize.NAME:
            names = [*names, token.string] if before and before.string == "." else [token.string]
            if what := _watched(".".join(names)):
                found.add((rule, what))
    return found


def _watched(name: str) -> str:
    """The dotted name, if it is one that reaches out."""
    if HARMLESS.fullmatch(name):
        return ""
    root, _, rest = name.partition(".")
    if (root in MODULES and rest) or name in BUILTINS or NAMES.fullmatch(name):
        return name
    return ""


def _aliases(tree: ast.AST) -> dict[str, str]:
    """What names in a file stand for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                root = alias.name.partition(".")[0]
                found[alias.asname or root] = alias.name if alias.asname else root
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                found[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return found


def _dotted(node: ast.AST, aliases: dict[str, str]) -> str:
    """The whole name that an expression is, through the file's imports."""
    parts = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    # what is not imported is a builtin, or the file's own
    if not isinstance(node, ast.Name) or (node.id not in aliases and node.id not in BUILTINS):
        return ""
    return ".".join([aliases.get(node.id, node.id), *reversed(parts)])


def _with_function(node: ast.AST, function: str):
    """Every expression with the function that it stands in; of a dotted name the whole alone."""
    for child in ast.iter_child_nodes(node):
        inside = function
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            inside = f"{function}.{child.name}" if function else child.name
        yield child, inside
        while isinstance(child, ast.Attribute):
            child = child.value
        yield from _with_function(child, inside)


def listed() -> list[dict[str, str]]:
    """What tests/reaches_out.yaml says."""
    entries: list[dict[str, str]] = yaml.safe_load(LISTED.read_text(encoding="utf-8"))
    return entries


def as_table() -> str:
    """The list as Markdown."""
    rows = [
        f"| `{entry['file']}` {entry['function']} | `{entry['what']}` | {entry['why']} |"
        for entry in listed()
    ]
    return "\n".join(["| where | what | why |", "|---|---|---|", *rows, ""])


if __name__ == "__main__":
    print(as_table())
