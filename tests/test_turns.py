"""Prompts stand in the form that a model was trained on: its template's text, its tokens."""

import logging

import pytest
from published_templates import MODELS

from steerpaper.engine import turns
from steerpaper.engine.text import token_ids
from steerpaper.engine.turns import default_system, n_prefilled, render
from steerpaper.errors import UserError
from steerpaper.steering.items import Item
from steerpaper.steering.letters import with_choices
from steerpaper.steering.prompts import (
    reasoning_prompts,
    serialize,
    under_system_prompts,
)

ITEM = Item("Tea?", "Tea.", "Coffee.", 3, "tea.jsonl, line 3")
SMOL = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
QWEN = "You are Qwen, created by Alibaba Cloud. You are a helpful assistant."
VICUNA = "A chat between a curious user and an artificial intelligence assistant."
USER = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
HEADERS = (
    "<|start_header_id|>user<|end_header_id|>\n\n{}<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n"
)
DATED = "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024"
# per model: the prompt with {} in the question's place, and what comes before the answer
TEXTS = {
    "Llama 2": ("<s>[INST] {} [/INST]", " "),
    "Mistral 0.1": ("<s>[INST] {} [/INST]", ""),
    "Mistral 0.3": ("<s>[INST] {}[/INST]", " "),
    "Gemma": ("<bos><start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n", ""),
    "Vicuna": (f"<s>{VICUNA} USER: {{}} ASSISTANT:", " "),
    "Llama 3": (f"<|begin_of_text|>{HEADERS}", ""),
    "Llama 3.1": (
        "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
        f"{DATED}\n\n<|eot_id|>{HEADERS}",
        "",
    ),
    "Qwen 2": (f"<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n{USER}", ""),
    "Qwen 2.5": (f"<|im_start|>system\n{QWEN}<|im_end|>\n{USER}", ""),
    "Qwen 3": (USER + "<think>\n\n</think>\n\n", ""),
    "SmolLM2": (f"<|im_start|>system\n{SMOL}<|im_end|>\n{USER}", ""),
    "Zephyr-like": ("<|user|>\n{}</s>\n<|assistant|>\n", ""),
    "R1-like": ("<s><|User|>{}<|Assistant|><think>\n", ""),
    "no template": ("Input: {}\nResponse:", " "),
    "no template, cl100k": ("Input: {}\nResponse:", " "),
}
# a bracket and a letter are one token, and nothing stands between them and the template's end
WHOLE = {"Llama 3", "Llama 3.1", "Qwen 2", "Qwen 2.5", "Qwen 3"}


@pytest.fixture(params=list(MODELS))
def model(request):
    """A model's name, and its tokenizer."""
    return request.param, MODELS[request.param]()


def prompt_of(tokenizer, contrast, item=ITEM):
    options = {"behavior": "tea", "split": "test", "system": None, "seed": 1, "context": None}
    (prompt,) = serialize(tokenizer, [item], contrast=contrast, **options)
    return prompt


def tokens(tokenizer, ids):
    return tokenizer.convert_ids_to_tokens(ids)


def test_a_prompt_ends_where_the_templates_own_assistants_turn_has_its_answer(model):
    name, tokenizer = model
    before, lead = TEXTS[name]
    turn = render(tokenizer, "Tea?", None, source="line 1")
    assert (turn.text, turn.lead) == (before.format("Tea?"), lead)


