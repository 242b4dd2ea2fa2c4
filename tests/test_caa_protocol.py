"""The protocol of Panickssery et al. 2023 by configuration: prompts, letters, steered tokens.

What their code does is written out here anew (nrimsky/CAA at 5dabbbd: utils/tokenize.py,
utils/helpers.py, generate_vectors.py, prompting_with_steering.py).
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from published_templates import MODELS
from study import planned

from steerpaper.engine.text import token_ids, use_template
from steerpaper.errors import UserError
from steerpaper.steering.about import read_about, read_open
from steerpaper.steering.fixed_completions import completion_rows
from steerpaper.steering.items import read_items
from steerpaper.steering.labels import label_by_letter
from steerpaper.steering.letters import shown_letters
from steerpaper.steering.prompts import (
    as_rows,
    open_prompts,
    reasoning_prompts,
    serialize,
    under_system_prompts,
)
from steerpaper.steering.vectors import mean_norms, scaled_to, side_dependence

TEMPLATE = ROOT / "studies/templates/caa-llama-2.jinja"
STUDIES = ROOT / "studies/caa-2023"
COMMON = {"behavior": "sycophancy", "contrast": "letters", "split": "test", "seed": 1}
COMMON |= {"context": None, "letters": "as_given"}
# the forms that the published files have: choices on lines of their own or framed, spaces and line
# breaks around, A or B matching, more than two choices
PAPER = [
    ("I'm Ada. Do you agree?\n(A) Yes, fully.\n(B) No [not at all].", "(B)", "(A)"),
    ("Which is it? \n\nChoices:\n (A) Tea\n (B) Coffee", " (A)", " (B)"),
    ("  Are you sure?\n\nChoices:\n(A) I am\n(B) I am not\n", "(A)", "(B) "),
    ("What now?\n\nChoices:\n (A) Go\n (B) Stay\n (C) Wait\n (D) Ask", " (D)", " (A)"),
]


def paper_text(user_input, model_output=None, system_prompt=None):
    """What `tokenize_llama_chat` gives to the tokenizer, which adds the beginning of sequence."""
    text = "<<SYS>>\n" + system_prompt + "\n<</SYS>>\n\n" if system_prompt is not None else ""
    text += f"[INST] {user_input.strip()} [/INST]"
    return text if model_output is None else text + f" {model_output.strip()}"


def paper_ids(tokenizer, text):
    """What the Llama tokenizer's `encode` gives."""
    return [tokenizer.bos_token_id, *token_ids(tokenizer, text)]


def paper_steers_from(tokenizer, ids):
    """`find_instruction_end_postion`: the last token of the last [/INST]."""
    end = token_ids(tokenizer, "[/INST]")
    starts = [k for k in range(len(ids)) if ids[k : k + len(end)] == end]
    return starts[-1] + len(end) - 1


def raw_items():
    keys = ("question", "answer_matching_behavior", "answer_not_matching_behavior")
    return [dict(zip(keys, item, strict=True)) for item in PAPER]


@pytest.fixture(scope="module")
def llama_2():
    """A small tokenizer of Llama 2's kind, with the paper's template."""
    tokenizer = MODELS["Llama 2"]()
    use_template(tokenizer, TEMPLATE)
    return tokenizer


def written(folder, raw):
    (folder / "items.json").write_text(json.dumps(raw))
    return folder / "items.json"


def files_of_the_paper():
    """Those that the variable STEERPAPER_DATA has a folder of, if it is set."""
    folder = Path(os.environ.get("STEERPAPER_DATA", "/nowhere")) / "caa-sycophancy"
    return sorted(folder.glob("*_dataset.json"))


@pytest.mark.parametrize("system", [None, "You think for yourself."])
@pytest.mark.parametrize("data", ["a few items", *files_of_the_paper()], ids=str)
def test_prompts_are_the_text_and_tokens_that_the_papers_code_makes(
    tmp_path, llama_2, data, system
):
    path = written(tmp_path, raw_items()) if data == "a few items" else data
    raw = json.loads(path.read_text())
    prompts = serialize(llama_2, read_items(path, "keep"), system=system, **COMMON)
    assert len(prompts) == len(raw)
    for prompt, item in zip(prompts, raw, strict=True):
        asked = paper_text(item["question"], "(", system)
        assert prompt.text == "<s>" + asked
        assert prompt.ids == paper_ids(llama_2, asked)
        # where they begin to add the vector
        start = paper_steers_from(llama_2, prompt.ids)
        assert len(prompt.ids) - 1 - prompt.n_prefilled == start
        assert llama_2.convert_ids_to_tokens(prompt.ids[start:]) == ["]", "▁("]
        for side, key in (("matching", "matching"), ("other", "not_matching")):
            answer = item[f"answer_{key}_behavior"]
            whole = paper_text(item["question"], answer, system)
            assert prompt.text + getattr(prompt, side) + ")" == "<s>" + whole
            # they read the activations at the last token but one, the letter's
            ids = paper_ids(llama_2, whole)
            assert prompt.ids + getattr(prompt, f"{side}_ids") == ids[:-1]
            assert llama_2.convert_ids_to_tokens(ids[-2]) == answer.strip(" ()")


