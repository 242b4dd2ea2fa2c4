"""Whatever a user's file or a judge's answer holds: it loads, or ends in a message with a place.

Short by default, with the same examples every time. For more: STEERPAPER_FUZZ=long, which draws
new ones at every run.
"""

import contextlib
import copy
import io
import json
import os
import re
import tempfile
from collections import Counter
from functools import partial
from pathlib import Path

import httpx
import openai
import pandas as pd
import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from steerpaper.engine.text import (
    held_control_token,
    load_tokenizer,
    plain_ids,
    without_control_tokens,
)
from steerpaper.errors import UserError
from steerpaper.judges.endpoint import AnswerCache, Endpoint, EndpointJudge
from steerpaper.judges.judge import parse_answer
from steerpaper.lookups.corpus import choose_prompts
from steerpaper.lookups.raw import file_texts
from steerpaper.lookups.tables.published import read_published
from steerpaper.steering.about import as_json, read_about
from steerpaper.steering.cost_prompts import read_knowledge, read_neutral, text_ids
from steerpaper.steering.estimators import NAMES
from steerpaper.steering.items import read_items
from steerpaper.steering.labels import label_by_markers
from steerpaper.steering.measures import MEASURES
from steerpaper.steering.prompts import as_rows, open_prompts, serialize
from steerpaper.workflow.config import check_file, validated

quiet = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]
settings.register_profile(
    "short",
    max_examples=100,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=quiet,
)
settings.register_profile(
    "long", max_examples=5000, deadline=None, print_blob=True, suppress_health_check=quiet
)
fuzz = settings.get_profile(os.environ.get("STEERPAPER_FUZZ", "short"))

# what has a meaning to one of the parsers, or to what comes after it
PIECES = st.sampled_from(
    [
        *(
            "\u2028",
            "\u2029",
            "\u0085",
            "\x00",
            "\x1c",
            "\r",
            "\n",
            "\r\n",
            "\t",
            "\ufeff",
            "\u200b",
        ),
        *(
            '"',
            "'",
            "{",
            "}",
            "[",
            "]",
            ":",
            ",",
            "\\",
            "\\ud800",
            "&a ",
            "*a",
            "<<: ",
            "!!int ",
            "- ",
        ),
        *(
            "(A)",
            "(B) ",
            " (A) x (B) y",
            "Answer:",
            "Choices:",
            "Question:",
            "<|end|>",
            "<|start|>",
        ),
        *(
            "yes",
            "null",
            "NaN",
            "-Infinity",
            "1e999",
            "1" * 5000,
            "2024-13-45",
            "[" * 3000,
            "{" * 3000,
        ),
        *(
            "question",
            "matching",
            "other",
            "text",
            "title",
            "markers",
            "quantity",
            "İ",
            "ſ",
            "e\u0301",
        ),
    ]
)
TEXTS = st.one_of(st.text(max_size=20), st.lists(PIECES, max_size=5).map("".join))
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), TEXTS, st.sampled_from(["auto", "all"])
)
VALUES = st.recursive(
    SCALARS,
    lambda below: st.one_of(st.lists(below, max_size=4), st.dictionaries(TEXTS, below, max_size=4)),
    max_leaves=8,
)


def records_of(*keys):
    """Files of JSON Lines, or a list, whose records have some of these keys."""
    names = st.sampled_from(keys)
    record = st.one_of(
        st.fixed_dictionaries(dict.fromkeys(keys, TEXTS)),
        st.dictionaries(st.one_of(names, TEXTS), st.one_of(TEXTS, VALUES), max_size=5),
        VALUES,
    )
    lines = st.lists(record, max_size=4)
    ends = st.sampled_from(["\n", "\r\n", "\n\n", "\u2028"])
    return st.one_of(
        st.builds(
            lambda found, end, ascii_only: "".join(
                json.dumps(one, ensure_ascii=ascii_only) + end for one in found
            ),
            *(lines, ends, st.booleans()),
        ),
        lines.map(json.dumps),
    ).map(lambda text: text.encode(errors="surrogatepass"))


