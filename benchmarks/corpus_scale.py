"""What does a corpus ten times as long cost? `python benchmarks/corpus_scale.py [PROMPTS]`.

Runs the rules `corpus` and `max_activations` through Snakemake, on one thread, with PROMPTS train
and as many test prompts (250 by default), then with ten times as many from a file ten times as
long. Prints the wall time, start-up and Snakemake included, what each further prompt costs without
them, and the largest memory that any process of the run had. It needs the default study's model.

Neurons are those of an early block, so that it takes minutes. Below 128 prompts no batch is full,
and memory grows until they are.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "scripts"))

from steerpaper.lookups.raw import stdlib_texts  # noqa: E402
from steerpaper.seeds import stream  # noqa: E402

STUDY = "results/scale/lookups"
RULES = {
    "corpus": f"{STUDY}/corpus.train.jsonl",
    "max_activations": f"{STUDY}/shards/max_activations.0-of-1.parquet",
}


def snakemake(folder: Path, target: str) -> tuple[float, float]:
    """Make a target in a folder: wall time in seconds, and the largest memory (RSS) in MB."""
    command = [sys.executable, "-m", "snakemake", target, "--snakefile", str(ROOT / "Snakefile")]
    command += ["--directory", str(folder), "--cores", "1", "--resources", "gpu=1"]
    with open(folder / "snakemake.log", "w") as log:
        start = time.perf_counter()
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)  # its own memory and its children's
        seconds = time.perf_counter() - start
    if status:
        sys.exit((folder / "snakemake.log").read_text())
    return seconds, used.ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


def write_study(folder: Path, texts: list[str], prompts: int) -> None:
    """A raw file, a tenth longer than the prompts that are drawn from it, and the configuration."""
    used = texts[: prompts * 2 + prompts // 5]
    (folder / "raw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in used))
    config = yaml.safe_load((ROOT / "config.yaml").read_text())
    name = config["model"]["name"]
    config |= {
        "study": "scale",
        "model": {"name": name, "source": "path", "path": str(ROOT / "results/models" / name)},
    }
    corpus = {"source": "file", "file": {"path": "raw.jsonl"}, "train": prompts, "test": prompts}
    config["lookups"]["corpus"] |= corpus
    config["lookups"]["layers"] = [5]
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


def main() -> None:
    """Print a line a rule and size, and what ten times as many prompts cost."""
    few = int(sys.argv[1]) if sys.argv[1:] else 250
    distinct = sorted({raw.text for raw in stdlib_texts()})
    order = stream(1, "corpus scale").permutation(len(distinct))
    texts = [distinct[number] for number in order]
    if 22 * few > len(texts):
        sys.exit(f"the standard library has {len(texts)} texts: ask for {len(texts) // 22} prompts")
    print(f"{'rule':18}{'prompts':>10}{'tokens':>10}{'seconds':>10}{'peak memory':>14}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found: dict[str, list[tuple[float, float]]] = {rule: [] for rule in RULES}
        for prompts in (few, 10 * few):
            write_study(folder, texts, prompts)
            if prompts == few:  # model and neurons do not depend on the corpus
                snakemake(folder, f"{STUDY}/neurons.parquet")
            for rule, target in RULES.items():
                seconds, memory = snakemake(folder, target)
                found[rule].append((seconds, memory))
                tokens = sum(
                    len(json.loads(line)["ids"])
                    for split in ("train", "test")
                    for line in (folder / STUDY / f"corpus.{split}.jsonl").open()
                )
                print(
                    f"{rule:18}{2 * prompts:>10}{tokens:>10}{seconds:>10.1f}{memory:>11.0f} MB",
                    flush=True,
                )
    for rule, ((one, small), (ten, large)) in found.items():
        print(
            f"\n{rule}: ten times the prompts take {ten / one:.1f} times as long, "
            f"{(ten - one) / (18 * few) * 1000:.1f} ms a further prompt, "
            f"and {large / small - 1:+.1%} memory"
        )


if __name__ == "__main__":
    main()
