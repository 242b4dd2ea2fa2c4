"""How a model is run by key: tokens a pass, attention, TF32; and how next tokens are chosen."""

import numpy as np
import pytest
import torch

from steerpaper.engine import budget, generate
from steerpaper.engine.budget import LEAST, MOST, budget_of, largest
from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, sample_sequences
from steerpaper.engine.placing import moved
from steerpaper.engine.proof import load
from steerpaper.engine.sampling import draw, nucleus, nucleus_by_sorting
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.errors import UserError

ITEMS = [
    Choice("a", [1, 9, 8, 7, 6, 11, 12, 13], [21, 22, 23], [24, 25]),
    Choice("b", [1, 9, 8, 7, 6, 14], [26], [27]),
]
CPU = {"device": "cpu", "dtype": "float32", "threads": 1}


@pytest.fixture
def folder(model_folders):
    return model_folders["llama"]


def scores(lm):
    rng = np.random.default_rng(0)
    vectors = {"one": rng.standard_normal((lm.n_layers, lm.width)).astype(np.float32)}
    wanted = [Condition((layer,), "one", 1.5) for layer in range(lm.n_layers)]
    return np.concatenate([one.ravel() for one in score(lm, ITEMS, vectors, wanted, budget=64)])


@pytest.mark.parametrize(
    ("rooms", "expected"),
    [
        ([(1e6, 80e9)], 32768),
        # the device with the least room decides
        ([(1e6, 80e9), (4e6, 10e9)], 1024),
        ([(4e6, 17e9)], 2048),
        ([(1e6, 1e6)], LEAST),
        ([(1.0, 80e9)], MOST),
        # nothing was seen to be taken
        ([(0.0, 80e9)], MOST),
        ([], LEAST),
    ],
)
def test_a_pass_takes_half_of_the_free_memory_at_most(rooms, expected):
    found = largest(rooms)
    assert found == expected
    assert found in (LEAST, MOST) or all(found * taken <= free / 2 for taken, free in rooms)


def test_a_number_wins_and_a_cpu_is_given_what_it_ever_was(folder):
    lm = load(folder, **CPU)
    assert [budget_of(lm, asked) for asked in ("auto", 7)] == [1024, 7]


def test_memory_is_measured_with_passes_of_so_many_tokens(folder, monkeypatch):
    lm, asked = load(folder, **CPU), []
    real = budget.forward

    def seen(model, ids, *arguments, **options):
        asked.append(ids.numel())
        return real(model, ids, *arguments, **options)

    peaks = iter([5_000_000, 9_000_000])
    monkeypatch.setattr(budget, "forward", seen)
    for name, value in {
        "memory_allocated": lambda _: 0,
        "reset_peak_memory_stats": lambda _: None,
        "max_memory_allocated": lambda _: next(peaks),
        "mem_get_info": lambda _: (80_000_000, 0),
        "empty_cache": lambda: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    # 4 MB for 1,024 more tokens, and 40 MB to be had
    assert budget._measured(lm) == 8192
    assert asked == [1024, 2048]


def test_attention_is_computed_as_asked_and_finds_the_same(folder):
    ways = [load(folder, **CPU, attention=name) for name in (None, "eager", "sdpa")]
    names = [lm.nn._module.config._attn_implementation for lm in ways]
    assert names == ["sdpa", "eager", "sdpa"]
    own, eager, sdpa = map(scores, ways)
    assert np.array_equal(own, sdpa)
    assert np.abs(own - eager).max() < 1e-4


def test_attention_that_is_not_installed_is_refused(folder):
    with pytest.raises(UserError, match=r"cannot be loaded: .*[Ff]lash"):
        load(folder, **CPU, attention="flash_attention_2")


def test_tf32_is_off_unless_asked_for(folder):
    def is_on():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32

    torch.backends.cudnn.allow_tf32 = True  # as torch has it
    load(folder, **CPU)
    assert is_on() == (False, False)
    load(folder, **CPU, tf32=True)
    assert is_on() == (True, True)
    load(folder, **CPU)
    assert is_on() == (False, False)


def test_a_tensor_of_this_machine_is_moved_as_it_is():
    tensor = torch.arange(3)
    assert moved(tensor, torch.device("cpu")) is tensor


def test_tokens_chosen_on_the_device_are_those_chosen_here(folder, monkeypatch):
    """What comes back from a GPU is the tokens alone: the same path, on this machine's CPU."""
    lm = load(folder, **CPU)
    requests = [
        Request([1, 9, 8, 7, number], None, ("draw", number) if number % 3 else None)
        for number in range(10, 22)
    ]
    here = sample_sequences(lm, requests, {}, Decoding(6, 0.9, 0.8, 64))
    monkeypatch.setattr(generate, "on_device", lambda _: True)
    assert sample_sequences(lm, requests, {}, Decoding(6, 0.9, 0.8, 64)) == here


def test_sorting_keeps_the_tokens_that_looking_keeps():
    rng = torch.Generator().manual_seed(0)
    logits = torch.randn(40, 5000, generator=rng) * torch.linspace(0.1, 8, 40)[:, None]
    uniform = torch.rand(40, generator=rng, dtype=torch.float64)
    for top_p in (0.1, 0.9, 0.999, 1.0):
        assert torch.equal(nucleus(logits, top_p), nucleus_by_sorting(logits, top_p))
        both = [
            draw(logits, torch.arange(40), uniform, 1.0, top_p, keep=keep)
            for keep in (nucleus, nucleus_by_sorting)
        ]
        assert torch.equal(*both)
