"""Where weights lie changes no result: several devices, host memory, disk, against one device.

One to three devices are such in name only (tests/devices_in_name.py); tests/test_gpus.py has GPUs.
"""

import json
import logging
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from conftest import mostly_long
from devices_in_name import device, devices_in_name, load_over
from safetensors.torch import load_file, save_file
from tiny_models import LLAMA, ROOT, configurations

from steerpaper.engine import offloaded
from steerpaper.engine.caches import KeysValues
from steerpaper.engine.condition import Condition
from steerpaper.engine.forward import forward
from steerpaper.engine.generate import Decoding, Request, sample_sequences
from steerpaper.engine.gradients import item_gradients
from steerpaper.engine.identities import check_parts
from steerpaper.engine.loading import quantization
from steerpaper.engine.offloaded import hook_of, weight_of, weights_kept_out
from steerpaper.engine.placing import Parts, Placing, lay_out, parts_of
from steerpaper.engine.pretrained import pretrained
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.errors import UserError
from steerpaper.lookups.ablations import Ablation, ablate
from steerpaper.lookups.attribution import head_attribution
from steerpaper.lookups.neurons import model_congruence
from steerpaper.lookups.top_activations import top_activations
from steerpaper.lookups.truncation import Firing, bisect_lengths, truncate
from steerpaper.steering.activations import read_activations
from steerpaper.steering.projection import project

CPU = torch.device("cpu")
BLOCKS = {"gpt2": "transformer.h", "gpt_neox": "gpt_neox.layers"}
# by what two of a tiny model's four blocks need, and one block's room for those that wait, in GB
SEVERAL = {"one device": 1, "two devices": 2, "three devices": 3}
PLACINGS = {
    "disk": lambda some: {"to": "disk"},
    "some on disk": lambda some: {"to": "disk", "cpu_memory": some},
    "some on the host": lambda some: {"to": "cpu", "gpu_memory": some},
}
PLACED = mostly_long(configurations(), "llama")
BEGINNING = [1, 9, 8, 7, 6]
ITEMS = [
    Choice("a", [*BEGINNING, 11, 12, 13], [21, 22, 23], [24, 25]),
    Choice("b", [*BEGINNING, 14, 15], [26], [27]),
    Choice("c", [*BEGINNING, *range(30, 50)], [28, 29], [24, 21, 20, 19]),
]


@pytest.fixture(scope="module")
def sharded(tmp_path_factory, model_folders):
    """The tiny models saved in several safetensors files."""
    from transformers import AutoModelForCausalLM

    def save(name):
        folder = tmp_path_factory.mktemp(f"{name}-sharded")
        shutil.copytree(model_folders[name], folder, dirs_exist_ok=True)
        (folder / "model.safetensors").unlink()
        model = AutoModelForCausalLM.from_pretrained(model_folders[name])
        model.save_pretrained(folder, max_shard_size="60KB")
        assert len(list(folder.glob("model-*.safetensors"))) > 2
        return folder

    return {name: save(name) for name in configurations()}


def some_of(folder, name):
    """GB that all but two of a tiny model's four blocks take."""
    found = parts_of(pretrained(folder, torch.float32, "meta"), BLOCKS.get(name, "model.layers"))
    return (found.ends + 3.5 * max(found.blocks.values())) / 1e9


@pytest.fixture(scope="module")
def load_placed(sharded):
    """A tiny model placed in one of the ways above, once."""
    loaded = {}

    def load_once(name, way):
        if (name, way) not in loaded and way in SEVERAL:
            loaded[name, way] = load_over(sharded[name], SEVERAL[way])
        elif (name, way) not in loaded:
            options = {"device": "cpu", "dtype": "float32", "threads": 1}
            placing = PLACINGS[way](some_of(sharded[name], name))
            loaded[name, way] = load(sharded[name], **options, placing=placing)
        return loaded[name, way]

    return load_once


@pytest.fixture(
    params=mostly_long((*PLACINGS, *SEVERAL), "disk", "some on the host", "two devices")
)
def way(request):
    """Where weights lie; devices in name are there for the whole test."""
    with devices_in_name() if request.param in SEVERAL else nullcontext():
        yield request.param


