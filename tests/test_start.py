"""The start of a job: what it imports and what not, and that this changes no number."""

import json
import shutil
import subprocess
import sys
import textwrap

import pytest
from conftest import ROOT
from tiny_models import name_model

# what no job of the embedded model uses, and half of its start went into
UNUSED = {
    *("pandas", "pyarrow", "scipy", "sklearn", "sympy", "triton", "accelerate", "matplotlib"),
    *("torch._dynamo", "torch._inductor", "torch.export", "torch.distributed.tensor"),
    *("torch.distributed.fsdp", "torch._meta_registrations", "torch.ao"),
    "transformers.loss.loss_for_object_detection",
    "transformers.generation.continuous_batching",
}


def in_a_process(code, *arguments):
    """What code prints last, as JSON, in a process of its own."""
    lines = f"import sys\nsys.path[:0] = [{str(ROOT / 'scripts')!r}, {str(ROOT / 'tests')!r}]\n"
    process = subprocess.run(
        [sys.executable, "-c", lines + textwrap.dedent(code), *map(str, arguments)],
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


ACTIVATIONS = """
import json
from steerpaper.engine.model import load_manifest
from steerpaper.engine.text import Choice
from steerpaper.steering.activations import read_activations
from steerpaper.workflow.files import write_tensors
lm, _ = load_manifest(sys.argv[1] + "/engine.json", device="cpu", dtype="float32", threads=1)
found = read_activations(lm, [Choice("a", [5, 6, 7], [8, 9], [10])], 100)
write_tensors(sys.argv[2] + "/a.safetensors", found, {})
from steerpaper.engine.lean import FINDER, Named
real = [name for name, module in sys.modules.items() if not isinstance(module, Named)]
print(json.dumps([FINDER in sys.meta_path, real]))
"""


@pytest.fixture(scope="module")
def named(model_folders, tmp_path_factory):
    """A tiny model's folder with what rule `engine` makes of it."""
    folder = tmp_path_factory.mktemp("named")
    shutil.copytree(model_folders["llama"], folder, dirs_exist_ok=True)
    return name_model(folder)


def test_a_job_imports_nothing_that_it_does_not_use(named, tmp_path):
    is_put_off, imported = in_a_process(ACTIVATIONS, named, tmp_path)
    assert is_put_off
    assert {"torch", "transformers", "nnsight"} <= set(imported)
    assert UNUSED & set(imported) == set()


@pytest.mark.long
def test_with_other_versions_nothing_is_put_off_and_all_works(named, tmp_path):
    other = "from steerpaper.engine import lean\n"
    code = "import importlib.metadata as m\nheld = m.version\n"
    code += "m.version = lambda name: '1.0' if name == 'torch' else held(name)\n" + other
    is_put_off, imported = in_a_process(
        code + "assert lean.FINDER not in sys.meta_path\nm.version = held\n" + ACTIVATIONS,
        named,
        tmp_path,
    )
    assert not is_put_off
    assert "torch._dynamo" in imported


NUMBERS = """
import hashlib, json
if sys.argv[1] == "whole":
    import torch._dynamo, torch.export, torch.distributed.tensor, accelerate
import numpy as np
from steerpaper.engine.condition import Condition
from steerpaper.engine.generate import Decoding, Request, complete
from steerpaper.engine.gradients import item_gradients
from steerpaper.engine.lean import FINDER
from steerpaper.engine.proof import load
from steerpaper.engine.score import score
from steerpaper.engine.text import Choice
from steerpaper.steering.activations import read_activations
assert (FINDER in sys.meta_path) == (sys.argv[1] == "lean")
found = {}
for folder in sys.argv[2:]:
    lm = load(folder, device="cpu", dtype="float32", threads=1)
    rng = np.random.default_rng(0)
    items = [
        Choice(str(k), *(rng.integers(3, 500, n).tolist() for n in (9 + k, 3, 2))) for k in range(4)
    ]
    digest = hashlib.sha256()
    for value in read_activations(lm, items, 64).values():
        digest.update(np.ascontiguousarray(value).tobytes())
    vectors = {"behavior": rng.standard_normal((lm.n_layers, lm.width)).astype(np.float32)}
    steered = [Condition((1,), "behavior", 2.0)]
    for value in score(lm, items, vectors, steered, budget=64):
        digest.update(np.ascontiguousarray(value).tobytes())
    for value in np.atleast_1d(item_gradients(lm, items, "response", 64)):
        digest.update(np.ascontiguousarray(value).tobytes())
    requests = [Request(item.text, None, (1, k), item.id) for k, item in enumerate(items)]
    texts = complete(lm, requests, vectors, Decoding(5, 1.0, 0.9, 64, "max_new_tokens"))
    digest.update(json.dumps([list(map(int, ids)) for ids in texts]).encode())
    found[folder] = digest.hexdigest()
assert (FINDER in sys.meta_path) == (sys.argv[1] == "lean")
print(json.dumps(found))
"""


@pytest.mark.long
def test_numbers_are_the_same_whatever_is_imported(model_folders):
    folders = list(model_folders.values())
    lean, whole = (in_a_process(NUMBERS, how, *folders) for how in ("lean", "whole"))
    assert len(lean) == len(folders)
    assert lean == whole


LATE = """
import json
from steerpaper.engine import lean
import torch
from torch.distributed.tensor import Shard
import torch.export
assert isinstance(torch.export, lean.Named)
assert not isinstance(torch.ones(1), Shard)
shard = Shard(1)
assert lean.FINDER not in sys.meta_path
import torch.distributed.tensor
assert type(shard) is torch.distributed.tensor.Shard
assert isinstance(shard, Shard)
compiled = torch.compile(lambda x: x + 1, backend="eager")
print(json.dumps(compiled(torch.ones(2)).tolist()))
"""


def test_what_is_put_off_is_there_when_it_is_used():
    assert in_a_process(LATE) == [2.0, 2.0]


OFFLOADED = """
import json
from steerpaper.engine import lean
import torch
from transformers import AutoModelForCausalLM, LlamaConfig
import transformers.models
assert transformers.models.LlamaConfig is LlamaConfig
ids = torch.tensor([[5, 6, 7, 8]])
plain = AutoModelForCausalLM.from_pretrained(sys.argv[1])(ids).logits
places = {"model.embed_tokens": "cpu", "model.layers.0": "disk", "model.norm": "cpu"}
places |= {f"model.layers.{k}": "cpu" for k in range(1, 4)}
places |= {"model.rotary_emb": "cpu", "lm_head": "cpu"}
moved = AutoModelForCausalLM.from_pretrained(
    sys.argv[1], device_map=places, offload_folder=sys.argv[2]
)
print(json.dumps(float((moved(ids).logits - plain).abs().max())))
"""


def test_weights_are_spread_over_places_by_what_was_put_off(model_folders, tmp_path):
    assert in_a_process(OFFLOADED, model_folders["llama"], tmp_path) < 1e-5


def test_a_job_looks_for_unused_objects_again_once_its_model_is_loaded():
    import gc

    from steerpaper.workflow import garbage

    before = gc.get_freeze_count()
    try:
        garbage.wait()
        assert not gc.isenabled()
        garbage.resume()
        assert gc.isenabled()
        assert gc.get_freeze_count() > before
    finally:
        gc.unfreeze()


def test_snakemakes_own_process_looks_for_unused_objects_seldom_but_does():
    import gc
    import weakref

    from steerpaper.workflow import garbage

    class Unused:
        def __init__(self):
            self.itself = self

    before = gc.get_threshold()
    gc.unfreeze()
    try:
        garbage.seldom()
        assert gc.get_freeze_count() > 0
        found = weakref.ref(Unused())
        # what was made meanwhile may be unused: it is not taken for what lasts
        garbage.seldom()
        more = [[] for _ in range(60_000)]
        assert found() is None
        assert len(more) == 60_000
    finally:
        gc.unfreeze()
        gc.set_threshold(*before)


@pytest.mark.parametrize("name", ["torch", "transformers", "nnsight"])
def test_the_locked_versions_are_those_that_were_tried(name):
    from importlib.metadata import version

    from steerpaper.engine.lean import TRIED

    assert version(name).startswith(TRIED[name]), "try it, and say so in engine/lean.py"


def test_no_draw_is_torch_s():
    # torch.Generator() is made ready by what is put off
    for path in (ROOT / "scripts").rglob("*.py"):
        assert "torch.Generator(" not in path.read_text() or path.name == "lean.py", path
