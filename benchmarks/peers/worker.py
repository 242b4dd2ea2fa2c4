"""A peer at work, in its own environment: `python worker.py NAME MODEL`, asked line by line.

It reads one JSON object a line (rows of token ids, and where to put what it found) and answers with
the CPU seconds that it took, so that both sides run in turn, on one thread.
"""

import json
import os
import sys
import time

os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}

import numpy as np
import torch

BATCH = 8


def steering_vectors(folder):
    """Mean differences of the last tokens' residual streams, after every block: [L, d]."""
    from steering_vectors import SteeringVectorTrainingSample, train_steering_vector
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    config = AutoConfig.from_pretrained(folder)
    # a key of transformers 5, by the name that it had before
    rope = getattr(config, "rope_parameters", None) or {}
    config.rope_theta = rope.get("rope_theta", config.rope_theta)
    model = AutoModelForCausalLM.from_pretrained(folder, config=config, torch_dtype=torch.float32)
    # the class that the folder names is one of transformers 5
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)

    def work(matching, other):
        texts = [[tokenizer.decode(ids) for ids in rows] for rows in (matching, other)]
        for rows, said in zip((matching, other), texts, strict=True):
            assert [tokenizer(text).input_ids for text in said] == rows, "other tokens"
        samples = [SteeringVectorTrainingSample(*pair) for pair in zip(*texts, strict=True)]
        start = time.process_time()
        found = train_steering_vector(model, tokenizer, samples, batch_size=BATCH)
        seconds = time.process_time() - start
        vectors = found.layer_activations
        return seconds, np.stack([vectors[layer].numpy() for layer in sorted(vectors)])

    return work


def transformer_lens(folder):
    """The same by TransformerLens, every row's residual stream cached."""
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(folder, device="cpu", dtype=torch.float32)
    names = [f"blocks.{layer}.hook_out" for layer in range(model.cfg.n_layers)]

    def means(rows):
        found = []
        for begin in range(0, len(rows), BATCH):
            batch = rows[begin : begin + BATCH]
            ids = torch.zeros(len(batch), max(map(len, batch)), dtype=torch.long)
            mask = torch.zeros_like(ids)
            for row, tokens in enumerate(batch):
                ids[row, : len(tokens)], mask[row, : len(tokens)] = torch.tensor(tokens), 1
            _, cache = model.run_with_cache(ids, attention_mask=mask, names_filter=names)
            last = torch.arange(len(batch)), mask.sum(1) - 1
            found.append(torch.stack([cache[name][last] for name in names], dim=1))
        return torch.cat(found).mean(0)

    def work(matching, other):
        start = time.process_time()
        difference = means(matching) - means(other)
        return time.process_time() - start, difference.numpy()

    return work


def main():
    """Answer until there is no more to answer."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    work = {"steering-vectors": steering_vectors, "transformer-lens": transformer_lens}
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print is no answer
    ask = work[sys.argv[1]](sys.argv[2])
    for line in sys.stdin:
        asked = json.loads(line)
        seconds, found = ask(asked["matching"], asked["other"])
        np.save(asked["to"], found)
        print(json.dumps(seconds), file=out, flush=True)


if __name__ == "__main__":
    main()