@pytest.fixture(params=PLACED)
def both(request, way, load_tiny, load_placed):
    """A model on one device, and the same placed: parts of it lie or wait elsewhere."""
    if way in ("one device", "three devices") and request.param != "llama":
        pytest.skip("two devices in name are enough for it")
    placed = load_placed(request.param, way)
    places = {weight.device for weight in placed.nn._module.parameters()}
    blocks = {placed.device_of(layer) for layer in range(4)}
    if way in SEVERAL:
        # a large embedding may fill the first
        assert blocks <= places == {device(number) for number in range(SEVERAL[way])}
        assert len(blocks) > 1 or SEVERAL[way] == 1
    else:
        assert blocks == {CPU}
        assert places == {CPU, torch.device("meta")}, "nothing waits, or even what is no block"
    return load_tiny(request.param), placed


VECTORS = {
    name: np.random.default_rng(seed).standard_normal((4, 32))
    for seed, name in enumerate(("one", "two"))
}


def close(one, other):
    np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


CONDITIONS = [
    *(Condition((layer,), "one", factor) for layer in range(4) for factor in (-1.0, 2.0)),
    Condition((0, 2, 3), "two", 1.0),
    Condition((1,), "two", 0.5, positions="all"),
]


def test_scores_are_the_same(both):
    found = [score(lm, ITEMS, VECTORS, CONDITIONS, budget=256) for lm in both]
    assert np.abs(found[0][1] - found[0][0][:, None]).max() > 0.1, "steering does nothing"
    for one, other in zip(*found, strict=True):
        close(one, other)


def test_activations_and_projections_are_the_same(both):
    one, other = (read_activations(lm, ITEMS, 256) for lm in both)
    assert one.keys() == other.keys()
    for name in one:
        close(one[name], other[name])
    direction = VECTORS["one"][3]
    texts = [item.text for item in ITEMS]
    for one, other in zip(*(project(lm, texts, 3, direction, 256) for lm in both), strict=True):
        close(one, other)


def test_gradients_are_the_same(both):
    one, other = (item_gradients(lm, ITEMS, "response", 256) for lm in both)
    assert np.abs(one).max() > 1e-2
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_samples_are_the_same(both):
    requests = [
        Request(item.text, condition, stream)
        for item in ITEMS
        for condition in (None, CONDITIONS[5], CONDITIONS[8])
        for stream in (None, (1, item.id))
    ]
    decoding = Decoding(8, 1.0, 0.95, 256)
    one, other = (sample_sequences(lm, requests, VECTORS, decoding) for lm in both)
    assert one == other


@pytest.mark.parametrize("name", PLACED)
def test_lookups_are_the_same(name, way, load_tiny, load_placed):
    if way in ("one device", "three devices") and name != "llama":
        pytest.skip("two devices in name are enough for it")
    both = load_tiny(name), load_placed(name, way)
    rows = [item.text[1:] for item in ITEMS]
    neurons = {1: [3, 5], 3: [0, 60]}
    for lm in both:
        check_parts(lm)
    best = [model_congruence(lm, [1, 3]) for lm in both]
    for layer in (1, 3):
        assert (best[0].token[layer] == best[1].token[layer]).all()
        close(best[0].congruence[layer], best[1].congruence[layer])
    close(best[0].token_congruence, best[1].token_congruence)
    # what rows begin with alike they fire on alike: backwards no two do
    backwards = [row[::-1] for row in rows]
    tops = [top_activations(lm, neurons, backwards, k=2, bos=True, budget=256) for lm in both]
    close(tops[0].activation, tops[1].activation)
    assert (tops[0].prompt == tops[1].prompt).all()
    for published in (False, True):
        found = [
            head_attribution(lm, 3, [0, 60, 0], rows, bos=True, budget=256, published=published)
            for lm in both
        ]
        close(*(attribution for attribution, _ in found))
        wanted = [
            Ablation(tuple(row), site, layer, 1, 17)
            for row in rows
            for layer in (0, 3)
            for site in ("heads", "neurons")
        ]
        effects = [ablate(lm, wanted, budget=256, published=published) for lm in both]
        for key in ("logprob", "ablated_logprob", "activation"):
            close(*(getattr(effect, key) for effect in effects))
    firing = [Firing(1, 3, list(rows[2]), 1e-3)]
    cut = [truncate(lm, firing, bisect_lengths, ratio=0.8, bos=True, budget=256) for lm in both]
    assert cut[0][0] == cut[1][0]