@st.composite
def changed(draw, texts):
    """Files that are well formed but for some places."""
    content = bytearray(draw(texts))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(content)))
        new = draw(st.one_of(st.binary(max_size=4), PIECES.map(str.encode)))
        content[start : start + draw(st.integers(0, 6))] = new
    return bytes(content)


def files(well_formed):
    """Files of any bytes, and well-formed ones that are changed or not."""
    return st.one_of(st.binary(max_size=40), well_formed, changed(well_formed))


@contextlib.contextmanager
def held(content, name):
    """A file that holds `content`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        yield path


def said(read, place):
    """What `read` gives, or None where it ends in a message that names the place."""
    try:
        return read()
    except UserError as error:
        message = str(error)
    assert re.search(place, message), message
    assert len(message) < 2000
    message.encode()
    return None


@pytest.fixture(scope="module")
def tokenizer(tokenizer_folder):
    return load_tokenizer(tokenizer_folder)


OWN = records_of("question", "matching", "other")
PUBLISHED = records_of("question", "answer_matching_behavior", "answer_not_matching_behavior")
CHOICES = st.builds(
    lambda stem, first, second, answers: json.dumps(
        {
            "question": f"{stem}\n\nChoices:\n (A) {first}\n (B) {second}",
            "answer_matching_behavior": answers[0],
            "answer_not_matching_behavior": answers[1],
        }
    ).encode(),
    *(TEXTS, TEXTS, TEXTS, st.permutations([" (A)", "(B)", "(C)", " Yes"])),
)
COMMON = {"behavior": "tea", "seed": 1, "split": "test", "system": None, "context": 200}


@fuzz
@given(files(st.one_of(OWN, PUBLISHED, CHOICES)), st.sampled_from(["stop", "drop"]))
@example(b'{"question": "' + b"[" * 5000, "drop")
@example(b"[" * 100_000, "stop")
@example(b'{"question": ' + b"1" * 5000 + b"}", "stop")
@example('{"question": "a\u2028b", "matching": "c", "other": "d"}'.encode(), "stop")
@example(b'{"question": "\\ud800", "matching": "c", "other": "d"}', "stop")
def test_items(tokenizer, content, bad_items):
    with held(content, "tea.jsonl") as path:
        items = said(lambda: read_items(path, bad_items), r"tea\.jsonl") or []
    for contrast in ("answers", "letters"):
        for item in items:
            show = partial(serialize, tokenizer, [item], contrast=contrast, **COMMON)
            prompts = said(show, r"(line|item) \d")
            json.dumps(as_rows(prompts or []), ensure_ascii=False).encode()


@fuzz
@given(files(records_of("text")))
def test_neutral_texts(tokenizer, content):
    with held(content, "neutral.jsonl") as path:
        texts = said(lambda: read_neutral(path), r"neutral\.jsonl") or []
        said(lambda: text_ids(tokenizer, texts, 50), r"neutral\.jsonl, (line|item) \d")


@fuzz
@given(files(records_of("question", "correct", "wrong")))
def test_knowledge(content):
    with held(content, "knowledge.jsonl") as path:
        said(lambda: read_knowledge(path), r"knowledge\.jsonl")


ABOUT = (ROOT / "data/behaviors/warmth.yaml").read_text()[:1500].encode()
LISTS = st.one_of(st.lists(TEXTS, max_size=3), VALUES)
ABOUTS = st.one_of(
    st.just(ABOUT),
    st.fixed_dictionaries(
        {},
        optional={
            "title": st.one_of(TEXTS, VALUES),
            "measures": TEXTS,
            "open_questions": LISTS,
            "markers": st.one_of(
                VALUES, st.fixed_dictionaries({}, optional={"matching": LISTS, "other": LISTS})
            ),
            "system_prompts": st.one_of(VALUES, st.dictionaries(st.just("for"), TEXTS)),
        },
    ).map(lambda about: yaml.safe_dump(about, allow_unicode=True).encode(errors="surrogatepass")),
)


@fuzz
@given(files(ABOUTS), TEXTS)
@example(b"markers: {matching: [yes]}", "yes")
@example(b"markers: {matching: ['']}", "")
@example(b"title: !!timestamp x", "")
@example(b"a: &a [*a]", "")
@example(b"[" * 100_000, "")
def test_about_files(tokenizer, content, text):
    with held(content, "about.yaml") as path:
        about = said(lambda: read_about(path), r"about\.yaml")
    if about is None:
        return
    json.dumps(as_json(about), ensure_ascii=False).encode()
    label_by_markers(text, about.markers, finished=False)
    for side, markers in about.markers.items():
        for marker in markers:
            # a marker that nothing could be told by would have been refused
            assert label_by_markers(marker, {side: [marker]}, finished=True) == side
    options = {"behavior": "tea", "system": None, "context": 200}
    said(lambda: open_prompts(tokenizer, about.open_questions, **options), "open question")


DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
KNOWN = {"estimator": NAMES, "measure": list(MEASURES)}


def places(config, path=()):
    """The path of every key."""
    for key, value in config.items():
        yield (*path, key)
        if isinstance(value, dict):
            yield from places(value, (*path, key))


@st.composite
def configurations(draw):
    """The default study with some keys of other values, left out, or new."""
    config = copy.deepcopy(DEFAULT)
    for _ in range(draw(st.integers(1, 3))):
        *parents, last = draw(st.sampled_from(list(places(config))))
        place = config
        for key in parents:
            place = place[key]
        match draw(st.sampled_from(["change", "change", "leave out", "add"])):
            case "change":
                place[last] = draw(VALUES)
            case "leave out":
                del place[last]
            case "add":
                place[draw(st.one_of(TEXTS, st.integers()))] = draw(VALUES)
        if not config:
            break
    return config


def with_items(path):
    """The default study, where one behaviour's items are in another file."""
    config = copy.deepcopy(DEFAULT)
    config["behaviors"]["optimism"]["items"] = path
    return config


