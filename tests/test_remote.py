"""A model that runs elsewhere gives what it gives here, and what fails on the way is said.

nnsight's own simulation serializes a request and runs it without the project's modules.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from families import configuration
from test_ablations import make_ablations
from test_equality import make_conditions, make_pairs, make_vectors
from test_lookups_equality import NEURONS, make_prompts
from transformers import AutoModelForCausalLM

from steerpaper.engine.condition import Condition
from steerpaper.engine.finding import find
from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.gradients import item_gradients
from steerpaper.engine.how import PLAIN, How
from steerpaper.engine.proof import load, prove
from steerpaper.engine.recorded import recording
from steerpaper.engine.remote import Remote
from steerpaper.engine.score import score
from steerpaper.engine.service import _found, simulated, where_of
from steerpaper.engine.there import _logits
from steerpaper.engine.unembed import after_unembedding
from steerpaper.errors import UserError
from steerpaper.lookups.ablations import ablate
from steerpaper.lookups.top_activations import top_activations
from steerpaper.lookups.truncation import last_activations
from steerpaper.steering.activations import read_activations


@pytest.fixture(params=["llama", "gpt2"])
def lm(request, load_tiny):
    return load_tiny(request.param)


class Sent:
    """Requests to nnsight's simulation, counted."""

    def __init__(self, lm):
        self._send = simulated(lm.nn, where_of(lm.nn._module, lm.where))
        self.programs, self.found = [], []

    def __call__(self, programs):
        self.programs.append(programs)
        answers = self._send(programs)
        self.found += [found for answer in answers for found in answer]
        return answers


@pytest.fixture
def sent(lm):
    return Sent(lm)


@pytest.fixture
def there(lm, sent):
    """The same model, run elsewhere."""
    remote = Remote(lm.nn._module, lm.where, sent)
    return replace(lm, how=How(reuse=False), remote=remote, _shared={})


def same(ours, theirs, scale=1.0):
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * scale)


def test_activations_are_the_same(lm, there, sent):
    here = read_activations(lm, make_pairs(lm, "answers"), 512)
    found = read_activations(there, make_pairs(lm, "answers"), 4096)
    assert set(found) == set(here)
    for name, values in here.items():
        assert np.abs(values).max() > 0.1
        same(found[name], values, np.abs(values).max())
    # means over tokens come back, of every block: not what they are means of
    results = [len(wanted) for programs in sent.programs for _, _, wanted in programs]
    assert results == [lm.n_layers] * len(results)


@pytest.mark.parametrize("positions", ["response", "all"])
def test_scores_are_the_same_and_all_blocks_go_in_one_request(lm, there, sent, positions):
    pairs, vectors = make_pairs(lm, "letters"), make_vectors(lm)
    conditions = make_conditions(positions)
    here = score(lm, pairs, vectors, conditions, budget=512)
    found = score(there, pairs, vectors, conditions, budget=8192)
    assert np.abs(here[1] - here[0][:, None]).max() > 0.1
    for ours, theirs in zip(found, here, strict=True):
        same(ours, theirs)
    # unsteered and steered, of rows of all widths; blocks share passes where those have few tokens
    assert len(sent.programs[0]) % {"response": 1 + 2, "all": 1 + 4}[positions] == 0
    assert len(sent.programs) <= 2


def test_completions_are_the_same_greedy_and_seeded(lm, there, sent):
    vectors = make_vectors(lm)
    prompts = [pair.text for pair in make_pairs(lm, "answers", 3)]
    conditions = [None, Condition((1,), "mean_difference", 2.0), Condition((0, 3), "random-0", 1.0)]
    requests = [
        Request(prompt, condition, stream)
        for number, prompt in enumerate(prompts)
        for condition in conditions
        for stream in (None, (0, "test", number))
    ]
    decoding = Decoding(6, temperature=0.9, top_p=0.8, budget=4096)
    here = complete(lm, requests, vectors, decoding)
    assert len({tuple(one) for one in here}) > 6
    assert complete(there, requests, vectors, decoding) == here
    # a request a step
    assert len(sent.programs) <= 6
    # a number a row comes back, not its logits
    assert all(found.shape[1:] == (1,) for found in sent.found)


def test_gradients_are_the_same(lm, there):
    pairs = make_pairs(lm, "letters", 4)
    here = item_gradients(lm, pairs, "response", 512)
    found = item_gradients(there, pairs, "response", 4096)
    assert np.abs(here).max() > 1e-3
    same(found, here, max(1.0, np.abs(here).max()))