def test_prompt_and_answer_are_what_the_template_writes_of_both(model):
    name, tokenizer = model
    prompt = prompt_of(tokenizer, "answers")
    before, lead = TEXTS[name]
    assert prompt.text + prompt.matching == before.format("Tea?") + lead + "Tea."
    if name not in ("R1-like", "no template", "no template, cl100k"):
        said = [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Tea."}]
        whole = tokenizer.apply_chat_template(said, tokenize=False)
        assert whole.startswith(prompt.text + prompt.matching)


def test_the_answers_tokens_are_those_of_text_and_answer_together(model):
    _, tokenizer = model
    for contrast in ("answers", "letters"):
        prompt = prompt_of(tokenizer, contrast)
        for side in ("matching", "other"):
            joint = token_ids(tokenizer, prompt.text + getattr(prompt, side))
            assert prompt.ids + getattr(prompt, f"{side}_ids") == joint
        assert prompt.boundary == "joint"


def test_an_answer_begins_with_the_token_that_it_begins_with_behind_this_template(model):
    name, tokenizer = model
    (first, *_) = tokens(tokenizer, prompt_of(tokenizer, "answers").matching_ids)
    if name in ("Llama 2", "Mistral 0.3", "Vicuna"):
        assert first == "▁Tea"
    elif name.startswith("no template"):
        assert first == "ĠT"
    else:
        assert first in ("Tea", "T")


def test_letters_stand_behind_a_bracket_or_with_it_as_the_tokenizer_has_them(model):
    name, tokenizer = model
    prompt = prompt_of(tokenizer, "letters")
    before, lead = TEXTS[name]
    letter, other = prompt.side, "AB"[prompt.side == "A"]
    first, second = (ITEM.matching, ITEM.other)[:: 1 if letter == "A" else -1]
    text = before.format(f"Tea?\n\nChoices:\n (A) {first}\n (B) {second}")
    if name in WHOLE:
        assert (prompt.text, prompt.matching, prompt.other) == (text, f"({letter}", f"({other}")
    else:
        assert (prompt.text, prompt.matching, prompt.other) == (f"{text}{lead}(", letter, other)
    assert tokens(tokenizer, prompt.matching_ids) == [prompt.matching]
    assert tokens(tokenizer, prompt.other_ids) == [prompt.other]


@pytest.mark.parametrize("name", ["Llama 2", "Mistral 0.3", "Vicuna"])
def test_a_prefilled_bracket_is_one_token_with_the_space_of_the_templates_turn(name):
    tokenizer = MODELS[name]()
    assert tokens(tokenizer, prompt_of(tokenizer, "letters").ids)[-1] == "▁("


def test_reasoning_leads_to_bare_letters_whatever_the_prompt_prefills(model):
    _, tokenizer = model
    prompt = prompt_of(tokenizer, "letters")
    (row,) = reasoning_prompts(tokenizer, [prompt], system=None)
    assert row["bridge"].endswith(" (")
    assert tokens(tokenizer, row["matching_ids"]) == [prompt.side]
    assert f"({prompt.side}) Tea." in row["text"]


def test_an_answer_that_is_in_the_question_is_not_taken_for_the_assistants():
    tokenizer = MODELS["Llama 2"]()
    turn = render(tokenizer, f"{turns.ANSWER} {turns.ANSWER} [/INST]", None, source="line 1")
    assert turn.text == f"<s>[INST] {turns.ANSWER} {turns.ANSWER} [/INST] [/INST]"
    assert turn.lead == " "


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages[0]['content'] }}{# no assistant #}",
        "{% if messages|length > 1 %}{{ raise_exception('one turn only') }}{% endif %}"
        "{{ messages[0]['content'] }}\n",
        "{{ messages[0]['content'] }}{% if not add_generation_prompt %}!{% endif %}",
    ],
)
def test_a_template_without_an_assistants_turn_says_so_once(template, caplog):
    tokenizer = MODELS["Llama 2"]()
    tokenizer.chat_template = template
    with caplog.at_level(logging.WARNING):
        for question in ("Tea?", "Coffee?"):
            turn = render(tokenizer, question, None, source="line 1")
            assert (turn.text.strip(), turn.lead) == (question, "")
    assert len([r for r in caplog.records if "assistant's turn" in r.message]) == 1


# what a template says of the assistant where no system prompt is given
OWN = {
    "Qwen 2": "You are a helpful assistant.",
    **{"Qwen 2.5": QWEN, "SmolLM2": SMOL, "Vicuna": VICUNA},
}


def test_a_templates_own_system_prompt_is_found_and_named(model):
    name, tokenizer = model
    assert default_system(tokenizer) == OWN.get(name)
    options = {"behavior": "tea", "contrast": "answers", "seed": 1, "context": None}
    rows = under_system_prompts(tokenizer, [ITEM], {"for": "Praise tea."}, **options)
    said = {row["system_prompt"]: row.get("system") for row in rows}
    assert list(said) == ["default" if name in OWN else "none", "for", "against"]
    assert next(iter(said.values())) == OWN.get(name, "")


def test_an_empty_system_prompt_takes_the_templates_own_out(model):
    name, tokenizer = model
    plain = render(tokenizer, "Tea?", None, source="test").text
    empty = render(tokenizer, "Tea?", "", source="test").text
    if name in OWN:
        assert OWN[name] in plain
        assert OWN[name] not in empty
    else:
        assert empty == plain


def test_a_template_that_takes_an_empty_system_prompt_for_none_is_refused():
    tokenizer = MODELS["SmolLM2"]()
    tokenizer.chat_template = (
        "<|im_start|>system\n{% if messages[0]['role'] == 'system' and messages[0]['content'] %}"
        "{{ messages[0]['content'] }}{% else %}Be kind.{% endif %}<|im_end|>\n"
        "{{ messages[-1]['content'] }}"
    )
    assert default_system(tokenizer) == "Be kind."
    with pytest.raises(UserError, match="puts its own system prompt"):
        render(tokenizer, "Tea?", "", source="test")


@pytest.mark.parametrize("contrast", ["answers", "letters"])
def test_what_is_prefilled_stands_behind_the_prompt_as_the_template_writes_it(model, contrast):
    name, tokenizer = model
    prompt = prompt_of(tokenizer, contrast)
    shown = prompt.question
    if contrast == "letters":
        shown = with_choices(shown, prompt.answers, prompt.side)
        # a bracket, and what a tokenizer has for the space before it
        assert (prompt.n_prefilled > 0) == (name not in WHOLE)
    turn = token_ids(tokenizer, TEXTS[name][0].format(shown))
    assert prompt.ids[: prompt.n_tokens - prompt.n_prefilled] == turn


@pytest.mark.parametrize(
    ("text", "behind"),
    [([1, 2], 0), ([1, 2, 3], 1), ([1, 2, 3, 4], 2), ([1, 5], 0), ([1, 5, 4], 1)],
)
def test_a_token_that_holds_the_turns_end_and_what_follows_is_the_turns(text, behind):
    assert n_prefilled([1, 2], text) == behind
