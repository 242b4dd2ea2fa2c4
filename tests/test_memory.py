"""What is large is read block by block: the same bytes, and little memory at 70 billion's width.

A study of 100 behaviours at that width has 63 GB of activations: too long to be read in a test. So
the files of a few behaviours have their full size, and what further behaviours add is measured.
"""

import json
import struct
import subprocess
import sys
import textwrap
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT

from steerpaper.stats import Interval
from steerpaper.steering.estimators import estimates
from steerpaper.steering.first_order import random_signs
from steerpaper.steering.tables.geometry import cosine_behaviors, geometry_tables
from steerpaper.steering.vectors import random_direction, shuffled_direction
from steerpaper.workflow.files import SlicedTensors, read_tensors, write_tensors
from steerpaper.workflow.job import Job


def write_activations(path, items, blocks, width):
    draws = np.random.default_rng(items * blocks * width)
    tensors = {
        name: draws.standard_normal((items, blocks, width)).astype(np.float32) + shift
        for name, shift in (("matching", np.float32(0.3)), ("other", np.float32(0)))
    }
    for name in list(tensors):
        tensors[f"{name}_norms"] = np.linalg.norm(tensors[name], axis=-1)
    write_tensors(path, tensors, {"n": items, "model": "m", "contrast": "answers"})
    return tensors


def make_vectors(folder, controls):
    """Run the script on the folder's activations."""
    sys.path.append(str(ROOT / "scripts/steering"))
    try:
        from vectors import main
    finally:
        sys.path.remove(str(ROOT / "scripts/steering"))
    inputs = {"activations": [str(folder / "activations.safetensors")]}
    outputs = {"vectors": [str(folder / "vectors.safetensors")]}
    params = {"controls": controls, "seed": 3}
    main(Job(inputs, outputs, params, {"behavior": "one"}, threads=1, log=""))
    return read_tensors(*outputs["vectors"])[0]


SIZES = [(7, 3, 16), (60, 2, 576), (24, 3, 40), (13, 2, 37)]


@pytest.mark.parametrize("size", SIZES)
def test_vectors_are_those_of_all_activations_at_once(tmp_path, size):
    both = write_activations(tmp_path / "activations.safetensors", *size)
    found = make_vectors(tmp_path, controls=3)
    sides = both["matching"], both["other"]
    whole = estimates(*sides)
    vector = whole["mean_difference"]
    norms = np.linalg.norm(vector, axis=1)
    for number, signs in enumerate(random_signs(3, size[0], 3, "one")):
        whole[f"random-{number}"] = random_direction(vector, 3, "one", number)
        whole[f"shuffled-{number}"] = shuffled_direction(*sides, norms, signs)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        assert found[name].tobytes() == value.astype(np.float32).tobytes(), name


def test_the_geometry_of_files_is_that_of_arrays(tmp_path):
    arrays, files, vectors, prompts = {}, {}, {}, {}
    for number, behavior in enumerate(["one", "two"]):
        path = tmp_path / f"{behavior}.safetensors"
        name = behavior, "answers"
        arrays[name] = write_activations(path, 9 + number, 4, 24)
        files[name] = SlicedTensors(path)
        vectors[name] = {"mean_difference": (arrays[name]["matching"]).mean(axis=0)}
        prompts[name] = [{"side": "AB"[k % 2]} for k in range(9 + number)]
    how = {"interval": Interval(seed=1, resamples=100, confidence=0.95), "layers": [0, 3]}
    one = geometry_tables(arrays, vectors, prompts, **how)
    two = geometry_tables(files, vectors, prompts, **how)
    for key, table in one.items():
        pd.testing.assert_frame_equal(table, two[key], check_exact=True)
    assert np.isfinite(one["norms"]["side_share"]).all()


def test_a_slice_on_disk_is_the_array_s(tmp_path):
    both = write_activations(tmp_path / "a.safetensors", 5, 4, 8)
    sliced = SlicedTensors(tmp_path / "a.safetensors")
    assert set(sliced) == both.keys()
    assert len(sliced) == 4
    assert sliced.metadata["n"] == 5
    np.testing.assert_array_equal(sliced["other"][:, 2:3], both["other"][:, 2:3])
    np.testing.assert_array_equal(sliced["other_norms"][:], both["other_norms"])
    with pytest.raises(KeyError):
        sliced["nothing"]


