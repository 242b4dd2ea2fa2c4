"""Kinds of prompts that a behaviour, a configuration or a model has not."""

import copy
import json

import yaml
from tiny_models import ROOT

import steering.prompt_kinds_prompts as script
from steerpaper.engine.text import load_tokenizer
from steerpaper.steering.items import Item
from steerpaper.steering.kinds import KINDS
from steerpaper.steering.prompt_kinds import under_kinds
from steerpaper.steering.prompts import as_rows, serialize
from steerpaper.workflow.config import validated
from steerpaper.workflow.job import Job


def _about(system_prompts, file="tea.yaml", kinds=("base", *KINDS)):
    """A behaviour's system prompts, and the file that they stand in."""

    def case(folder, model):
        path = folder / "tea.about.json"
        path.write_text(json.dumps({"system_prompts": system_prompts}))
        settings = {"kinds": list(kinds), "train": "all", "prompts": 2}
        job = Job(
            input={"about": str(path)},
            output={},
            params=settings,
            wildcards={"behavior": "tea"},
            threads=1,
            log=str(folder / "log"),
            how={"about": file},
        )
        script.main(job)

    return case


def _key(name, value):
    """The default study with another value of a key of this part."""

    def case(folder, model):
        config = copy.deepcopy(yaml.safe_load((ROOT / "config.yaml").read_text()))
        config["steering"]["prompt_kinds"] |= {"behaviors": 1, name: value}
        known = {"estimator": ["mean_difference"], "measure": ["logit_diff"]}
        validated(config, ROOT / "config.schema.yaml", known)

    return case


def _text(text, context=None):
    """A text that is put before a question."""

    def case(folder, model):
        tokenizer = load_tokenizer(model)
        options = {"system": None, "seed": 1, "context": context}
        items = [Item("Tea?", "Tea.", "Coffee.", 3, "tea.jsonl, line 3")]
        how = {"behavior": "tea", "contrast": "answers", "split": "test"}
        rows = as_rows(serialize(tokenizer, items, **how, **options))
        where = "behaviors.tea.about (tea.yaml)"
        texts = {"user_for": text}
        under_kinds(tokenizer, {"test": (rows, None)}, texts, where=where, **options)

    return case


CASES = {
    "kinds of prompts for a behaviour without a file about it": _about({}, ""),
    "kinds of prompts for a behaviour without system prompts": _about({}),
    "kinds of prompts for a behaviour with one of both system prompts": _about(
        {"for": "Like tea."}, kinds=("base", "user_against")
    ),
    "a kind of prompts that there is not": _key("kinds", ["base", "user_of"]),
    "a single kind of prompts": _key("kinds", ["base"]),
    "kinds of prompts without base": _key("kinds", ["system_for", "user_for"]),
    "no kinds of prompts": _key("kinds", []),
    "one training item for a kind of prompts": _key("train", 1),
    "some training items for a kind of prompts": _key("train", "some"),
    "a control token in the text of a kind of prompts": _text("Like tea.<|end|>"),
    "a text of a kind of prompts longer than the context": _text("Like tea. " * 40, context=64),
}