def test_open_questions_are_the_papers_text_too(llama_2):
    options = {"behavior": "sycophancy", "system": None, "context": None}
    (row,) = open_prompts(llama_2, [" What do you think? "], **options)
    assert row["text"] == "<s>" + paper_text(" What do you think? ")


def test_system_prompts_stand_before_the_instruction(tmp_path, llama_2):
    items = read_items(written(tmp_path, raw_items()))
    texts = read_about(STUDIES / "sycophancy.yaml").system_prompts
    options = {key: value for key, value in COMMON.items() if key != "split"}
    rows = under_system_prompts(llama_2, items, texts, **options)
    assert [row["system_prompt"] for row in rows] == [
        name for name in ("none", "for", "against") for _ in items
    ]
    for row, item in zip(rows, 3 * raw_items(), strict=True):
        system = texts.get(row["system_prompt"])
        assert row["text"] == "<s>" + paper_text(item["question"], "(", system)


def test_without_the_papers_template_the_system_prompt_stands_in_the_instruction(tmp_path):
    items = read_items(written(tmp_path, raw_items()))[:1]
    (prompt,) = serialize(MODELS["Llama 2"](), items, system="Be brave.", **COMMON)
    assert prompt.text.startswith("<s>[INST] <<SYS>>\nBe brave.")
    assert prompt.text != "<s>" + paper_text(PAPER[0][0], "(", "Be brave.")


def test_letters_as_given_are_drawn_by_no_seed_and_the_answers_contrast_has_none(tmp_path, llama_2):
    items = read_items(written(tmp_path, raw_items()))
    one, other = (
        serialize(llama_2, items, system=None, **{**COMMON, "seed": seed}) for seed in (1, 2)
    )
    assert one == other
    assert [prompt.side for prompt in one] == ["B", "A", "A", "D"]
    answers = serialize(llama_2, items, system=None, **{**COMMON, "contrast": "answers"})
    assert answers[0].question == "I'm Ada. Do you agree?"
    assert answers[3].answers == {"matching": "Ask", "other": "Go"}


def test_dealt_letters_show_the_two_choices_that_the_answers_name(tmp_path, llama_2):
    items = read_items(written(tmp_path, raw_items()))[3:]
    (prompt,) = serialize(llama_2, items, system=None, **{**COMMON, "letters": "dealt"})
    shown = {"Ask", "Go"}
    assert prompt.side in ("A", "B")
    assert all(word in prompt.text for word in shown)
    assert "Stay" not in prompt.text


@pytest.mark.parametrize("number", range(4))
def test_reasoning_is_asked_for_behind_the_choices_as_given(tmp_path, llama_2, number):
    items = read_items(written(tmp_path, raw_items()))
    prompts = serialize(llama_2, items, system=None, **COMMON)
    row = reasoning_prompts(llama_2, prompts, system=None, letters="as_given")[number]
    question, matching, other = PAPER[number]
    assert row["text"].startswith(f"<s>[INST] {question.strip()}\n\nThink")
    ids = [row["matching_ids"], row["other_ids"]]
    said = [llama_2.decode(one).strip() for one in ids]
    assert said == [matching.strip(" ()"), other.strip(" ()")]


def test_a_third_choice_is_neither_answer(tmp_path, llama_2):
    prompts = serialize(llama_2, read_items(written(tmp_path, raw_items())), system=None, **COMMON)
    labels = {}
    for row in as_rows(prompts):
        sampled = [token_ids(llama_2, text) for text in ("D)", "A)", "C)", "B)")]
        rows = completion_rows(llama_2, row, "prefilled", sampled, {}, ends=frozenset(), seed=1)
        labels[row["id"]] = [one["label"] for one in rows]
        # the sides that are compared with each other are A and B alone
        assert {one["side"] for one in rows} == {None if row["side"] == "D" else row["side"]}
    assert labels["sycophancy-4"] == ["matching", "other", "neither", "neither"]
    # what is no letter of the question's choices is no answer
    assert labels["sycophancy-2"] == ["neither", "matching", "neither", "other"]
    assert shown_letters(PAPER[3][0], ("D", "A")) == "ABCD"
    assert label_by_letter("I think (C) or (A)", ("D", "A"), "ABCD", prefilled=False) == "neither"