def test_neurons_and_heads_are_read_and_taken_out_there_too(lm, there):
    prompts = make_prompts(12)
    here = top_activations(lm, NEURONS, prompts, k=3, bos=True, budget=512)
    found = top_activations(there, NEURONS, prompts, k=3, bos=True, budget=4096)
    assert found.prompt.tolist() == here.prompt.tolist()
    assert found.position.tolist() == here.position.tolist()
    same(found.activation, here.activation, np.abs(here.activation).max())
    neurons = [(layer, number) for layer, numbers in NEURONS.items() for number in numbers]
    rows = prompts[: len(neurons)]
    last = [last_activations(one, neurons, rows, bos=True, budget=4096) for one in (lm, there)]
    same(last[1], last[0], max(1.0, np.abs(last[0]).max()))
    for site, units in (("heads", 4), ("neurons", 64)):
        ablations = make_ablations(site, units)
        here, found = (ablate(one, ablations, budget=2048) for one in (lm, there))
        assert np.abs(here.logprob - here.ablated_logprob).max() > 1e-3
        for ours, theirs in zip(vars(found).values(), vars(here).values(), strict=True):
            same(ours, theirs, max(1.0, np.abs(theirs).max()))


def test_it_is_proved_where_it_runs(there, sent):
    proved, checks = prove(there)
    assert proved.how == How(reuse=False)
    assert [check.holds for check in checks] == [True] * 6

    def not_steering_batches(programs):
        for steps, given, _ in programs:
            for kind, _, _, one, _ in steps:
                if kind == "pass" and len(given[one["inputs"]["input_ids"]][0]) > 1:
                    for site in one["sites"]:
                        site["edited"] = None
        return sent(programs)

    remote = Remote(there.nn._module, there.where, not_steering_batches)
    proved, checks = prove(replace(there, remote=remote, _shared={}))
    assert proved.how == PLAIN
    failed = {check.check for check in checks if not check.holds}
    assert failed
    assert all("steered" in what for what in failed)


def test_a_model_of_another_type_there_is_refused(there):
    half = replace(there, remote=Remote(there.nn._module, there.where, _in_bfloat16))
    with pytest.raises(UserError, match=r"runs in bfloat16 at NDIF.*set dtype: bfloat16"):
        prove(half)


def _in_bfloat16(programs):
    return [[torch.zeros(1, 32).bfloat16() for _ in wanted] for _, _, wanted in programs]


def test_what_needs_numbers_on_the_way_is_refused():
    with recording() as tape:
        x = tape.new(torch.empty(2, 3, device="meta"))
        for look in (
            lambda: x[x > 0],
            lambda: x.sum().item(),
            lambda: torch.zeros(2, 3).add_(x),
            lambda: bool(x.any()),
        ):
            with pytest.raises(UserError, match=r"model\.remote"):
                look()


def test_a_vector_for_many_rows_is_sent_once_and_products_are_made_there():
    rows, width = 100, 512
    vector, strength = torch.randn(1, 1, width), torch.rand(rows, 20, 1)
    push = vector.expand(rows, 1, width).clone()
    with recording() as tape:
        hidden = tape.new(torch.empty(rows, 20, width, device="meta"))
        steered = hidden + strength * push
        _, given, _ = tape.program([steered])
    sent = sum(rows.nbytes + (0 if at is None else at.nbytes) for rows, at in given)
    assert sent < strength.nbytes + 2 * vector.nbytes + 8 * rows
    (packed,) = [one for one in given if one[1] is not None]
    assert torch.equal(packed[0][packed[1]], push)


@pytest.mark.parametrize("name", ["gpt2", "falcon, new", "gemma3_text", "qwen2_moe", "deepseek_v3"])
def test_parts_are_found_without_weights(name, tmp_path):
    config = configuration(name)
    config.save_pretrained(tmp_path)
    torch.manual_seed(0)
    module = AutoModelForCausalLM.from_config(config).eval()
    assert _found(tmp_path, name) == find(module, name)


@pytest.mark.parametrize("name", ["llama", "gpt2", "gemma2"])
def test_logits_are_in_float32_there_too(model_folders, name):
    lm = load(model_folders[name], device="cpu", dtype="bfloat16", threads=1)
    where = where_of(lm.nn._module, lm.where)
    residual = torch.randn(3, 5, lm.width, generator=torch.Generator().manual_seed(0)).bfloat16()
    after = after_unembedding(lm.nn._module.config.get_text_config())
    # a service's automatic casts would round products to eight bits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = after(_logits(lm.nn, where, residual))
    assert found.dtype == torch.float32
    assert torch.allclose(found, lm.readout(residual), rtol=1e-5, atol=1e-5)
