"""The corpus: sources read or refused with file and line; disjoint, repeatable, counted."""

import json
import tracemalloc
from collections import Counter
from itertools import islice

import pandas as pd
import pytest

from steerpaper.errors import UserError
from steerpaper.lookups.corpus import (
    Raw,
    choose_prompts,
    count_prompts,
    ids_of,
    read_corpus,
    write_corpus,
)
from steerpaper.lookups.raw import (
    RawFile,
    file_texts,
    prose,
    read_raw,
    stdlib_texts,
)


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    from steerpaper.engine.text import load_tokenizer

    return load_tokenizer(tokenizer_folder)


def texts(n=40):
    return [
        Raw(f"{number} is a number that says the weather", f"x:{number}") for number in range(n)
    ]


def choose(tokenizer, raw, train=10, test=8, max_tokens=64, seed=1):
    prompts, counts = {"train": [], "test": []}, Counter()
    sizes = {"train": train, "test": test}
    options = {"sizes": sizes, "max_tokens": max_tokens, "seed": seed, "counts": counts}
    for split, prompt in choose_prompts(tokenizer, raw, **options):
        prompts[split].append(prompt)
    return prompts, counts


def test_the_standard_library_gives_thousands_of_english_prompts():
    raw = list(stdlib_texts())
    assert len({entry.text for entry in raw}) > 3000
    assert any(entry.source.startswith("pydoc_data.topics") for entry in raw)
    assert any(entry.source.startswith("json/decoder.py:") for entry in raw)
    assert raw[:500] == list(islice(stdlib_texts(), 500))


def test_prose_keeps_sentences_and_drops_code():
    text = """
    Return the sum of a 'start' value (default: 0) plus an iterable of numbers in this order.

    >>> sum([1, 2, 3]) is what this example of code shows to all of the readers of it
    6

    Too short.

    x = 1; y = 2; z = x + y; print(z); d = {1: 2, 3: 4}; e = [1, 2, 3]; f = (4, 5, 6)
    """
    assert len(prose(text)) == 1
    assert prose(text)[0].startswith("Return the sum")


def test_train_and_test_are_disjoint_repeatable_and_follow_the_seed(tokenizer):
    raw = texts()
    one, counts = choose(tokenizer, raw)
    other, _ = choose(tokenizer, raw)
    third, _ = choose(tokenizer, raw, seed=2)
    assert one == other != third
    assert [len(one["train"]), len(one["test"])] == [10, 8]
    ids = [tuple(prompt.ids) for split in one.values() for prompt in split]
    assert len(set(ids)) == 18
    assert counts["train"] == 10
    assert one["train"][0].id == "train-00001"


def test_long_prompts_are_cut_at_the_right_and_it_is_recorded(tokenizer):
    prompts, counts = choose(tokenizer, texts(), max_tokens=5, train=1, test=1)
    [prompt] = prompts["train"]
    full = tokenizer(next(r.text for r in texts() if r.source == prompt.source)).input_ids
    assert prompt.cut
    assert prompt.n_tokens == len(full) > 5
    assert prompt.ids == full[:5]
    assert prompt.text == tokenizer.decode(full[:5])
    assert counts["cut"] == 2


def test_empty_and_duplicate_texts_are_counted(tokenizer):
    raw = [Raw("", "a"), Raw("  \n", "b"), *texts(3), *texts(3)]
    with pytest.raises(UserError, match=r"8 texts give 3 \(2 tokenise to nothing, 3 are duplic"):
        choose(tokenizer, raw)


def test_an_empty_corpus_is_refused(tokenizer):
    with pytest.raises(UserError, match="0 texts give 0"):
        choose(tokenizer, [])


def test_a_corpus_is_read_back_and_a_failed_one_leaves_no_file(tokenizer, tmp_path):
    prompts, _ = choose(tokenizer, texts())
    paths = {split: tmp_path / f"corpus.{split}.jsonl" for split in ("train", "test")}
    rows = [(split, prompt) for split, chosen in prompts.items() for prompt in chosen]

    def failing():
        yield from rows[:12]
        raise UserError("not enough")

    with pytest.raises(UserError):
        write_corpus(paths, failing())
    assert not list(tmp_path.iterdir())
    write_corpus(paths, rows)
    assert {split: list(read_corpus(path)) for split, path in paths.items()} == prompts
    chosen = prompts["train"][3]
    assert ids_of(paths.values(), [chosen.id]) == {chosen.id: chosen.ids}
    assert count_prompts(paths["train"]) == 10


def test_texts_in_a_file_are_those_of_the_list(tmp_path):
    raw = [*texts(), Raw("two\nlines, \u2028 and \ud800, half a character", "y")]
    held = RawFile(iter(raw), tmp_path)
    assert len(held) == 41
    assert [held[index] for index in (40, 3, 39, 0)] == [raw[40], raw[3], raw[39], raw[0]]
    assert not list(tmp_path.iterdir())  # it has no name to be left behind