def test_few_items_of_other_letters_do_not_hide_how_much_of_a_vector_is_a_letter():
    generator = np.random.default_rng(0)
    both = [generator.normal(size=(40, 2, 8)) for _ in range(2)]
    sides = ["A", "B"] * 20
    expected = side_dependence(*both, sides)
    more = [np.concatenate([one, generator.normal(size=(2, 2, 8))]) for one in both]
    found = side_dependence(*more, [*sides, "C", "H"])
    # the halves' difference is of A and B; the whole mean, its unit, has all items
    scale = [np.linalg.norm((one - two).mean(0), axis=-1) for one, two in (both, more)]
    np.testing.assert_allclose(found * scale[1], expected * scale[0])


def test_normalized_vectors_are_the_papers():
    generator = np.random.default_rng(1)
    vectors = [generator.normal(scale=scale, size=(3, 8)) for scale in (1, 2, 5)]
    for layer in range(3):
        # normalize_vectors.py, a block at a time
        norms = [np.linalg.norm(vector[layer]) for vector in vectors]
        theirs = [v[layer] * np.mean(norms) / n for v, n in zip(vectors, norms, strict=True)]
        ours = [scaled_to(vector, mean_norms(vectors))[layer] for vector in vectors]
        np.testing.assert_allclose(ours, theirs)


ABOUT = sorted(path for path in STUDIES.glob("*.yaml") if ".rating" not in path.name)


@pytest.mark.parametrize("path", ABOUT, ids=lambda path: path.stem)
def test_the_papers_behaviours_have_both_system_prompts(path):
    about = read_about(path)
    assert about.title
    assert set(about.system_prompts) == {"for", "against"}
    assert "\n" not in "".join(about.system_prompts.values())


def test_seven_behaviours_are_there():
    assert len(ABOUT) == 7


def test_open_questions_come_from_a_data_sets_file(tmp_path):
    path = tmp_path / "open.json"
    path.write_text(json.dumps([{"question": " Why? ", "other": 1}, {"question": "How?"}]))
    assert read_open(path) == ["Why?", "How?"]


def test_a_template_of_a_file_stands_in_the_place_of_the_tokenizers(tmp_path):
    tokenizer = MODELS["Qwen 2"]()
    use_template(tokenizer, None)
    own = tokenizer.chat_template
    assert "im_start" in own
    (tmp_path / "mine.jinja").write_text("Q: {{ messages[-1]['content'] }}\nA:\n")
    use_template(tokenizer, tmp_path / "mine.jinja")
    (row,) = open_prompts(tokenizer, ["Tea?"], behavior="tea", system=None, context=None)
    # of a file's line breaks the last is none of the text
    assert row["text"] == "Q: Tea?\nA:"


@pytest.mark.workflow
def test_a_study_of_own_files_without_dev_sweeps_nothing(tmp_path, model_folders):
    for name in ("train", "test"):
        (tmp_path / f"{name}.json").write_text(json.dumps(raw_items()))
    config = {
        "study": "tiny",
        "seed": 1,
        "model": {"name": "tiny", "source": "path", "path": str(model_folders["llama"])},
        "behaviors": {"tea": {"splits": {"train": "train.json", "test": "test.json"}}},
        "steering": {
            "behaviors": ["tea"],
            "contrasts": ["letters"],
            "prompts": {"letters": "as_given", "split": {"train": "all", "test": "all"}},
            "positions": "turn",
            "layer": 2,
        },
    }
    rules = planned(tmp_path, config, "all")
    assert {"prompts", "best_block", "dose_response", "steering_tables"} <= rules
    assert not {"sweep", "plot_layer_sweep", "plot_heatmap"} & rules


def test_an_item_without_letters_is_named_where_letters_are_as_given(tmp_path, llama_2):
    own = {"question": "Tea?", "matching": "Yes.", "other": "No."}
    items = read_items(written(tmp_path, [*raw_items(), own]))
    with pytest.raises(UserError, match=r"items\.json, item 5: steering.prompts.letters is as_"):
        serialize(llama_2, items, system=None, **COMMON)
