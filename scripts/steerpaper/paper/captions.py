"""Captions as data that Typst sets: the report's own (report/captions/*.rst), rendered and read.

What comes out is no markup but nested lists, so that no text of a table can be taken for a command:
a paragraph is {"paragraph": spans}, a list {"list": [blocks of an item]}, a span {"text": …} with
"strong", "emphasis" or "literal" where it is one.
"""

from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any

import jinja2
from docutils import nodes
from docutils.core import publish_doctree

STYLES = {
    nodes.strong: "strong",
    nodes.emphasis: "emphasis",
    # as browsers show it
    nodes.title_reference: "emphasis",
    nodes.literal: "literal",
}


def rendered(template: str, files: Mapping[str, Mapping[str, str]], config: Any) -> str:
    """A caption's reStructuredText, as Snakemake renders it for its report.

    Args:
        files: the job's input, output and wildcards, by name.
    """
    # Snakemake's own settings; the functions are there since `for_captions`
    environment = jinja2.Environment(
        trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    job = {key: SimpleNamespace(**paths) for key, paths in files.items()}
    return environment.from_string(template).render(snakemake=SimpleNamespace(**job, config=config))


def blocks(text: str) -> list[dict[str, Any]]:
    """The paragraphs and lists of a reStructuredText.

    Raises:
        ValueError: docutils finds a fault, or something that captions do not use.
    """
    settings = {"report_level": 2, "halt_level": 5, "warning_stream": False}
    document = publish_doctree(text, settings_overrides=settings)
    return [block for child in document.children for block in _block(child)]


def _block(node: nodes.Node) -> Iterator[dict[str, Any]]:
    match node:
        case nodes.paragraph():
            yield {"paragraph": list(_spans(node, {}))}
        case nodes.bullet_list():
            yield {
                "list": [
                    [block for child in item.children for block in _block(child)]
                    for item in node.children
                ]
            }
        case nodes.comment():
            return
        case nodes.system_message():
            raise ValueError(f"a caption is not read: {node.astext()}")
        case _:
            raise ValueError(f"a caption holds a {node.tagname}, which manuscripts cannot set")


def _spans(node: nodes.Node, styles: dict[str, bool]) -> Iterator[dict[str, Any]]:
    for child in node.children:
        if isinstance(child, nodes.Text):
            yield {"text": " ".join(child.astext().split("\n")), **styles}
        elif isinstance(child, nodes.reference):
            # a name or address as it stands
            yield {"text": child.astext(), **styles}
        elif style := STYLES.get(type(child)):
            yield from _spans(child, {**styles, style: True})
        else:
            raise ValueError(f"a caption holds a {child.tagname}, which manuscripts cannot set")