@fuzz
@given(configurations())
@example(with_items("a" * 300))
@example(with_items("a\0b"))
@example(with_items("{a}\n"))
@example(with_items("\ud800"))
@example(DEFAULT | {"1" * 5000: None})
@example(DEFAULT | {"two\nlines": None})
def test_configurations(config):
    found = said(lambda: validated(config, ROOT / "config.schema.yaml", KNOWN), "^configuration: ")
    if found is not None:
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()


@fuzz
@given(files(st.just(yaml.safe_dump(DEFAULT).encode())), st.sampled_from(["c.yaml", "c.json"]))
def test_configuration_files(content, name):
    with held(content, name) as path:
        said(lambda: check_file(path), re.escape(name))


def csv_of(rows):
    """Rows as CSV."""
    return pd.DataFrame(rows).to_csv(index=False).encode(errors="replace")


TABLES = st.lists(st.fixed_dictionaries({"text": TEXTS, "n": TEXTS}), max_size=4).map(csv_of)


@fuzz
@given(
    st.one_of(
        st.tuples(st.just("c.jsonl"), files(records_of("text", "n"))),
        st.tuples(st.just("c.csv"), files(TABLES)),
        st.tuples(st.just("c.txt"), files(TEXTS.map(lambda text: text.encode(errors="replace")))),
    )
)
@example(("c.csv", b'text\n"a\n'))
@example(("c.csv", b"text\na,b\n"))
@example(("c.jsonl", b'{"text": "<|end|>\\n<|start|>"}'))
def test_corpus_files(tokenizer, file):
    name, content = file
    with held(content, name) as path:
        raw = said(lambda: list(file_texts(path, "text", name)), re.escape(name)) or []
    options = {"sizes": {"train": 1, "test": 1}, "max_tokens": 9, "seed": 1, "counts": Counter()}
    for _, prompt in said(lambda: list(choose_prompts(tokenizer, raw, **options)), "corpus") or []:
        assert not set(prompt.ids) & set(tokenizer.all_special_ids)


