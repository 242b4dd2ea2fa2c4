"""Sources that say too little or too much, and servers that do not give what was pinned."""

import copy
import hashlib
from unittest.mock import patch

import httpx
import huggingface_hub
import yaml
from tiny_models import ROOT

from steerpaper.workflow import fetching
from steerpaper.workflow.config import validated
from steerpaper.workflow.fetching import fetch

DEFAULT = yaml.safe_load((ROOT / "config.yaml").read_text())
TEXT = b'{"question": "Tea?", "matching": "Yes.", "other": "No."}\n'
PINNED = hashlib.sha256(TEXT).hexdigest()
ADDRESS = "https://example.org/tea.jsonl"
HUB = {"id": "someone/tea", "revision": "a" * 40}


def _behavior(**behavior):
    """The default study, with a behaviour that is from elsewhere."""

    def case(folder, model):
        config = copy.deepcopy(DEFAULT)
        config["behaviors"]["tea"] = behavior
        validated(config, ROOT / "config.schema.yaml")

    return case


def _answer(response, pinned=PINNED):
    """A file that is fetched from a server which answers so."""

    def stream(method, address, **_):
        client = httpx.Client(transport=httpx.MockTransport(response), follow_redirects=True)
        return client.stream(method, address)

    def case(folder, model):
        source = {"url": ADDRESS, "sha256": pinned}
        with patch.object(httpx, "stream", stream), patch.object(fetching, "PAUSE", 0.0):
            fetch(folder / "tea.jsonl", folder / "tea.json", source, "behaviors.tea.items")

    return case


def _status(status, **headers):
    return _answer(lambda request: httpx.Response(status, headers=headers))


def _no_network(request):
    raise httpx.ConnectError("[Errno -2] Name or service not known", request=request)


def _gated(folder, model):
    request = httpx.Request("GET", "https://huggingface.co/datasets/someone/tea")
    answer = huggingface_hub.errors.GatedRepoError(
        "401 Client Error. Access to dataset someone/tea is restricted.",
        response=httpx.Response(401, request=request),
    )
    with patch.object(huggingface_hub, "snapshot_download", side_effect=answer):
        source = {"hub": {**HUB, "file": "tea.jsonl"}}
        fetch(folder / "tea.jsonl", folder / "tea.json", source, "behaviors.tea.items")


CASES = {
    "a behaviour without items": _behavior(about="data/behaviors/optimism.yaml"),
    "two sources for one behaviour": _behavior(
        items="data/behaviors/optimism.jsonl",
        splits={"train": "train.jsonl", "test": "test.jsonl"},
    ),
    "two places for one file": _behavior(
        items={"path": "data/tea.jsonl", "url": ADDRESS, "sha256": PINNED}
    ),
    "an address without a digest": _behavior(items={"url": ADDRESS}),
    "a digest that is none": _behavior(items={"url": ADDRESS, "sha256": "latest"}),
    "a repository's file at a branch": _behavior(
        items={"github": {"repo": "a/b", "commit": "main", "path": "tea.jsonl", "sha256": PINNED}}
    ),
    "a data set without a revision": _behavior(
        items={"hub": {"id": "someone/tea", "file": "tea.jsonl"}}
    ),
    "a data set without file or split": _behavior(items={"hub": HUB}),
    "a split without columns": _behavior(items={"hub": {**HUB, "split": "train"}}),
    "splits without a test file": _behavior(splits={"train": "data/behaviors/optimism.jsonl"}),
    "another file than was pinned": _answer(lambda _: httpx.Response(200, content=TEXT), "0" * 64),
    "a file that has moved": _status(404),
    "a file that wants an account": _status(401),
    "a server that is too busy": _status(429, **{"Retry-After": "0"}),
    "a file and no network": _answer(_no_network),
    "a gated data set without a token": _gated,
}
