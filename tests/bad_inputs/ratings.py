"""Rating files that no judge can be asked by, and ratings that a study cannot have."""

import copy

import yaml
from tiny_models import ROOT

from bad_inputs import file_for
from steerpaper.judges.make import endpoint_judge
from steerpaper.steering.about import read_about
from steerpaper.steering.judged_labels import description
from steerpaper.steering.rating_prompts import read_rating
from steerpaper.workflow.config import validated

SHOWN = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))

_rating = file_for(read_rating, "tea.rating.yaml")
GOOD = "scale: [0, 10]\nprompt: 'Rate. {question} {answer}'\n"


def _study(without=(), **ratings):
    """The default study with ratings of its first behaviour."""

    def case(folder, model):
        config = copy.deepcopy(SHOWN)
        for name in without:
            del config["behaviors"][name]["rating"]
        section = config["steering"]["ratings"]
        config["steering"]["ratings"] = section | {"behaviors": 1} | ratings
        validated(config, ROOT / "config.schema.yaml")

    return case


def _labelled(without=(), **ratings):
    """The default study with labels by a judge, some behaviours without their files about them."""

    def case(folder, model):
        config = copy.deepcopy(SHOWN)
        for name in without:
            del config["behaviors"][name]["about"]
        section = config["steering"]["ratings"]
        config["steering"]["ratings"] = section | {"behaviors": 1, "labels": "judge"} | ratings
        validated(config, ROOT / "config.schema.yaml")

    return case


def _described(path):
    return description(read_about(path), behavior="tea", file=str(path))


def _no_rating_file(folder, model):
    config = copy.deepcopy(SHOWN)
    config["behaviors"]["optimism"]["rating"] = "no.yaml"
    validated(config, ROOT / "config.schema.yaml")


def _more_than_the_cap(folder, model):
    options = {"base_url": "http://localhost:1/v1", "model": "gpt", "key_variable": None}
    options |= {"max_requests": 2, "parallel": 1, "timeout": 1, "retries": 0}
    options |= {"price": {"input": 0, "output": 0}}
    section, fewer = "steering.ratings.endpoint", "steering.completions.samples"
    cache = str(folder / "answers.jsonl")
    judge = endpoint_judge(options, cache, max_new_tokens=9, section=section, fewer=fewer)
    judge.prepare(["Tea?", "Coffee?", "Milk?"])


def _without_its_key(folder, model):
    options = {"base_url": "http://localhost:1/v1", "model": "gpt"}
    options |= {"key_variable": "A_VARIABLE_THAT_IS_NOT_SET", "max_requests": 2, "parallel": 1}
    options |= {"timeout": 1, "retries": 0, "price": {"input": 0, "output": 0}}
    section = "steering.ratings.second.endpoint"
    endpoint_judge(options, "answers.jsonl", max_new_tokens=9, section=section, fewer="")


CASES = {
    "no file": lambda folder, model: read_rating(folder / "tea.rating.yaml"),
    "a file that is not YAML": _rating("scale: [0, 10\n"),
    "an empty file": _rating(""),
    "a text": _rating("Rate this answer.\n"),
    "an unknown key": _rating(GOOD + "ends: [0, 10]\n"),
    "no scale": _rating("prompt: '{question} {answer}'\n"),
    "no prompt": _rating("scale: [0, 10]\n"),
    "a scale that is one number": _rating(GOOD.replace("[0, 10]", "10")),
    "a scale of three numbers": _rating(GOOD.replace("[0, 10]", "[0, 5, 10]")),
    "a scale of words": _rating(GOOD.replace("[0, 10]", "[low, high]")),
    "a scale of booleans": _rating(GOOD.replace("[0, 10]", "[no, yes]")),
    "a scale upside down": _rating(GOOD.replace("[0, 10]", "[10, 0]")),
    "a scale without an end": _rating(GOOD.replace("[0, 10]", "[0, .inf]")),
    "a scale of 400 digits": _rating(GOOD.replace("[0, 10]", f"[0, 1{'0' * 400}]")),
    "a scale from what is no number": _rating(GOOD.replace("[0, 10]", "[.nan, 10]")),
    "a prompt that is a list": _rating("scale: [0, 10]\nprompt: ['{question}', '{answer}']\n"),
    "a prompt without a place for the question": _rating(GOOD.replace("{question}", "")),
    "a prompt without a place for the answer": _rating(GOOD.replace("{answer}", "")),
    "a prompt with a place for something else": _rating(GOOD.replace("Rate.", "Rate {behavior}.")),
    "a prompt with an empty place": _rating(GOOD.replace("Rate.", "Rate {}.")),
    "a prompt with a brace that stays open": _rating(GOOD.replace("Rate.", "Rate {.")),
    "a system message without text": _rating(GOOD + "system: ' '\n"),
    "a behaviour to be rated without a rating file": _study(without=["optimism"]),
    "a rating file that is not there": _no_rating_file,
    "a behaviour to be rated that is not studied": _study(behaviors=["warmth"]),
    "the local judge asked twice": _study(passes=2),
    "a second judge that is the first": _study(second={"judge": "local"}),
    "a second judge that is the first endpoint": _study(judge="openai", second={"judge": "openai"}),
    "a second judge that is an address": _study(second="https://jane:pw@host/v1"),
    "a judge of another kind": _study(judge="gpt-4"),
    "a key in the second judge's endpoint": _study(
        second={"judge": "openai", "endpoint": {"key_variable": "sk-live-0123456789"}}
    ),
    "labels by a judge where nothing is rated": _labelled(behaviors=0),
    "labels by a judge of a behaviour without a file about it": _labelled(without=["optimism"]),
    "labels by somebody else": _labelled(labels="crowd"),
    "labels by a judge of a behaviour that measures nothing": file_for(_described, "tea.yaml")(
        "title: Tea\n"
    ),
    "more requests than are allowed": _more_than_the_cap,
    "a second judge's key that is not set": _without_its_key,
}
