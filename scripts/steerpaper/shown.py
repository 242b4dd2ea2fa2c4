"""Texts of prompts and models as figures and pages can show them: what was data stays a text."""

import re
import unicodedata

# in the place of a character that has no look of its own
UNSHOWN = "\N{REPLACEMENT CHARACTER}"
LINE_END = "↵"
_LINE_ENDS = "\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
# what Markdown (with GitHub's tables, mathematics and strikethrough) gives a meaning within a line
_MARKDOWN = re.compile(r"([\\`*_\[\]<>&|~$#])")
_LATEX = {
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "–": "--",
}


def plain(text: str) -> str:
    """A text with one mark for every control, direction or unknown character.

    All line ends become one kind, for who shows it to break lines there or to mark them.
    """
    return "".join(map(_plain, text.replace("\r\n", "\n")))


def _plain(character: str) -> str:
    if character in _LINE_ENDS:
        return "\n"
    kind = unicodedata.category(character)
    if character == "\t" or kind == "Zs":
        return " "
    # control, direction and join marks, surrogates, private and unassigned characters
    return UNSHOWN if kind.startswith("C") else character


def one_line(text: str) -> str:
    """A text in one line, with single spaces."""
    return " ".join(plain(text).split())


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters; what is left out is a …."""
    return text if len(text) <= most else text[: most - 1] + "…"


def as_markdown(text: str) -> str:
    """A text as Markdown, in one line: no character of it is markup, HTML or a table's border."""
    return _MARKDOWN.sub(r"\\\1", one_line(text))


def as_code(text: str) -> str:
    """A text as Markdown code, in one line, whatever backticks it holds."""
    line = one_line(text) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    # spaces inside keep a backtick at an end from joining the fence; Markdown takes one off each
    return f"{fence} {line} {fence}" if len(fence) > 1 else f"{fence}{line}{fence}"


def as_latex(text: str) -> str:
    """A text as LaTeX, in one line: no character of it is a command; "-1" has a minus sign."""
    line = one_line(text)
    found = "".join(_LATEX.get(character, character) for character in line)
    # a hyphen within a name is none, that of an exponent is one
    return re.sub(r"(?<![\w}-])-(?=\d)|(?<=\de)-(?=\d)", "$-$", found)
