"""An endpoint's address or key that would be written where others read it."""

import copy

import yaml
from tiny_models import ROOT

from steerpaper.workflow.config import validated

SHOWN = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))


def _endpoint(**changes):
    """The default study, with an endpoint that is changed."""

    def case(folder, model):
        config = copy.deepcopy(SHOWN)
        config["lookups"]["explanations"]["endpoint"] |= changes
        validated(config, ROOT / "config.schema.yaml")

    return case


SECRETS = ("jane", "pw", "sk-live", "hf_Qm3v9ZxY7kL2pTb8wE")
CASES = {
    "a password in the endpoint's address": _endpoint(base_url="https://jane:pw@host/v1"),
    "a password with a slash in the endpoint's address": _endpoint(
        base_url="https://jane:pw/1@host/v1"
    ),
    "a key in the query of the endpoint's address": _endpoint(
        base_url="https://host/v1?api_key=sk-live"
    ),
    "a key behind a # in the endpoint's address": _endpoint(base_url="https://host/v1#sk-live"),
    "an endpoint's address without http": _endpoint(base_url="jane:pw@host/v1"),
    "a line break in the endpoint's address": _endpoint(base_url="https://host/v1\n"),
    "an endpoint's key in the place of its variable": _endpoint(key_variable="sk-live-0123456789"),
    "an endpoint's key that could be a variable's name": _endpoint(
        key_variable="hf_Qm3v9ZxY7kL2pTb8wE"
    ),
    "an endpoint's key under a name of its own": _endpoint(api_key="sk-live"),
}
