"""The plain way: one sequence at a time, transformers' own forward pass with hooks, no cache.

Slow and obviously right: what the library's fast paths are compared with.
"""

import numpy as np
import torch

# what the engine's interventions do, written anew, on hidden states [token, d]
INTERVENTIONS = {
    "add": lambda hidden, direction, strength: hidden + strength * direction,
}


def forward(lm, ids, changes=None):
    """Logits [token, V] and the residual stream after every block [L, token, d].

    `changes` has, per block, what becomes of the residual stream after it [token, d].
    """
    residuals = {}

    def hook(layer):
        def change(module, inputs, output):
            # some blocks return more than the residual stream
            hidden, *rest = output if isinstance(output, tuple) else (output,)
            if changes and layer in changes:
                hidden = changes[layer](hidden[0])[None]
            residuals[layer] = hidden[0].clone()
            return (hidden, *rest) if isinstance(output, tuple) else hidden

        return change

    handles = [
        block._module.register_forward_hook(hook(layer)) for layer, block in enumerate(lm.blocks)
    ]
    try:
        with torch.no_grad():
            ids = torch.tensor([list(ids)])
            logits = lm.nn._module(input_ids=ids, use_cache=False).logits[0]
    finally:
        for handle in handles:
            handle.remove()
    return logits, torch.stack([residuals[layer] for layer in range(lm.n_layers)])


def activations(lm, pairs):
    """Mean residual stream over each continuation, [pair, L, d], and mean norm, [pair, L]."""
    found = {}
    for side in ("matching", "other"):
        rows, norms = [], []
        for pair in pairs:
            _, residual = forward(lm, pair.text + getattr(pair, side))
            tokens = residual[:, len(pair.text) :]
            rows.append(tokens.mean(dim=1).numpy())
            norms.append(np.mean([[t.norm() for t in block] for block in tokens], axis=1))
        found |= {side: np.array(rows), f"{side}_norms": np.array(norms)}
    return found


def steering(condition, vectors, length, start, prefilled=0):
    """What becomes of the residual stream, per block; the last prompt token is at `start`.

    So many of the prompt's tokens are `prefilled`: they stand behind the user's turn.
    """
    where = torch.zeros(length, 1)
    if condition.positions == "all":
        where[:] = 1
    elif condition.positions == "last":
        where[start] = 1
    elif condition.positions == "turn":
        where[start - prefilled :] = 1
    else:
        where[start:] = 1
    intervene = INTERVENTIONS[condition.intervention]
    vector = torch.tensor(np.asarray(vectors[condition.direction]), dtype=torch.float32)
    return {
        layer: lambda h, layer=layer: intervene(h, vector[layer], where * condition.multiplier)
        for layer in condition.layers
    }


def logprob(lm, text, continuation, changes=None):
    """Sum of the log-probabilities of the continuation's tokens."""
    logits, _ = forward(lm, text + continuation, changes)
    logprobs = torch.log_softmax(logits.double(), dim=-1)
    return sum(
        logprobs[len(text) - 1 + index, token].item() for index, token in enumerate(continuation)
    )


def scores(lm, pairs, vectors, conditions):
    """Unsteered [pair, 2] and steered [pair, condition, 2] log-probabilities."""
    unsteered = np.zeros((len(pairs), 2))
    steered = np.zeros((len(pairs), len(conditions), 2))
    for i, pair in enumerate(pairs):
        for side, continuation in enumerate((pair.matching, pair.other)):
            unsteered[i, side] = logprob(lm, pair.text, continuation)
            length = len(pair.text) + len(continuation)
            for c, condition in enumerate(conditions):
                start = len(pair.text) - 1
                changes = steering(condition, vectors, length, start, pair.prefilled)
                steered[i, c, side] = logprob(lm, pair.text, continuation, changes)
    return unsteered, steered


def greedy(lm, prompt, condition, vectors, max_new_tokens, prefilled=0):
    """Token by token with full forward passes."""
    choose = lambda logits, step: int(logits.argmax())  # noqa: E731
    return written(lm, prompt, condition, vectors, max_new_tokens, prefilled, choose)


def sampled(lm, prompt, condition, vectors, max_new_tokens, uniform, temperature):
    """The same, each token drawn: where the sum of probabilities passes its uniform number."""

    def choose(logits, step):
        mass = torch.softmax(logits.double() / temperature, dim=-1).cumsum(-1)
        return int((mass <= uniform[step] * mass[-1]).sum())

    return written(lm, prompt, condition, vectors, max_new_tokens, 0, choose)


def written(lm, prompt, condition, vectors, max_new_tokens, prefilled, choose):
    """Token ids that `choose` takes of the last logits, step by step."""
    ids, start = list(prompt), len(prompt) - 1
    for step in range(max_new_tokens):
        steered = condition and steering(condition, vectors, len(ids), start, prefilled)
        changes = steered or {}
        logits, _ = forward(lm, ids, changes)
        token = choose(logits[-1], step)
        if token in lm.ends:
            break
        ids.append(token)
    return ids[len(prompt) :]