def test_memory_does_not_grow_with_the_texts(tokenizer, tmp_path):
    def peak(n):
        raw = (Raw(f"{number} {'words upon words ' * 100}", f"x:{number}") for number in range(n))
        counts = Counter()
        sizes = {"train": n // 2, "test": n // 2}
        options = {"sizes": sizes, "max_tokens": 200, "seed": 1, "counts": counts}
        paths = {split: tmp_path / f"{split}.jsonl" for split in ("train", "test")}
        tracemalloc.start()
        write_corpus(paths, choose_prompts(tokenizer, RawFile(raw, tmp_path), **options))
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    few, many = peak(100), peak(1000)
    # a text is 1700 characters and its prompt 200 ids; what is held of each is a digest and a place
    assert many - few < 900 * 200


def test_every_kind_of_file_is_read_alike(tmp_path):
    lines = ["One thing.", "Another, with NA.", "NA"]
    (tmp_path / "c.txt").write_text("\n\n".join(lines))
    (tmp_path / "c.jsonl").write_text("\n".join(json.dumps({"body": line}) for line in lines))
    pd.DataFrame({"body": lines}).to_csv(tmp_path / "c.csv")
    pd.DataFrame({"body": lines}).to_parquet(tmp_path / "c.parquet")
    for name in ("c.txt", "c.jsonl", "c.csv", "c.parquet"):
        found = read_raw(str(tmp_path / name), "body", name)
        assert [raw.text for raw in found] == lines, name


@pytest.mark.parametrize("name", ["c.txt", "c.jsonl", "c.csv"])
def test_files_are_read_a_piece_at_a_time(tmp_path, monkeypatch, name):
    monkeypatch.setattr("steerpaper.lookups.raw._ROWS", 50)

    def peak(n):
        lines = [f"{number} {'word ' * 400}" for number in range(n)]
        if name == "c.csv":
            pd.DataFrame({"text": lines}).to_csv(tmp_path / name)
        else:
            rows = [json.dumps({"text": line}) for line in lines]
            (tmp_path / name).write_text("\n\n".join(rows if name == "c.jsonl" else lines))
        tracemalloc.start()
        assert sum(1 for _ in file_texts(tmp_path / name, "text", name)) == n
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    assert peak(2000) - peak(500) < 1500 * 200  # of 2,000 characters


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("c.jsonl", b'{"text": "a"}\n{"text": ', r"c.jsonl, line 2: not JSON"),
        ("c.jsonl", b'{"body": "a"}', r"c.jsonl, line 1: has no key 'text'; it holds 'body'"),
        ("c.jsonl", b"[1]", r"c.jsonl, item 1: has no key 'text'; it holds no keys"),
        ("c.jsonl", b'{"text": 3}', r"c.jsonl:1: 'text' holds 3, expected a text"),
        ("c.csv", b"body\nx\n", r"c.csv: has no column 'text'; it has 'body'"),
        ("c.csv", b"", r"c.csv: the file is empty"),
        ("c.parquet", b"PAR", r"c.parquet: cannot be read"),
        ("c.txt", b"\xff\xfe\x00", r"c.txt, line 1: cannot be read as UTF-8"),
        ("c.csv", b"text\n\xff\xff\n", r"c.csv: cannot be read as UTF-8"),
        ("c.pdf", b"", r"'.pdf' files are not read; expected .txt"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_its_line(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        list(file_texts(tmp_path / name, "text", name))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match="no file at"):
        list(file_texts(tmp_path / "none.txt", "text", "none.txt"))


def test_a_control_token_in_a_text_is_the_characters_that_it_shows(tokenizer):
    written = "One ends here.<|end|>\n<|start|>Two begins here."
    prompts, _ = choose(tokenizer, [Raw(written, "web"), *texts(1)], train=1, test=1)
    (prompt,) = [p for split in prompts.values() for p in split if p.source == "web"]
    assert prompt.text == written == tokenizer.decode(prompt.ids)
    assert not set(prompt.ids) & set(tokenizer.all_special_ids)


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\u0085"])
def test_only_a_line_feed_ends_a_line_of_a_corpus(tmp_path, mark):
    rows = [json.dumps({"text": f"a{mark}b"}, ensure_ascii=False), json.dumps({"text": "c"})]
    (tmp_path / "c.jsonl").write_bytes("\r\n".join(rows).encode())
    (tmp_path / "c.txt").write_bytes(f"a{mark}b\r\n\r\nc\r\n".encode())
    for name in ("c.jsonl", "c.txt"):
        found = list(file_texts(tmp_path / name, "text", name))
        assert [raw.text for raw in found] == [f"a{mark}b", "c"]


def test_a_cell_may_hold_a_long_text_with_line_breaks_and_commas(tmp_path):
    written = ["One, two\n" * 30_000, 'say "so"', "NA"]
    pd.DataFrame({"n": range(3), "text": written}).to_csv(tmp_path / "c.csv", index=False)
    found = list(file_texts(tmp_path / "c.csv", "text", "c.csv"))
    assert [raw.text for raw in found] == written
    assert [raw.source for raw in found] == ["c.csv:2", "c.csv:3", "c.csv:4"]


def test_a_corpus_may_be_a_json_list(tmp_path):
    (tmp_path / "c.jsonl").write_text(json.dumps([{"text": "a"}, {"text": None}, {"text": "b"}]))
    found = list(file_texts(tmp_path / "c.jsonl", "text", "c.jsonl"))
    assert [raw.text for raw in found] == ["a", "", "b"]