@fuzz
@given(st.lists(VALUES, min_size=1, max_size=3), st.integers(0, 2000))
def test_parquet_corpora_of_any_type_and_cut_off(values, length):
    buffer = io.BytesIO()
    try:
        pd.DataFrame({"text": values}).to_parquet(buffer)
    except Exception:  # no such column can be written
        return
    for content in (buffer.getvalue(), buffer.getvalue()[:length]):
        with held(content, "c.parquet") as path:
            said(lambda path=path: list(file_texts(path, "text", "c.parquet")), r"c\.parquet")


PRINTED = (ROOT / "data/published/neo-2024.csv").read_bytes()


@fuzz
@given(files(st.just(PRINTED)))
def test_published_figures(content):
    with held(content, "published.csv") as path:
        table = said(lambda: read_published(path), r"published\.csv")
    assert table is None or table["value"].notna().all()


@fuzz
@given(TEXTS)
@example("Yes or no")
def test_a_judge_s_answer_is_yes_no_or_neither(answer):
    assert parse_answer(answer) in (True, False, None)


@fuzz
@given(st.lists(PIECES, max_size=8).map("".join))
@example("<|e<|end|>nd|>")
def test_a_question_to_the_local_judge_loses_its_control_tokens(tokenizer, question):
    assert held_control_token(tokenizer, without_control_tokens(tokenizer, question)) is None
    assert not set(plain_ids(tokenizer, question)) & set(tokenizer.all_special_ids)


COMPLETION = {"id": "1", "object": "chat.completion", "created": 0, "model": "m"}
MESSAGES = st.fixed_dictionaries({}, optional={"role": TEXTS, "content": st.one_of(TEXTS, VALUES)})
REPLIES = st.one_of(
    VALUES,
    st.fixed_dictionaries(
        {"choices": st.lists(st.fixed_dictionaries({"message": MESSAGES}), max_size=2)}
    ).map(lambda reply: COMPLETION | reply),
).map(lambda reply: json.dumps(reply).encode())


@fuzz
@given(
    files(REPLIES),
    st.sampled_from([200, 200, 200, 400, 401, 404, 500]),
    st.sampled_from(["application/json", "text/html"]),
)
@example(b'{"choices": [{"message": {"content": "\\ud800"}}]}', 200, "application/json")
@example(b'{"choices": ' + b"[" * 100_000, 200, "application/json")
@example('{"choices": [{"message": {"content": "a\u2028b"}}]}'.encode(), 200, "application/json")
def test_an_endpoint_may_reply_anything(body, status, kind):
    at = Endpoint("http://judge/v1", "m", None, 9, 1, 5.0, 0, (0.0, 0.0), "judge", "judge")
    headers = {"content-type": kind}
    transport = httpx.MockTransport(lambda _: httpx.Response(status, content=body, headers=headers))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "answers.jsonl"

        def answers():
            judge = EndpointJudge(at, AnswerCache(path), max_new_tokens=4)
            client = httpx.Client(transport=transport)
            judge._client = openai.OpenAI(
                base_url=at.base_url, api_key="none", max_retries=0, http_client=client
            )
            return judge.write(["a"])

        found = said(answers, r"judge: http://judge/v1")
        if found:
            found[0].encode()
            # what was answered is not asked again
            status = 500
            assert answers() == found or not path.exists()


@fuzz
@given(files(records_of("key", "answer")))
def test_a_cache_of_answers_may_hold_anything(content):
    with held(content, "answers.jsonl") as path:
        AnswerCache(path).put("a", {}, "b")
        assert AnswerCache(path).get("a") == "b"