def test_bfloat16_reads_out_in_float32_from_where_weights_are(sharded):
    options = {"device": "cpu", "dtype": "bfloat16", "threads": 1}
    one, other = (
        load(sharded["llama"], **options, placing=placing) for placing in (None, {"to": "disk"})
    )
    assert other.dtype == torch.bfloat16
    assert other.like(2).dtype == torch.bfloat16
    found = [score(lm, ITEMS, VECTORS, CONDITIONS, budget=256) for lm in (one, other)]
    for first, second in zip(*found, strict=True):
        close(first, second)


def test_a_waiting_weight_is_read_from_its_own_file(load_tiny, load_placed, sharded):
    placed = load_placed("llama", "disk")
    plain = dict(load_tiny("llama").nn._module.named_parameters())
    files = set()
    for name, weight in placed.nn._module.named_parameters():
        owner, _, own = name.rpartition(".")
        module = placed.nn._module.get_submodule(owner)
        assert torch.equal(weight_of(module, own), plain[name])
        if weight.device.type == "meta":
            index = hook_of(module).weights_map.dataset.index
            files.add(index[name]["safetensors_file"])
    # the model's, not a copy
    assert len(files) > 2
    assert all(file.startswith(str(sharded["llama"])) for file in files)


def test_a_graph_keeps_no_weight_that_waits(load_placed, monkeypatch):
    lm = load_placed("qwen2", "disk")
    module = lm.nn._module
    ids = torch.tensor([[1, 9, 8]])
    matrices = {
        name: weight.shape
        for name, weight in module.model.layers.named_parameters()
        if weight.ndim == 2
    }
    referred, fetched = [], []

    class Noted(offloaded._Reference):
        def __init__(self, *parts):
            super().__init__(*parts)
            referred.append((self.hook.weights_map.prefix + self.name, self.size.numel()))

        def fetched(self):
            fetched.append(self.hook.weights_map.prefix + self.name)
            return super().fetched()

    monkeypatch.setattr(offloaded, "_Reference", Noted)

    def slopes():
        embedded = module.model.embed_tokens(ids).requires_grad_()
        total = module(inputs_embeds=embedded).logits.sum()
        return torch.autograd.grad(total, embedded)[0]

    with torch.enable_grad():
        plain = slopes()
        assert not referred
        with weights_kept_out(module):
            assert torch.equal(slopes(), plain)
    # what goes back through a matrix needs it
    wanted = {f"model.layers.{name}": shape.numel() for name, shape in matrices.items()}
    assert wanted.items() <= dict(referred).items()
    assert wanted.keys() <= {*fetched}
    assert all(type(one.__dict__.get("_hf_hook")).__name__ != "_Noting" for one in module.modules())


@pytest.mark.parametrize(("devices", "crossings"), [(2, 1), (3, 2)])
def test_the_residual_stream_moves_once_to_every_further_device(sharded, devices, crossings):
    with devices_in_name() as mode:
        lm = load_over(sharded["qwen2"], devices)
        mode.moved.clear()
        row = torch.tensor([[1, 9, 8, 7]], device=lm.device)
        mask = torch.ones_like(row)
        forward(lm, row, mask, KeysValues(), logits=lambda x: x[:, -1].cpu())
        residual = [move[:2] for move in mode.moved if move[2] == (1, 4, lm.width)]
        assert residual == [(f"lazy:{k}", f"lazy:{k + 1}") for k in range(crossings)]
        # keys and values stay where their block is
        assert not [move for move in mode.moved if move[2] == (1, 2, 4, 8)]


def test_devices_in_name_do_not_let_two_devices_meet():
    with devices_in_name():
        one, other = torch.ones(3, device=device(0)), torch.ones(3, device=device(1))
        for wrong in (other, torch.ones(3)):
            with pytest.raises(RuntimeError, match="tensors on"):
                one + wrong
        assert (one + other.to(one.device)).tolist() == [2.0] * 3