BLOCKS, WIDTH, ITEMS = 80, 8192, 60


def sparse_tensors(path, shapes, metadata):
    """A safetensors file of zeros that takes no room, but for a few numbers a block."""
    begin, header = 0, {"__metadata__": {"steerpaper": json.dumps(metadata)}}
    for name, shape in shapes.items():
        end = begin + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
        begin = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text)
        start = out.tell()
        out.truncate(start + begin)
        draws = np.random.default_rng(1)
        for name, shape in shapes.items():
            rows = int(np.prod(shape[:-1]))
            for row in range(rows):
                numbers = draws.standard_normal(4).astype(np.float32) + 1
                out.seek(start + header[name]["data_offsets"][0] + 4 * row * shape[-1])
                out.write(numbers.tobytes())


def activations_of(path):
    whole, norms = (ITEMS, BLOCKS, WIDTH), (ITEMS, BLOCKS)
    shapes = {"matching": whole, "other": whole, "matching_norms": norms, "other_norms": norms}
    sparse_tensors(path, shapes, {"n": ITEMS, "contrast": "answers"})


def peak(code, folder):
    """Megabytes that Python code takes at most, in a process of its own."""
    if not Path("/proc/self/status").exists():
        pytest.skip("a process's own peak is read as Linux tells it")
    lines = f"import sys\nsys.path[:0] = [{str(ROOT / 'scripts')!r}]\n"
    lines += textwrap.dedent(code)
    # its own: what the kernel counts for rusage begins with the parent's
    lines += "\nstatus = open('/proc/self/status').read()\n"
    lines += "print(int(status.split('VmHWM:')[1].split()[0]))\n"
    found = subprocess.run(
        [sys.executable, "-c", lines], cwd=folder, capture_output=True, text=True, check=True
    )
    return int(found.stdout.split()[-1]) / 1024


GEOMETRY = """
from steerpaper.stats import Interval
from steerpaper.steering.tables.geometry import geometry_tables
from steerpaper.workflow.files import in_parts
names = [(f"b{k}", "answers") for k in range(%d)]
vectors = {{name: in_parts("vectors.safetensors") for name in names}}
activations = {{name: in_parts("activations.safetensors") for name in names}}
prompts = {{name: [{{"side": "AB"[k %% 2]}} for k in range(60)] for name in names}}
geometry_tables(activations, vectors, prompts, interval=Interval(1, 200, 0.95), layers=[40])
""".replace("{{", "{").replace("}}", "}")


def bytes_of_a_pair():
    """What a row of the cosines of every two behaviours takes while the table is made."""
    vectors = {(f"b{k}", "answers"): np.ones((20, 2), np.float32) for k in range(10)}
    tracemalloc.start()
    table = cosine_behaviors(vectors)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most / len(table)


@pytest.mark.long
def test_geometry_of_a_hundred_behaviors_at_70_billion_s_width_stays_below_4_gb(tmp_path):
    activations_of(tmp_path / "activations.safetensors")
    sparse_tensors(
        tmp_path / "vectors.safetensors", {"mean_difference": (BLOCKS, WIDTH)}, {"n": ITEMS}
    )
    few, more = (peak(GEOMETRY % behaviors, tmp_path) for behaviors in (1, 3))
    # both contrasts of a hundred behaviours, and a row for every two of them, at every block
    each = (more - few) / 2
    rows = 2 * 100**2 * BLOCKS * bytes_of_a_pair() / 1e6
    assert few + 199 * each + rows < 4000, (few, each, rows)
    # one behaviour's file, mapped, and not a copy of it in float64
    assert few < 1000


@pytest.mark.long
def test_a_behavior_s_vectors_at_70_billion_s_width_stay_below_1_gb(tmp_path):
    activations_of(tmp_path / "activations.safetensors")
    code = """
    sys.path[:0] = [sys.path[0] + "/steering"]
    from vectors import main
    from steerpaper.steering import estimators
    from steerpaper.workflow.job import Job
    # the probe takes minutes at this width, and no memory that the others do not take
    estimators.NAMES.remove("probe")
    vectors = ["answers", "letters"]
    files = {"activations": ["activations.safetensors"] * 2}, {"vectors": vectors}
    main(Job(*files, {"controls": 20, "seed": 1}, {"behavior": "one"}, threads=1, log=""))
    """
    assert peak(code, tmp_path) < 1000
