"""The lookups study the plain way: one prompt, neuron and head at a time, hooks, no batches."""

import numpy as np
import torch


def watch(lm, ids):
    """Input and output of every module inside the blocks, on one prompt, by (block, path)."""
    seen, handles = {}, []
    for layer, block in enumerate(lm.blocks):
        for path, module in block._module.named_modules():

            def keep(module, inputs, output, key=(layer, path)):
                if inputs and isinstance(output, torch.Tensor):
                    seen[key] = inputs[0][0].clone(), output[0].clone()

            handles.append(module.register_forward_hook(keep))
    try:
        with torch.no_grad():
            lm.nn._module(input_ids=torch.tensor([list(ids)]))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def activations(lm, ids, layer):
    """Neurons' activations of a block: [token, neuron]."""
    return watch(lm, ids)[layer, lm.where.parts.mlp_out][0]


def start(lm, bos):
    return [lm.tokenizer.bos_token_id] if bos else []


def top(lm, neurons, prompts, k, bos):
    """Full sort of every prompt's maximum: [(layer, neuron, [(activation, prompt, position)])]."""
    result = []
    for layer, chosen in neurons.items():
        tables = [
            activations(lm, start(lm, bos) + ids, layer)[len(start(lm, bos)) :] for ids in prompts
        ]
        for neuron in chosen:
            found = []
            for number, table in enumerate(tables):
                column = table[:, neuron].tolist()
                highest = max(column)
                found.append((highest, number, column.index(highest)))
            found.sort(key=lambda entry: (-entry[0], entry[1]))
            result.append((layer, neuron, found[:k]))
    return result


def truncate(lm, layer, neuron, ids, ratio, bos):
    """Bisection over suffix lengths: kept length and activation."""

    def run(length):
        return activations(lm, start(lm, bos) + ids[-length:], layer)[-1, neuron].item()

    original = run(len(ids))
    low, high, value = 1, len(ids), original
    while low < high:
        middle = (low + high) // 2
        got = run(middle)
        if got >= ratio * original:
            high, value = middle, got
        else:
            low = middle + 1
    return high, value


def output_weight(module):
    """[input, output], whichever way the module keeps it."""
    return module.weight.T if isinstance(module, torch.nn.Linear) else module.weight


def input_direction(lm, layer, neuron, normed, published):
    """What the neuron reads of the norm's output [d]; of a gated MLP by autograd."""
    block, parts = lm.blocks[layer]._module, lm.where.parts
    w_in = output_weight(block.get_submodule(parts.mlp_in))[:, neuron]
    if published or not parts.mlp_gate:
        return w_in
    gate, act = block.get_submodule(parts.mlp_gate), block.get_submodule(parts.activation)
    up = block.get_submodule(parts.mlp_in)
    with torch.enable_grad():
        x = normed.clone().requires_grad_()
        value = (act(gate(x)) * up(x))[neuron]
        (gradient,) = torch.autograd.grad(value, x)
    return gradient.detach()


def attribution(lm, layer, neuron, ids, bos, published=False):
    """[block, head] at the last token, every head's residual vector written out."""
    seen, parts = watch(lm, start(lm, bos) + ids), lm.where.parts
    block = lm.blocks[layer]._module
    norm = block.get_submodule(parts.mlp_norm)
    residual, normed = (part[-1] for part in seen[layer, parts.mlp_norm])
    direction = input_direction(lm, layer, neuron, normed, published)
    centred = isinstance(norm, torch.nn.LayerNorm)
    scale = (
        1
        / (residual - residual.mean() * centred)
        .square()
        .mean()
        .add(1e-5 if centred else 1e-6)
        .sqrt()
    )
    if not centred:
        scale = 1 / (residual.square().mean() + norm.variance_epsilon).sqrt()
    last = layer - 1 if published or parallel(lm) else layer
    n_heads = lm.nn._module.config.num_attention_heads
    table = np.zeros((last + 1, n_heads))
    for source in range(last + 1):
        z = seen[source, parts.heads_out][0][-1]
        weight = output_weight(lm.blocks[source]._module.get_submodule(parts.heads_out))
        size = len(z) // n_heads
        for head in range(n_heads):
            part = slice(head * size, (head + 1) * size)
            written = z[part] @ weight[part]
            if centred:
                written = written - written.mean()
            table[source, head] = (written * scale * norm.weight) @ direction
    return table


def parallel(lm):
    return getattr(lm.nn._module.config, "use_parallel_residual", False)
