"""Raw texts for the corpus that cannot be read."""

import pandas as pd

from steerpaper.engine.text import beginning, load_tokenizer
from steerpaper.lookups.corpus import Raw, choose_prompts
from steerpaper.lookups.neurons import rejected_by_hand
from steerpaper.lookups.raw import file_texts


def _file(name, content):
    """A corpus file that holds `content`."""

    def case(folder, model):
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        list(file_texts(folder / name, "text", name))

    return case


def _table(**columns):
    """A Parquet file of these columns."""

    def case(folder, model):
        pd.DataFrame(columns).to_parquet(folder / "corpus.parquet")
        list(file_texts(folder / "corpus.parquet", "text", "corpus.parquet"))

    return case


def _too_few(folder, model):
    from collections import Counter

    options = {"sizes": {"train": 2, "test": 2}, "max_tokens": 9, "seed": 1, "counts": Counter()}
    raw = [Raw("Tea.", "1"), Raw(" Tea. ", "2"), Raw("", "3"), Raw("Coffee.", "4")]
    list(choose_prompts(load_tokenizer(model), raw, **options))


CASES = {
    "a beginning that is no token": lambda folder, model: beginning(
        load_tokenizer(model), "<|beginning|>"
    ),
    "a neuron to reject in a block that is not searched": lambda folder, model: rejected_by_hand(
        ["3.7"], [28, 29], 1536
    ),
    "a neuron to reject that the block does not have": lambda folder, model: rejected_by_hand(
        ["29.1536"], [28, 29], 1536
    ),
    "no file": lambda folder, model: list(file_texts(folder / "c.txt", "text", "c.txt")),
    "a file of another kind": _file("corpus.pdf", ""),
    "text that is not UTF-8": _file("corpus.txt", b"One.\n\n\xff\n"),
    "a line that is not JSON": _file("corpus.jsonl", '{"text": "a"}\n{"text": '),
    "a line that is not text": _file("corpus.jsonl", b'{"text": "a"}\n\xff\n'),
    "a line without the key": _file("corpus.jsonl", '{"body": "a"}\n'),
    "a line that is a list": _file("corpus.jsonl", '{"text": "a"}\n["a"]\n'),
    "a key that stands twice in a line": _file("corpus.jsonl", '{"text": "a", "text": "b"}\n'),
    "half of a character": _file("corpus.jsonl", '{"text": "\\udfff"}\n'),
    "a text that is a number": _file("corpus.jsonl", '{"text": 3}\n'),
    "100,000 braces": _file("corpus.jsonl", '{"text":' * 100_000),
    "a CSV file without the column": _file("corpus.csv", "body\nx\n"),
    "a CSV file that is empty": _file("corpus.csv", ""),
    "a CSV row with too many cells": _file("corpus.csv", "text,n\na,1\nb,2,3\n"),
    "a CSV cell that does not end": _file("corpus.csv", 'text\n"a\n'),
    "a CSV file that is not UTF-8": _file("corpus.csv", b"text\n\xff\n"),
    "a Parquet file without the column": _table(body=["a"]),
    "a Parquet column of numbers": _table(text=[1, 2]),
    "a Parquet column of bytes": _table(text=[b"a"]),
    "a Parquet column of lists": _table(text=[["a"]]),
    "a Parquet file that is cut off": _file("corpus.parquet", b"PAR1"),
    "fewer texts than prompts": _too_few,
}
