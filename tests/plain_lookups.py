"""The lookups study the plain way: one prompt, neuron and head at a time, hooks, no batches."""

import numpy as np
import plain
import torch


def watch(lm, ids, places=None):
    """Input and output of modules inside the blocks, on one prompt, by (block, path): all, or
    those of `places`."""
    seen, handles = {}, []
    for layer, block in enumerate(lm.blocks):
        for path, module in block._module.named_modules():

            def keep(module, inputs, output, key=(layer, path)):
                if inputs and isinstance(output, torch.Tensor):
                    seen[key] = inputs[0][0].clone(), output[0].clone()

            if places is None or (layer, path) in places:
                handles.append(module.register_forward_hook(keep))
    try:
        with torch.no_grad():
            lm.nn._module(input_ids=torch.tensor([list(ids)]))
    finally:
        for handle in handles:
            handle.remove()
    return seen


def best_token(lm, layer, neuron):
    """The token that a neuron is most congruent with, and how much: the neuron on its own."""
    module, norm = lm.nn._module, lm.nn._module.get_submodule(lm.where.final_norm)
    written = output_weight(lm.blocks[layer]._module.get_submodule(lm.parts.mlp_out))[neuron]
    if isinstance(norm, torch.nn.LayerNorm):
        written = written - written.mean()
    logits = module.get_output_embeddings().weight @ (written * norm.weight)
    logits = logits - logits.mean()
    return int(logits.argmax()), logits.max().item()


def activations(lm, ids, layer):
    """Neurons' activations of a block: [token, neuron]."""
    place = layer, lm.parts.mlp_out
    return watch(lm, ids, [place])[place][0]


def start(lm, bos):
    return [lm.tokenizer.bos_token_id] if bos else []


def top(lm, neurons, prompts, k, bos):
    """Full sort of every prompt's maximum: [(layer, neuron, [(activation, prompt, position)])]."""
    before, path = start(lm, bos), lm.parts.mlp_out
    found = {(layer, neuron): [] for layer, chosen in neurons.items() for neuron in chosen}
    for number, ids in enumerate(prompts):
        seen = watch(lm, before + ids, [(layer, path) for layer in neurons])
        for layer, neuron in found:
            column = seen[layer, path][0][len(before) :, neuron].tolist()
            highest = max(column)
            found[layer, neuron].append((highest, number, column.index(highest)))
    return [
        (layer, neuron, sorted(entries, key=lambda entry: (-entry[0], entry[1]))[:k])
        for (layer, neuron), entries in found.items()
    ]


def truncate(lm, layer, neuron, ids, ratio, bos):
    """Bisection over the first token's position, as Neo et al.: kept length and activation."""

    def run(first):
        return activations(lm, start(lm, bos) + ids[first:], layer)[-1, neuron].item()

    value = original = run(0)
    enough, missed = 0, len(ids) - 1
    while (middle := (enough + missed) // 2) != enough:
        got = run(middle)
        if got > ratio * original:
            enough, value = middle, got
        else:
            missed = middle
    return len(ids) - enough, value


def shortest(lm, layer, neuron, ids, ratio, bos):
    """All suffix lengths from 1 on, one after the other: kept length and activation."""
    original = activations(lm, start(lm, bos) + ids, layer)[-1, neuron].item()
    for length in range(1, len(ids) + 1):
        got = activations(lm, start(lm, bos) + ids[-length:], layer)[-1, neuron].item()
        if got >= ratio * original:
            return length, got
    raise AssertionError("the whole prompt keeps its own activation")


def always_of(lm, layer):
    """What a block's heads give whatever they attend to: values of the norm's bias, and theirs."""
    block, kind = lm.blocks[layer]._module, lm.nn._module.config.model_type
    if kind == "gpt2":
        whole = block.attn.c_attn(block.ln_1.bias)
        return whole[2 * lm.width :]
    if kind == "gpt_neox":
        attention = block.attention
        whole = attention.query_key_value(block.input_layernorm.bias)
        size = lm.width // lm.nn._module.config.num_attention_heads
        return whole.view(-1, 3 * size)[:, 2 * size :].flatten()
    value = block.self_attn.v_proj
    config = lm.nn._module.config
    size = lm.width // config.num_attention_heads
    bias = torch.zeros(value.weight.shape[0]) if value.bias is None else value.bias
    groups = config.num_attention_heads // config.num_key_value_heads
    return bias.view(-1, size).repeat_interleave(groups, dim=0).flatten()


def output_weight(module):
    """[input, output], whichever way the module keeps it."""
    return module.weight.T if isinstance(module, torch.nn.Linear) else module.weight


def input_direction(lm, layer, neuron, normed, published):
    """What the neuron reads of the norm's output [d]; of a gated MLP by autograd."""
    block, parts = lm.blocks[layer]._module, lm.parts
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
    parts, block = lm.parts, lm.blocks[layer]._module
    places = [(source, parts.heads_out) for source in range(layer + 1)]
    seen = watch(lm, start(lm, bos) + ids, [*places, (layer, parts.mlp_norm)])
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
        if published:
            z = z - always_of(lm, source).detach()
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


def ablation(lm, ablation, units):
    """Log-probability of the token with and without a unit, and the unit at the last token.

    `units` is how many of the site's units lie side by side in a block.
    """
    path = getattr(lm.parts, {"heads": "heads_out", "neurons": "mlp_out"}[ablation.site])
    seen = {}

    def zero(module, inputs):
        changed = inputs[0].clone()
        size = changed.shape[-1] // units
        own = slice(ablation.unit * size, (ablation.unit + 1) * size)
        seen["value"] = changed[0, -1, own].clone()
        changed[..., own] = 0
        return (changed,)

    clean, _ = plain.forward(lm, ablation.prompt)
    module = lm.blocks[ablation.layer]._module.get_submodule(path)
    handle = module.register_forward_pre_hook(zero)
    try:
        without, _ = plain.forward(lm, ablation.prompt)
    finally:
        handle.remove()
    logprobs = [x[-1].log_softmax(-1)[ablation.token].item() for x in (clean, without)]
    value = seen["value"]
    return *logprobs, (value[0] if len(value) == 1 else value.norm()).item()