LEAVES = """
import os, sys
from steerpaper.engine import loading
from steerpaper.engine.proof import load
load(sys.argv[1], device="cpu", dtype="float32", threads=1, placing={"to": "disk"})
folder = loading._folder()
print(folder, len(os.listdir(folder)))
"""


def test_experts_that_wait_are_written_once_and_go_with_the_job(tmp_path, tokenizer_folder):
    """transformers makes one tensor out of those of all experts: no file has it."""
    from transformers import AutoTokenizer, MixtralConfig, MixtralForCausalLM

    torch.manual_seed(0)
    folder = tmp_path / "m"
    config = MixtralConfig(**LLAMA, num_local_experts=4, num_experts_per_tok=2)
    MixtralForCausalLM(config).save_pretrained(folder, max_shard_size="200KB")
    AutoTokenizer.from_pretrained(tokenizer_folder).save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    options = {"device": "cpu", "dtype": "float32", "threads": 1}
    found = [
        score(load(folder, **options, placing=placing), ITEMS, VECTORS, CONDITIONS, budget=256)
        for placing in (None, {"to": "disk"})
    ]
    for one, other in zip(*found, strict=True):
        close(one, other)
    (tmp_path / "tmp").mkdir()
    process = subprocess.run(
        [sys.executable, "-c", LEAVES, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "scripts"), "TMPDIR": str(tmp_path / "tmp")},
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    where, written = process.stdout.split()
    assert where.startswith(str(tmp_path / "tmp/steerpaper-offload-"))
    assert int(written) == 2 * config.num_hidden_layers
    assert not list((tmp_path / "tmp").iterdir())


# the plan, without any device


GPUS = [torch.device("cuda", number) for number in range(4)]


def parts(blocks=8, size=1.0, ends=(1.0, 1.0)):
    inside = {f"layers.{number}": int(size * 1e9) for number in range(blocks)}
    return Parts({"embed": int(ends[0] * 1e9)}, inside, {"head": int(ends[1] * 1e9)})


def placed(where, blocks=8):
    return [where[f"layers.{number}"] for number in range(blocks)]


def test_blocks_are_dealt_evenly_over_the_devices_of_a_job():
    where = lay_out(parts(), GPUS[:2], Placing(gpus=2), [80e9, 80e9])
    assert placed(where) == ["cuda:0"] * 4 + ["cuda:1"] * 4
    assert (where["embed"], where["head"]) == ("cuda:0", "cuda:1")
    # a large embedding takes blocks' place, and so does a device that is in use
    where = lay_out(parts(ends=(4, 0)), GPUS[:2], Placing(gpus=2), [80e9, 80e9])
    assert placed(where) == ["cuda:0"] * 2 + ["cuda:1"] * 6
    where = lay_out(parts(ends=(0, 0)), GPUS[:2], Placing(gpus=2), [20e9, 60e9])
    assert placed(where) == ["cuda:0"] * 2 + ["cuda:1"] * 6


def test_every_device_takes_part_however_many_there_are():
    where = lay_out(parts(80), GPUS, Placing(gpus=4), [40e9] * 4)
    counts = [placed(where, 80).count(str(device)) for device in GPUS]
    assert sum(counts) == 80
    assert max(counts) - min(counts) <= 2
    assert placed(where, 80) == sorted(placed(where, 80))


def test_what_does_not_fit_is_told_with_what_would_help():
    with pytest.raises(UserError, match=r"10\.0 GB.* 2 devices have 3\.0 \+ 3\.0 GB.*gpus_per_job"):
        lay_out(parts(), GPUS[:2], Placing(gpus=2), [3e9, 3e9])
    with pytest.raises(UserError, match=r"offload\.gpu_memory: .* 2\.5 GB .* need 3 GB"):
        lay_out(parts(), GPUS[:1], Placing(to="disk"), [2.5e9])
    with pytest.raises(UserError, match=r"offload\.cpu_memory: 2 GB .* 10 GB .* disk"):
        lay_out(parts(), GPUS[:1], Placing(to="cpu", cpu_memory=2), [5e9])


