"""Every family of decoders: found, proved, and equal to plain passes in all that steering computes.

docs/models.md has the table of them; to write it again: python tests/models_table.py
"""

import models_table
import numpy as np
import plain
import pytest
from conftest import mostly_long
from families import FAMILIES, REFUSED, make_family
from test_equality import make_conditions, make_pairs, make_vectors

from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.errors import UserError
from steerpaper.seeds import stream
from steerpaper.steering.activations import read_activations

# each model is proved on plain passes as it is loaded (engine/proof.py); of those that run as llama
# and gpt2 do (test_equality.py) more is long
AS_MOST = f"| {models_table.WAYS[True, True, True]} |"
OTHERS = [name for name, row in models_table.rows_in_docs().items() if AS_MOST not in row]
of_families = pytest.mark.parametrize("family", mostly_long(FAMILIES, *OTHERS), indirect=True)


@pytest.fixture(scope="module", params=FAMILIES)
def family(request, tmp_path_factory, tokenizer_folder):
    """A family's name, its folder, and its model."""
    folder = make_family(tmp_path_factory.mktemp("family"), request.param, tokenizer_folder)
    return request.param, folder, load(folder, device="cpu", dtype="float32", threads=1)


def test_the_table_says_how_it_is_run(family):
    name, _, lm = family
    written = models_table.rows_in_docs()
    assert written[name] == models_table.row(name, lm), "write it again: tests/models_table.py"


def test_the_table_has_all_families_and_no_other():
    assert list(models_table.rows_in_docs()) == list(FAMILIES)


@of_families
def test_scores_and_activations_are_those_of_plain_passes(family):
    _, _, lm = family
    pairs = make_pairs(lm, "answers", 3)
    last = lm.n_layers - 1
    vectors = make_vectors(lm)
    conditions = [
        one if max(one.layers) <= last else Condition((last,), one.direction, one.multiplier)
        for one in make_conditions()
    ]
    unsteered, steered = score(lm, pairs, vectors, conditions, budget=256)
    theirs = plain.scores(lm, pairs, vectors, conditions)
    np.testing.assert_allclose(unsteered, theirs[0], rtol=1e-5, atol=2e-4)
    np.testing.assert_allclose(steered, theirs[1], rtol=1e-5, atol=2e-4)
    # steering does something, so that equality says something
    assert np.abs(steered - unsteered[:, None]).max() > 0.01
    fast, slow = read_activations(lm, pairs, 256), plain.activations(lm, pairs)
    for side, expected in slow.items():
        np.testing.assert_allclose(
            fast[side], expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max()
        )


@of_families
def test_completions_are_those_of_plain_passes(family):
    _, _, lm = family
    (pair,) = make_pairs(lm, "answers", 1)
    vectors, n = make_vectors(lm), 5
    steered = Condition((1,), "mean_difference", 1.0)
    decoding = Decoding(n, 1.0, 1.0, 256)
    requests = [Request(pair.text, c, s) for c in (None, steered) for s in (None, ("a draw",))]
    found = complete(lm, requests, vectors, decoding)
    uniform = stream("a draw").random(n)
    for request, completion in zip(requests, found, strict=True):
        if request.stream is None:
            theirs = plain.greedy(lm, pair.text, request.condition, vectors, n)
        else:
            theirs = plain.sampled(lm, pair.text, request.condition, vectors, n, uniform, 1.0)
        assert completion == theirs


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_steered_is_refused_with_the_reason(name, tmp_path, tokenizer_folder):
    folder = make_family(tmp_path, name, tokenizer_folder)
    with pytest.raises(UserError, match=REFUSED[name][2]):
        load(folder, device="cpu", dtype="float32", threads=1)