@pytest.mark.parametrize(
    ("placing", "expected"),
    [
        # one block's room is left for those that run in turn
        (Placing(to="cpu"), {"cuda:0": 2, "host": 6}),
        (Placing(to="disk"), {"cuda:0": 2, "disk": 6}),
        (Placing(to="disk", cpu_memory=3), {"cuda:0": 2, "host": 3, "disk": 3}),
    ],
)
def test_devices_are_filled_first_then_the_host_then_the_disk(placing, expected):
    where = placed(lay_out(parts(), GPUS[:1], placing, [5e9]))
    assert {place: where.count(place) for place in dict.fromkeys(where)} == expected
    assert list(dict.fromkeys(where)) == list(expected)


def test_nothing_waits_where_all_fits():
    where = lay_out(parts(), GPUS[:2], Placing(gpus=2, to="disk"), [6e9, 6e9])
    assert placed(where) == ["cuda:0"] * 5 + ["cuda:1"] * 3


def test_tied_weights_count_once_and_lie_together(sharded):
    meta = pretrained(sharded["llama"], torch.float32, "meta")
    found = parts_of(meta, "model.layers")
    assert found.first["lm_head"] == 0
    assert "model.rotary_emb" in found.first
    assert list(found.last) == ["model.norm"]
    total = found.ends + sum(found.blocks.values())
    weights = sum(weight.nbytes for weight in meta.parameters())
    assert weights <= total < weights * 1.01
    meta = pretrained(sharded["qwen2"], torch.bfloat16, "meta")
    found, packed = parts_of(meta, "model.layers"), parts_of(meta, "model.layers", "4bit")
    assert {*found.last} == {"model.norm", "lm_head"}
    # nine sixteenths of a byte in the place of two
    assert sum(packed.blocks.values()) < 0.35 * sum(found.blocks.values())


# what is said


def test_the_log_says_where_weights_lie(sharded, caplog):
    caplog.set_level(logging.INFO)
    placing = PLACINGS["some on disk"](some_of(sharded["llama"], "llama"))
    load(sharded["llama"], device="cpu", dtype="float32", threads=1, placing=placing)
    said = [r.getMessage() for r in caplog.records if "blocks" in r.getMessage()]
    assert [line.split(" GB")[0].split(",")[0] for line in said] == [
        "cpu: 2 blocks",
        "disk: 2 blocks",
    ]


def test_several_gpus_are_of_no_account_where_the_cpu_computes(sharded):
    lm = load(sharded["llama"], device="cpu", dtype="float32", threads=1, placing={"gpus": 4})
    assert lm.device == CPU
    assert not any("_hf_hook" in module.__dict__ for module in lm.nn._module.modules())


@pytest.mark.parametrize("quantize", ["4bit", "8bit"])
def test_quantized_weights_are_refused_without_cuda(sharded, quantize):
    with pytest.raises(UserError, match=rf"model\.quantize: {quantize} needs a CUDA device.*cpu"):
        load(sharded["llama"], device="cpu", dtype="float32", threads=1, quantize=quantize)


def test_quantized_weights_are_refused_without_bitsandbytes(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"4bit needs the package bitsandbytes.*lock\.cuda\.txt"):
        quantization("4bit", torch.float16, torch.device("cuda", 0))


def test_a_damaged_model_is_told_alike_wherever_it_would_lie(sharded, tmp_path):
    shutil.copytree(sharded["llama"], tmp_path / "m")
    name = "model.layers.2.mlp.up_proj.weight"
    index = json.loads((tmp_path / "m/model.safetensors.index.json").read_text())["weight_map"]
    tensors = load_file(tmp_path / "m" / index[name])
    del tensors[name]
    save_file(tensors, tmp_path / "m" / index[name], {"format": "pt"})
    some = some_of(sharded["llama"], "llama")
    for placing in (None, {"to": "disk"}, {"to": "cpu", "gpu_memory": some}):
        with pytest.raises(UserError, match=r"1 tensors are missing.*layers\.2\.mlp\.up_proj"):
            load(tmp_path / "m", device="cpu", dtype="float32", threads=1, placing=placing)
